"""What one Airflow environment is to be: its identity and its arguments.

The arguments have one definition, which is read twice: with the resources of the stack for Amazon MWAA, and
with stand-ins before anything is registered, for the guard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from bluegreen.timeline import Colour

from components.airflow.configuration import airflow_logging, airflow_options
from components.airflow.plugins import plugins_files, requirements_txt
from components.archive import content_hash
from components.config.airflow_versions import major
from components.config.files import startup_script
from components.config.rules import MAINTENANCE, SMALLEST_CLASS
from components.config.settings import Settings
from components.ownership import Names

REQUIREMENTS = "requirements.txt"
PLUGINS = "plugins.zip"
STARTUP = "startup.sh"
# Arguments whose change people know by a shorter name.
SHORT = {
    "requirements_s3_object_version": REQUIREMENTS,
    "plugins_s3_object_version": PLUGINS,
    "startup_script_s3_object_version": STARTUP,
    "airflow_configuration_options": "options",
    "logging_configuration": "logging",
}
DIGEST = "sha256:"
OWN_KEY = "the stack's own"
OWN_BUCKET = "its bucket"  # one that the program makes


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of the stack that an environment's arguments name."""

    role_arn: pulumi.Input[str]
    bucket_arn: pulumi.Input[str]
    requirements_version: pulumi.Input[str]
    plugins_version: pulumi.Input[str]
    startup_version: pulumi.Input[str]
    security_group_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[str]]
    lineage_bucket: pulumi.Input[str]
    life: pulumi.Input[str]
    kms_key_arn: pulumi.Input[str] | None

    @classmethod
    def stand_ins(cls, settings: Settings, colour: Colour) -> Parts:
        """Texts in their place: a digest for each file, a constant for what stays with the environment."""
        own = settings.environment(colour)
        return cls(
            role_arn=own.execution_role_arn or f"its role in {settings.iam_path}",
            bucket_arn=own.dags_bucket or OWN_BUCKET,
            requirements_version=_digest(requirements_txt(own).encode()),
            plugins_version=DIGEST + content_hash(plugins_files(own)),
            startup_version=_digest(startup_script(own.startup_script)),
            security_group_id="its group",
            subnet_ids="the private subnets",
            lineage_bucket="the lineage log",
            life="its life",
            kms_key_arn=OWN_KEY if settings.create_kms_key else settings.kms_key_arn,
        )


def identity(
    settings: Settings, colour: Colour, zones: Sequence[str], existing: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The plain values whose change makes the provider replace an environment, with all its history.

    `existing`: the environment of this colour that the stack has, as in `previous_outputs`. A key that is
    added here replaces every environment that exists: its life is born with these values.
    """
    return {
        "name": settings.environment_name(colour),
        "region": settings.region,
        "airflow_major": _major_at_birth(major(settings.environment(colour).airflow_version), existing),
        "vpc_cidr": settings.vpc_cidr if settings.vpc_id is None else "",
        "subnet_ids": list(settings.private_subnet_ids),  # none: the program's own
        "availability_zones": list(zones),
        "kms_key_arn": OWN_KEY if settings.create_kms_key else settings.kms_key_arn or "",
        "endpoint_management": endpoint_management(settings),
    }


def _major_at_birth(planned: int, existing: Mapping[str, Any] | None) -> int | str:
    """The major version of Airflow that the environment is or was created with; another value if it must go.

    AWS upgrades an environment from 2.11 to 3 in place; the provider does not know that, and creates a new
    one. Both know a way back in place, which leads to an Airflow 2 whose scheduler fails (decision 24).
    """
    if existing is None or major(existing["airflow_version"]) < planned:
        return planned
    at_birth = existing["identity"]["airflow_major"]
    if major(existing["airflow_version"]) > planned:
        lower = f"{planned} after {major(existing['airflow_version'])}"
        return f"{lower} again" if at_birth == lower else lower
    return at_birth if isinstance(at_birth, str) else int(at_birth)


def endpoint_management(settings: Settings) -> str:
    """As Amazon MWAA has it, which does not distinguish who the customer is."""
    return "SERVICE" if settings.endpoint_management == "SERVICE" else "CUSTOMER"


def arguments(settings: Settings, colour: Colour, names: Names, parts: Parts) -> dict[str, Any]:
    """Every argument of `aws.mwaa.Environment` that it keeps. Plain parts make plain arguments."""
    own = settings.environment(colour)
    least_webservers = 1 if own.environment_class == SMALLEST_CLASS else 2
    return {
        "name": settings.environment_name(colour),
        "airflow_version": own.airflow_version,
        "environment_class": own.environment_class,
        "min_workers": own.min_workers,
        "max_workers": own.max_workers,
        "schedulers": own.schedulers,
        "min_webservers": own.min_webservers or least_webservers,
        "max_webservers": own.max_webservers or own.min_webservers or least_webservers,
        "webserver_access_mode": own.webserver_access,
        "endpoint_management": endpoint_management(settings),
        "execution_role_arn": parts.role_arn,
        "kms_key": parts.kms_key_arn,
        "source_bucket_arn": parts.bucket_arn,
        "dag_s3_path": own.dags_folder,
        "requirements_s3_path": REQUIREMENTS,
        "requirements_s3_object_version": parts.requirements_version,
        "plugins_s3_path": PLUGINS,
        "plugins_s3_object_version": parts.plugins_version,
        "startup_script_s3_path": STARTUP,
        "startup_script_s3_object_version": parts.startup_version,
        "airflow_configuration_options": airflow_options(
            settings, colour, names, lineage_bucket=parts.lineage_bucket, life=parts.life
        ),
        "network_configuration": {
            "security_group_ids": [parts.security_group_id, *own.security_group_ids],
            "subnet_ids": parts.subnet_ids,
        },
        "logging_configuration": airflow_logging(own),
        "weekly_maintenance_window_start": own.maintenance_window or MAINTENANCE[colour],
    }


def planned(
    settings: Settings,
    colour: Colour,
    names: Names,
    zones: Sequence[str],
    existing: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The environment as this run would deploy it, in plain values.

    `existing` as in `identity`. `identity`: a change replaces it; `deployed`: a change updates it. Tags are
    in neither, because a change of tags leaves a running environment alone.
    """
    return {
        "identity": identity(settings, colour, zones, existing),
        "deployed": deployed(settings, colour, names),
    }


def deployed(settings: Settings, colour: Colour, names: Names) -> dict[str, str]:
    """Every argument as `{path: text}`; of files, and of the stack's own options, a digest.

    Those options may hold passwords: 24 bits tell a change, and not what they are.
    """
    texts = dict(_flat("", arguments(settings, colour, names, Parts.stand_ins(settings, colour))))
    for option in settings.environment(colour).airflow_options:
        texts[f"options.{option}"] = _hidden(settings, colour, option, texts[f"options.{option}"])
    return texts


# Of an adopted environment: what the settings have from it, and stand-ins that stand for the same.
REPRODUCED = ("name", "dag_s3_path", "endpoint_management", "kms_key", "network_configuration.subnet_ids")


def as_it_is(
    settings: Settings, colour: Colour, found: Mapping[str, Any], planned: Mapping[str, str]
) -> dict[str, str]:
    """The record of an environment that the program has not deployed; in the form of `deployed`.

    `found`: its arguments as AWS has them. What `planned` has the same is the same there, apart from files.
    """
    texts = {path: text for path, text in _flat("", found) if not path.endswith("cloud_watch_log_group_arn")}
    for path, text in texts.items():
        section, _, option = path.partition(".")
        if section == SHORT["airflow_configuration_options"] and planned.get(path) != text:
            texts[path] = _hidden(settings, colour, option, text)
    return texts | {path: planned[path] for path in REPRODUCED}


def _hidden(settings: Settings, colour: Colour, option: str, text: str) -> str:
    name = settings.environment_name(colour)
    return _digest(f"{name} {option} {text}".encode())[: len(DIGEST) + 6]


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            name = str(key)
            yield from _flat(f"{path}.{name}" if path else SHORT.get(name, name), item)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def deployed_bucket(record: Mapping[str, Any]) -> str | None:
    """The bucket that exists which an environment was deployed with; None if the program made it one.

    `record`: as `planned` has it, of an environment with the gate.
    """
    bucket = str(record["deployed"]["source_bucket_arn"])
    return None if bucket == OWN_BUCKET else bucket


def _digest(content: bytes) -> str:
    return DIGEST + hashlib.sha256(content).hexdigest()[:16]
