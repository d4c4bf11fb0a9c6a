"""The settings that reproduce an environment, and what none of them can. Pure functions.

Whether single values are allowed (an option, a line of requirements, a plugin's name) is judged by the
program itself, in the preview.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from mwaactl.adopt.environment import Found

BACKEND, KWARGS = "secrets.backend", "secrets.backend_kwargs"
SECRETS_MANAGER = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
PREFIXES = {"connections_prefix": "airflow/connections", "variables_prefix": "airflow/variables"}
# What else it may have: by argument, its default in Airflow, and each value with what the update changes.
CONFIG = "airflow/config"
LOOKUPS: Mapping[str, tuple[str | None, Mapping[str | None, str]]] = {
    "connections_lookup_pattern": (
        None,
        {None: "", "^(?!aws_default$).*$": "the connection aws_default is looked up in Secrets Manager, too"},
    ),
    "variables_lookup_pattern": (
        None,
        {
            None: "the variable load_dags is looked up in Airflow's database only: it is the program's own",
            "^(?!load_dags$).*$": "",
        },
    ),
    "config_prefix": (
        CONFIG,
        {None: f"options that end in _secret are looked up in Secrets Manager, below {CONFIG}/", CONFIG: ""},
    ),
}
NAMESPACE = "openlineage.namespace"
# Option, setting, and what Airflow does without it, by major version.
DEFAULTS: Mapping[str, tuple[str, Mapping[int, bool]]] = {
    "core.dags_are_paused_at_creation": ("is_paused_upon_creation", {2: True, 3: True}),
    "scheduler.create_cron_data_intervals": ("create_cron_data_intervals", {2: True, 3: False}),
    "scheduler.catchup_by_default": ("catchup_by_default", {2: True, 3: False}),
}
LEVELS = {
    "DagProcessingLogs": "dag_processing",
    "SchedulerLogs": "scheduler",
    "TaskLogs": "task",
    "WebserverLogs": "webserver",
    "WorkerLogs": "worker",
}
TASK_LEVELS = ("INFO", "DEBUG")  # the alarms on the gate count lines of that log
NUMBERS = {
    "MinWorkers": "min_workers",
    "MaxWorkers": "max_workers",
    "Schedulers": "schedulers",
    "MinWebservers": "min_webservers",
    "MaxWebservers": "max_webservers",
}
MOST_GROUPS = 4  # beside the program's own
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
GREENS = 3  # days after blue's window


@dataclass(frozen=True)
class Reproduction:
    """`settings`: by path, as `pulumi config set --path` takes them; `secret`: those of them that no file may
    show: all options, since no pattern knows every password; `refused`: what cannot be reproduced; `changes`:
    what the one update changes beside the gate."""

    settings: Mapping[str, str]
    secret: Collection[str]
    refused: tuple[str, ...]
    changes: tuple[str, ...]


def reproduce(found: Found, drop: Collection[str] = ()) -> Reproduction:
    """`drop`: options that the environment is to do without from the update on."""
    about = found.about
    options = dict(about.get("AirflowConfigurationOptions") or {})
    refused = [f"--drop {each}: the environment has no such option" for each in drop if each not in options]
    changes = [f"the option {each} is taken away (--drop)" for each in drop if each in options]
    options = {key: value for key, value in options.items() if key not in drop}
    settings: dict[str, str] = {"adopted_environment": found.name, "vpc_id": found.vpc_id}
    settings |= dict(_network(about, refused))
    settings |= {setting: str(about[key]) for key, setting in NUMBERS.items() if about.get(key) is not None}
    settings |= {
        "airflow_version": str(about["AirflowVersion"]),
        "environment_class": str(about["EnvironmentClass"]),
        "webserver_access": str(about.get("WebserverAccessMode") or "PRIVATE_ONLY"),
        "dags_folder": found.dags_folder,
        "blue.execution_role_arn": str(about["ExecutionRoleArn"]),
        "kms_key_arn": str(about.get("KmsKey") or ""),
        "create_kms_key": "false",
    }
    settings |= dict(_of_options(options, Version(settings["airflow_version"]).major, refused, changes))
    kept = {path_of("airflow_options", key): value for key, value in sorted(options.items())}
    settings |= kept
    changes += [
        f"{path} of plugins.zip is not executable any more" for path in sorted(found.files.executable)
    ]
    settings |= dict(_logs(about, changes))
    settings |= dict(_windows(about.get("WeeklyMaintenanceWindowStart")))
    settings |= dict(_tags(about.get("Tags") or {}, changes))
    return Reproduction(settings, kept.keys(), tuple(refused), tuple(changes))


def _network(about: Mapping[str, Any], refused: list[str]) -> Iterator[tuple[str, str]]:
    network = about["NetworkConfiguration"]
    groups = network["SecurityGroupIds"]
    if len(groups) > MOST_GROUPS:
        refused.append(
            f"it has {len(groups)} security groups, and Amazon takes {MOST_GROUPS + 1}: take one away, since "
            "the program adds its own (aws mwaa update-environment --network-configuration ...)"
        )
    for index, subnet in enumerate(network["SubnetIds"]):
        yield f"private_subnet_ids[{index}]", subnet
    for index, group in enumerate(groups):
        yield f"security_group_ids[{index}]", group
    # Its endpoints exist: the program must not make them again.
    yield "endpoint_management", "VPC_OWNER" if about.get("EndpointManagement") == "CUSTOMER" else "SERVICE"


def _of_options(
    options: dict[str, str], major: int, refused: list[str], changes: list[str]
) -> Iterator[tuple[str, str]]:
    """The settings that stand for options; takes those options out of `options`."""
    for option, (setting, defaults) in DEFAULTS.items():
        value = options.pop(option, None)
        yield setting, str(defaults.get(major, defaults[3]) if value is None else _is_true(value)).lower()
    if NAMESPACE in options:
        yield "lineage_namespace", options.pop(NAMESPACE)
    backend, text = options.pop(BACKEND, None), options.pop(KWARGS, None)
    if backend is None:
        return
    if backend != SECRETS_MANAGER:
        refused.append(
            f"{BACKEND} is {backend}: the stack has connections and variables in Secrets Manager. Put them "
            f"there, then: --drop {BACKEND}"
        )
        return
    try:
        arguments = json.loads(text or "{}")
        prefixes = {key: _prefix(arguments.get(key, default)) for key, default in PREFIXES.items()}
    except (ValueError, AttributeError):
        refused.append(f"{KWARGS} is no JSON object")
        return
    unfit = [f"{key} {value!r}" for key, value in prefixes.items() if not value or not isinstance(value, str)]
    unfit += sorted(arguments.keys() - PREFIXES.keys() - LOOKUPS.keys())
    for key, (default, known) in LOOKUPS.items():
        value = _prefix(arguments.get(key, default))
        if not isinstance(value, str | None) or value not in known:
            unfit.append(f"{key} {value!r}")
        elif known[value]:
            changes.append(known[value])
    if unfit:
        refused.append(
            f"{KWARGS} has {', '.join(unfit)}: only two prefixes can be kept. To have the "
            f"stack's own instead, copy the secrets to them, then: --drop {BACKEND}"
        )
        return
    yield from prefixes.items()


def _prefix(value: Any) -> Any:
    """As Airflow takes it: without a slash at the end."""
    return value.rstrip("/") if isinstance(value, str) else value


def _is_true(value: str) -> bool:
    """As Airflow reads it."""
    return value.strip().lower() in ("t", "true", "1")


def _logs(about: Mapping[str, Any], changes: list[str]) -> Iterator[tuple[str, str]]:
    logs = about.get("LoggingConfiguration") or {}
    for kind, setting in LEVELS.items():
        log = logs.get(kind) or {}
        level = log.get("LogLevel")
        if not log.get("Enabled"):
            changes.append(f"the {setting} log is turned on")
        elif setting == "task" and level not in TASK_LEVELS:
            changes.append(
                f"the task log changes from {level} to INFO: the alarms on the gate count its lines"
            )
        elif level:
            yield f"log_levels.{setting}", str(level)


def _windows(begin: str | None) -> Iterator[tuple[str, str]]:
    if begin is None:
        return
    day, _, clock = begin.partition(":")
    yield "blue.maintenance_window", begin
    if day in DAYS:
        yield "green.maintenance_window", f"{DAYS[(DAYS.index(day) + GREENS) % len(DAYS)]}:{clock}"


def _tags(tags: Mapping[str, str], changes: list[str]) -> Iterator[tuple[str, str]]:
    for key, value in sorted(tags.items()):
        if key.lower().startswith("aws:"):
            continue
        if key.lower() == "name" or not value:
            changes.append(f"the tag {key!r} is taken away: no setting can have it")
            continue
        yield path_of("tags", key), value


def path_of(key: str, part: str) -> str:
    """A part of an object, as a path of Pulumi's configuration: each has one."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", part):
        return f"{key}.{part}"
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}["{escaped}"]'


def notes(tags: Mapping[str, str]) -> Iterator[str]:
    """What to know before the answer."""
    if stack := tags.get("aws:cloudformation:stack-name"):
        yield (
            f"CloudFormation manages it in the stack {stack}: take it out there first (DeletionPolicy: "
            "Retain), or two tools change one environment, and deleting that stack deletes it"
        )
