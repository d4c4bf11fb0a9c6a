"""The rules within `airflow_options` and `requirements`: what Amazon MWAA, Airflow and pip make of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from packaging.utils import canonicalize_name

from components.config.rules import Problem, quoted

# Options, or with a dot at the end whole sections. This program sets the first itself.
OURS = (
    "bluegreen.",
    "openlineage.namespace",
    "openlineage.transport",
    "secrets.backend",
    "secrets.backend_kwargs",
    "scheduler.create_cron_data_intervals",
    "scheduler.catchup_by_default",
    "core.dags_are_paused_at_creation",  # is_paused_upon_creation
)
# These would load another folder than ours, or take connections from elsewhere on the workers.
DEFEAT = ("core.plugins_folder", "workers.secrets_backend", "workers.secrets_backend_kwargs")
# All other options of OpenLineage's provider can switch lineage off or send it elsewhere, among them
# config_path, config_conn_id, disabled, selective_enable, emission_policy, and whatever comes next.
OPENLINEAGES = (
    "openlineage.custom_run_facets",
    "openlineage.dag_state_change_process_pool_size",
    "openlineage.debug_mode",
    "openlineage.disable_source_code",
    "openlineage.disabled_for_operators",
    "openlineage.execute_in_thread",
    "openlineage.execution_timeout",
    "openlineage.extractors",
    "openlineage.include_full_task_info",
    "openlineage.spark_inject_parent_job_info",
)
# What Amazon MWAA's images set after the customer's options: the essential and the protected variables of
# python/mwaa/config in aws/amazon-mwaa-docker-images, of all versions together.
AMAZONS = (
    "api.base_url",
    "api.secret_key",
    "api_auth.",
    "aws_mwaa.redirect_url",
    "celery.broker_url",
    "celery.celery_config_options",
    "celery.result_backend",
    "celery.worker_enable_remote_control",
    "celery_broker_transport_options.visibility_timeout",
    "core.auth_manager",
    "core.database_access_isolation",
    "core.execution_api_server_url",
    "core.executor",
    "core.fernet_key",
    "core.load_examples",
    "core.multi_team",
    "core.sql_alchemy_conn",
    "database.sql_alchemy_conn",
    "execution_api.jwt_expiration_time",
    "fab.config_file",
    "logging.colored_console_log",
    "logging.logging_config_class",
    "metrics.",
    "operators.default_queue",
    "scheduler.standalone_dag_processor",
    "triggerer.queues_enabled",
    "webserver.base_url",
    "webserver.config_file",
    "webserver.cookie_secure",
    "webserver.secret_key",
)
# Of Amazon MWAA's API (ConfigKey, ConfigValue).
OPTION_KEY, LONGEST_KEY = r"[a-z]+([a-z0-9._]*[a-z0-9_]+)?", 64
OPTION_VALUE, LONGEST_VALUE = r"[ -~]+", 65536

# Not in MWAA's images. Without versions: MWAA installs under the constraints of the Airflow version, which
# name both and which Amazon changes in place. With one version outside them, pip installs nothing at all.
OPENLINEAGE = ("apache-airflow-providers-openlineage", "openlineage-python")
PINNED = (
    "apache-airflow",
    "apache-airflow-core",
    "apache-airflow-providers-openlineage",
    "apache-airflow-task-sdk",
    "openlineage-integration-common",
    "openlineage-python",
    "openlineage-sql",
)
# By pip's own names of its options.
REFUSED_OPTIONS = {
    "hashes": "without --hash: pip would then demand hashes of OpenLineage as well",
    "require_hashes": "removed: pip would then demand hashes of OpenLineage as well",
    "requirements": "replaced by that file's lines: this program cannot check what the file holds",
}


def content_rules(known: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems within `airflow_options` and `requirements`; `known` as in `environment_rules`."""
    yield from _option_rules(known.get("airflow_options", {}))
    # The last first: each `pulumi config rm` moves the lines after it.
    for index, line in reversed(list(enumerate(known.get("requirements", ())))):
        allowed = refusal_of_requirement(line)
        if allowed is not None:
            yield Problem(f"requirements[{index}]", line, allowed, remove=allowed.startswith("removed"))


def _option_rules(options: Mapping[str, str]) -> Iterator[Problem]:
    for option, value in options.items():
        key = f"airflow_options{quoted(option)}"
        section, _, name = option.partition(".")
        if not (section and name) or len(option) > LONGEST_KEY or not re.fullmatch(OPTION_KEY, option):
            allowed = "removed: an option is section.option, at most 64 lower-case letters, digits, . and _"
            yield Problem(key, value, allowed, remove=True)
        elif _named(option, OURS):
            yield Problem(key, value, "removed: this program sets it", remove=True)
        elif _named(option, DEFEAT):
            yield Problem(
                key, value, "removed: Airflow would not load what this program deploys", remove=True
            )
        elif section == "openlineage" and option not in OPENLINEAGES:
            allowed = "removed: it may switch lineage off or send it elsewhere"
            yield Problem(key, value, allowed, remove=True)
        elif _named(option, AMAZONS):
            yield Problem(key, value, "removed: Amazon MWAA sets it and ignores other values", remove=True)
        elif len(value) > LONGEST_VALUE or not re.fullmatch(OPTION_VALUE, value):
            yield Problem(key, value, "printable ASCII on one line, not empty")


def _named(option: str, names: tuple[str, ...]) -> bool:
    return any(option.startswith(name) if name.endswith(".") else option == name for name in names)


def refusal_of_requirement(line: str) -> str | None:
    """What a line of `requirements` must be instead ("must be ..."), None if pip takes it and we do too.

    pip itself parses the line: it knows abbreviated options, URLs and every spelling of a name.
    """
    if not line.strip() or len(line.splitlines()) != 1 or line.rstrip().endswith("\\"):
        return "a single line for pip"
    # A quarter of a second that a stack without requirements does not need.
    from pip._internal.exceptions import PipError
    from pip._internal.req.constructors import install_req_from_parsed_requirement
    from pip._internal.req.req_file import (
        OptionParsingError,
        ParsedLine,
        get_line_parser,
        handle_requirement_line,
        ignore_comments,
    )

    for _, text in ignore_comments(iter([(1, line)])):
        try:
            with redirect_stderr(StringIO()):  # where its option parser prints a usage
                arguments, options = get_line_parser(None)(text)
            parsed = ParsedLine("requirements", 1, arguments, options, False)
            for option, allowed in REFUSED_OPTIONS.items():
                if getattr(options, option, None):
                    return allowed
            if parsed.requirement is None:
                return None
            requirement = install_req_from_parsed_requirement(handle_requirement_line(parsed)).req
        except (OptionParsingError, PipError, ValueError) as error:  # ValueError: of `packaging`, in extras
            reason = str(error).splitlines()[0].rpartition(" error: ")[2]
            return f"a line that pip can read ({reason})"
        if requirement is None:
            return "written as `name @ URL`, so that the package's name is known"
        if canonicalize_name(requirement.name) in PINNED:
            return "removed: this program names it, and its version follows from airflow_version"
    return None
