"""The environment variables that configure an environment's Airflow processes, as on MWAA.

Later ones take precedence: defaults for one machine, MWAA's own, the customer's options, what MWAA forces.

MWAA runs tasks with CeleryExecutor; here LocalExecutor takes its place, unless a tag of the environment or a
variable of the local MWAA asks for Celery: one more process, and PostgreSQL as the broker instead of SQS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from local.home import REGION
from local.mwaa.rules import Json, ValidationError
from local.processes import LOOPBACK

USER, PASSWORD = "admin", "admin"  # the login of a web server on loopback
AUTH_BACKENDS = ("airflow.api.auth.backend.basic_auth", "airflow.api.auth.backend.session")  # 2.x
AUTH_MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"  # 3.x
LOCAL, CELERY = "LocalExecutor", "CeleryExecutor"
EXECUTOR_TAG = "mwaa-local-executor"  # tag of an environment; EXECUTOR_VARIABLE sets it for all
EXECUTOR_VARIABLE = "MWAA_LOCAL_EXECUTOR"
IMAGE_TAG, IMAGE_VARIABLE = "mwaa-local-image", "MWAA_LOCAL_IMAGE"  # the same for MWAA's image
NEW, OLD = "new", "old"  # images before 2026 have no airflow_local_settings.py of their own
# A newer image in which Airflow registers no function of the settings module in the DAG processor, as
# aws/amazon-mwaa-docker-images issue 627 says of 3.2.1 on MWAA; the other one: in no process.
ISSUE_627, ISSUE_627_ALL = "issue627", "issue627all"
IMAGES = (NEW, OLD, ISSUE_627, ISSUE_627_ALL)
IGNORING = {"MWAA_LOCAL_IGNORES_POLICIES": "1"}  # what mwaa_image/airflow_local_settings.py looks at
# Their locked Celery provider (3.17.1) loses every task on Airflow 2: apache/airflow issue 63729.
WITHOUT_CELERY = ("2.11.2",)
WORKERS = "4"  # tasks in parallel
# Customers' options that MWAA drops or replaces, besides those in `forced`:
DROPPED_SECTIONS = ("CELERY", "CELERY_BROKER_TRANSPORT_OPTIONS", "METRICS")
DROPPED = ("AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS", "AIRFLOW__OPERATORS__DEFAULT_QUEUE")


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The values from which the variables of one environment are derived."""

    name: str
    version: str
    airflow_home: Path
    venv: Path
    constraints: Path
    database_url: str  # SQLAlchemy's, with the driver that the version needs
    port: int  # of the API server (3.x) or web server (2.x)
    fernet_key: str
    secret: str  # signs tokens and cookies
    executor: str = LOCAL
    image: str = NEW

    @property
    def major(self) -> int:
        return Version(self.version).major


def executor_of(environment: Json) -> str:
    """LOCAL or CELERY. Raises ValidationError for anything else, and for Celery where it does not work."""
    chosen = environment["Tags"].get(EXECUTOR_TAG) or os.environ.get(EXECUTOR_VARIABLE) or LOCAL
    if chosen not in (LOCAL, CELERY):
        raise ValidationError(
            f"The executor of {environment['Name']} is {chosen!r} (tag {EXECUTOR_TAG} or variable "
            f"{EXECUTOR_VARIABLE}); allowed are {LOCAL} and {CELERY}."
        )
    if chosen == CELERY and environment["AirflowVersion"] in WITHOUT_CELERY:
        raise ValidationError(
            f"{environment['Name']} cannot run {CELERY} here: the Celery provider of Airflow "
            f"{environment['AirflowVersion']} loses every task (apache/airflow issue 63729). Choose {LOCAL}, "
            "or another version."
        )
    return str(chosen)


def image_of(environment: Json) -> str:
    """One of IMAGES. Raises ValidationError for anything else."""
    chosen = environment["Tags"].get(IMAGE_TAG) or os.environ.get(IMAGE_VARIABLE) or NEW
    if chosen not in IMAGES:
        raise ValidationError(
            f"The image of {environment['Name']} is {chosen!r} (tag {IMAGE_TAG} or variable "
            f"{IMAGE_VARIABLE}); allowed are {', '.join(IMAGES[:-1])} and {IMAGES[-1]}."
        )
    return str(chosen)


def variables(
    of: Installation, options: Mapping[str, str], aws: Mapping[str, str], base: Mapping[str, str]
) -> dict[str, str]:
    """All environment variables of a process. `options` as in AirflowConfigurationOptions (`section.key`),
    `aws` the AWS_* variables that point at the local cloud, `base` PATH and the like."""
    chosen = {option_variable(key): value for key, value in options.items()}
    allowed = {
        key: value
        for key, value in chosen.items()
        if key not in DROPPED and key.split("__")[1] not in DROPPED_SECTIONS
    }
    return {
        **base,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        **aws,
        **_for_one_machine(of),
        **_suggested(of),
        **allowed,
        **_forced(of),
    }


def fixed(of: Installation, options: Mapping[str, str]) -> frozenset[str]:
    """The variables that no startup script changes: the customer's options, and what MWAA forces."""
    return frozenset({*map(option_variable, options), *_forced(of)})


def option_variable(key: str) -> str:
    """`section.key` -> AIRFLOW__SECTION__KEY, as Airflow itself reads it."""
    section, _, option = key.rpartition(".")
    return f"AIRFLOW__{section.replace('.', '_').upper()}__{option.upper()}"


def _for_one_machine(of: Installation) -> dict[str, str]:
    """Defaults for one machine: few processes, and changed DAG files are read within seconds."""
    common = {
        "AIRFLOW__CORE__PARALLELISM": WORKERS,
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_FETCH_INTERVAL": "5",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "3",
    }
    if of.major == 2:
        return common | {
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
            "AIRFLOW__WEBSERVER__WORKERS": "1",
        }
    return common | {
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__API__WORKERS": "1",
    }


def _suggested(of: Installation) -> dict[str, str]:
    """The options that MWAA sets unless the customer does."""
    lookup = json.dumps({"connections_lookup_pattern": "^(?!aws_default$).*$"})
    suggested = {
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW__SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "False",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "1800.0",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": lookup,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return suggested if of.major == 2 else suggested | {"AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": lookup}


def _forced(of: Installation) -> dict[str, str]:
    """The options that the customer cannot change."""
    url = f"http://{LOOPBACK}:{of.port}"
    common = {
        "AIRFLOW_HOME": str(of.airflow_home),
        "AIRFLOW_ENV_NAME": of.name,
        "AIRFLOW_VERSION": of.version,
        "AIRFLOW_CONSTRAINTS_FILE": str(of.constraints),
        "PATH": f"{of.venv / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        "MALLOC_ARENA_MAX": "2",  # glibc's arenas per thread are most of an idle process's memory
        "AIRFLOW__CORE__EXECUTOR": of.executor,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": of.fernet_key,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": of.database_url,
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",
        "AIRFLOW__METRICS__STATSD_ON": "False",  # there is no MWAA sidecar here to collect them
        **(_celery(of) if of.executor == CELERY else {}),
    }
    if of.major == 2:
        return common | {
            "AIRFLOW__API__AUTH_BACKENDS": ",".join(AUTH_BACKENDS),
            "AIRFLOW__WEBSERVER__SECRET_KEY": of.secret,
            "AIRFLOW__WEBSERVER__BASE_URL": url,
        }
    return common | {
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        # No login is necessary; on MWAA, IAM decides about access.
        "AIRFLOW__CORE__AUTH_MANAGER": AUTH_MANAGER,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": of.secret,
        "AIRFLOW__API_AUTH__JWT_SECRET": of.secret,
        "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "86400",
        "AIRFLOW__TRIGGERER__QUEUES_ENABLED": "False",
    }


def _celery(of: Installation) -> dict[str, str]:
    """As on MWAA, except for the broker: SQS there, and tables next to Airflow's own here."""
    common = {
        "AIRFLOW__CELERY__BROKER_URL": f"sqla+{of.database_url}",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{of.database_url}",
        "AIRFLOW__CELERY__WORKER_ENABLE_REMOTE_CONTROL": "False",  # neither broker can broadcast
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": WORKERS,
    }
    # Airflow 3 no longer has this option: its task runner is always forked.
    return common | ({"AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": "True"} if of.major == 2 else {})


@dataclass(frozen=True)
class Component:
    """One Airflow process: its name here, MWAA's name for it, and the arguments of `airflow`."""

    name: str
    mwaa_name: str
    arguments: tuple[str, ...]

    def environ(self, image: str) -> dict[str, str]:
        """The variables of this process alone."""
        ignores = image == ISSUE_627_ALL or (image == ISSUE_627 and self.name == "dag-processor")
        own = {"MWAA_AIRFLOW_COMPONENT": self.mwaa_name, "MWAA_COMMAND": self.mwaa_name}
        return own | (IGNORING if ignores else {})


def components(of: Installation) -> list[Component]:
    """The processes of one environment. Task logs are read from disk, so there is no server for them."""
    address = ("--port", str(of.port), "--workers", "1")
    web = (
        Component("webserver", "webserver", ("webserver", "--hostname", LOOPBACK, *address))
        if of.major == 2
        else Component("api-server", "webserver", ("api-server", "--host", LOOPBACK, *address))
    )
    worker = Component(
        "worker", "worker", ("celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip")
    )
    return [
        web,
        Component("scheduler", "scheduler", ("scheduler", "--skip-serve-logs")),
        Component("dag-processor", "scheduler", ("dag-processor",)),
        Component("triggerer", "scheduler", ("triggerer", "--skip-serve-logs")),
        *([worker] if of.executor == CELERY else []),
    ]
