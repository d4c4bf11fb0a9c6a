"""The stack's configuration, typed and validated.

Defaults and descriptions of the keys are in Pulumi.yaml, and only there: Pulumi adds them to the stack file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self, get_args, get_origin, get_type_hints

import pulumi
import yaml
from bluegreen.timeline import COLOURS, Colour
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from components.config import allowed_values as types
from components.config.content import content_rules
from components.config.files import file_rules
from components.config.policies import policy_rules
from components.config.rules import Problem, environment_rules, quoted, stack_rules
from components.config.sinks import Sink, sink_rules, sinks_of
from components.config.wheels import wheel_rules

MERGED = ("airflow_options", "log_levels")  # objects whose parts blue and green override singly
PROJECT_FILE = Path(__file__).resolve().parents[2] / "Pulumi.yaml"


class SettingsError(pulumi.RunError):
    """The configuration is invalid; the message lists every problem."""

    def __init__(self, problems: Sequence[Problem], stack: str) -> None:
        # Blue and green may report the same problem.
        texts = list(dict.fromkeys(problem.text(stack) for problem in problems))
        noun = "setting" if len(texts) == 1 else "settings"
        super().__init__(
            "\n".join([f"{len(texts)} invalid {noun} in stack {stack}; nothing was changed:", *texts])
        )


class EnvironmentSettings(BaseModel):
    """The settings that may differ between the two Airflow environments; `blue:` and `green:` override it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    airflow_version: types.AirflowVersionName
    environment_class: types.EnvironmentClass
    min_workers: types.Workers
    max_workers: types.Workers
    schedulers: types.Schedulers
    min_webservers: types.Webservers
    max_webservers: types.Webservers
    webserver_access: types.WebserverAccess
    worker_replacement_strategy: types.WorkerReplacement
    airflow_options: types.AirflowOptions
    requirements: types.Requirements
    requirements_file: types.FilePath
    wheels_folder: types.FilePath
    plugins_folder: types.FilePath
    startup_script: types.FilePath
    dags_folder: types.DagsFolder
    dags_bucket: types.BucketName
    log_levels: types.LogLevels
    maintenance_window: types.MaintenanceWindow
    security_group_ids: types.SecurityGroupIds
    execution_policy: types.PolicyDocument
    execution_policy_arns: types.PolicyArns
    execution_role_arn: types.RoleArn


class Settings(EnvironmentSettings):
    """Every setting of one stack, valid as a whole."""

    project: types.Project
    stack: str
    region: types.Region

    enable_blue_green: types.Switch
    enable_ha_marquez: types.Switch
    production: types.Switch
    tags: types.Tags

    permissions_boundary_arn: types.BoundaryArn
    iam_path: types.IamPath

    vpc_id: types.VpcId
    private_subnet_ids: types.SubnetIds
    endpoint_management: types.EndpointManagement
    vpc_cidr: types.VpcCidr
    availability_zones: types.AvailabilityZones
    nat: types.Nat
    vpc_endpoints: types.Switch
    access_log_days: types.LogDays
    access_log_bucket: types.BucketName
    flow_log_days: types.LogDays

    blue: types.Overrides
    green: types.Overrides
    log_retention_days: types.LogRetentionDays
    kms_key_arn: types.KmsKeyArn
    create_kms_key: types.Switch
    bucket_prefix: types.BucketPrefix
    old_versions_days: types.RetentionDays
    is_paused_upon_creation: types.Switch
    create_cron_data_intervals: types.Switch
    catchup_by_default: types.Switch
    connections_prefix: types.SecretPrefix
    variables_prefix: types.SecretPrefix
    adopted_environment: types.AdoptedName
    update_owner_in_place: types.Switch
    switch_lead_seconds: types.LeadSeconds
    gate_probe_minutes: types.ProbeMinutes
    nightly_audit: types.Switch
    enable_monitoring: types.Switch
    alarm_email: types.AlarmEmail
    alarm_topic_arn: types.AlarmTopicArn

    lineage: types.Lineage
    lineage_namespace: types.LineageNamespace
    lineage_intake: types.Switch
    lineage_sinks: types.LineageSinks
    lineage_retention_days: types.RetentionDays
    marquez_image: types.Image
    marquez_web_image: types.Image
    postgres_image: types.PostgresImage
    marquez_image_registry: types.ImageRegistry
    marquez_instance_type: types.InstanceType
    backup_retention_days: types.BackupDays
    marquez_policy: types.PolicyDocument
    marquez_policy_arns: types.PolicyArns
    snapshot_policy: types.PolicyDocument
    snapshot_policy_arns: types.PolicyArns
    marquez_certificate_arn: types.CertificateArn
    aurora_version: types.AuroraVersion
    aurora_authorities_file: types.FilePath
    aurora_min_capacity: types.AuroraCapacity
    aurora_max_capacity: types.AuroraCapacity

    @classmethod
    def load(cls) -> Self:
        """The running stack's settings. Raises SettingsError if any is invalid."""
        config = pulumi.Config()
        prefix = f"{config.name}:"
        keys = [key.removeprefix(prefix) for key in _configured() if key.startswith(prefix)]
        raw = {key: _decoded(key, config.get(key)) for key in keys}
        if not cls.model_fields.keys() <= raw.keys() | {"project", "stack", "region"}:
            raw = {**declared_defaults(), **raw}
        region = pulumi.Config("aws").get("region")
        return cls.parse(raw, project=pulumi.get_project(), stack=pulumi.get_stack(), region=region)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, project: str, stack: str, region: str | None) -> Self:
        """The settings in `raw` (key to value; lists and objects decoded). Raises as `load` does."""
        own = {"project": project, "stack": stack, "region": region}
        keys = cls.model_fields.keys() - own.keys()
        problems = [
            Problem(key, raw[key], "a key of Pulumi.yaml", remove=True) for key in sorted(raw.keys() - keys)
        ]
        known, invalid = _checked(cls, {**raw, **own})
        problems += [replace(each, key="aws:region") if each.key == "region" else each for each in invalid]
        of_overrides: list[Problem] = []
        environments: dict[str, dict[str, Any]] = {}
        for colour in COLOURS:
            valid, wrong = _overrides(colour, known)
            of_overrides += wrong
            if colour == "blue" or known.get("enable_blue_green") is True:
                environments[colour] = _merged(known, valid, known.get(colour, {}))
        problems += [*stack_rules(known, environments), *_within(known), *of_overrides]
        of_the_stack = list(_of_environment(known))
        for colour in (each for each in COLOURS if each in environments):
            for each in _of_environment(environments[colour]):
                inherited = bool(known.get(each.key))
                problems.append(each if each in of_the_stack else each.of(colour, inherited=inherited))
        if problems:
            raise SettingsError(problems, stack)
        return cls(**known)

    @property
    def name(self) -> str:
        """`{project}-{stack}`, the prefix of physical names: at most 50 letters, digits and hyphens.

        A name that AWS would refuse is shortened or cleaned, and ends in a digest that keeps it unique.
        """
        plain = f"{self.project}-{self.stack}"
        clean = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")
        clean = clean if clean[:1].isalpha() else f"m{clean}"
        if clean == plain and len(clean) <= 50:
            return clean
        return f"{clean[:41].rstrip('-')}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"

    @property
    def mode(self) -> str:
        """`standard`, `bluegreen`, `hamarquez` or `fullha`."""
        alone, together = ("hamarquez", "fullha") if self.enable_ha_marquez else ("standard", "bluegreen")
        return together if self.enable_blue_green else alone

    @property
    def colours(self) -> tuple[Colour, ...]:
        """The environments of this stack; there is always blue."""
        return COLOURS if self.enable_blue_green else COLOURS[:1]

    def environment(self, colour: Colour) -> EnvironmentSettings:
        """The settings of one environment: the stack's, with that colour's overrides."""
        overrides = self.blue if colour == "blue" else self.green
        return EnvironmentSettings(**_merged(self.model_dump(), overrides))

    def environment_name(self, colour: Colour) -> str:
        """The name of one environment in AWS: the stack's, or that of blue before it was adopted."""
        if colour == "blue" and self.adopted_environment is not None:
            return self.adopted_environment
        return f"{self.name}-{colour}"

    def path(self, colour: Colour, key: str) -> str:
        """Where `pulumi config set` changes a setting of one environment."""
        overrides = self.blue if colour == "blue" else self.green
        return f"--path {colour}.{key}" if key in overrides else key

    def namespace(self, colour: Colour) -> str:
        """The OpenLineage namespace of one environment."""
        return self.lineage_namespace or f"{self.name}-{colour}"

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """What the log is carried to beside Marquez."""
        return sinks_of(self.lineage_sinks)

    @property
    def lead(self) -> timedelta:
        """The time from a decision to its begin."""
        return timedelta(seconds=self.switch_lead_seconds)

    @property
    def all_tags(self) -> dict[str, str]:
        """The tags of every resource. The user's win, also where only the case of the key differs."""
        ours = {"project": self.project, "stack": self.stack, "managed-by": "pulumi"}
        theirs = {key.lower() for key in self.tags}
        return {key: value for key, value in ours.items() if key not in theirs} | self.tags


@cache
def declared_defaults() -> Mapping[str, Any]:
    """The defaults in Pulumi.yaml. The engine adds them itself; other hosts of the program do not."""
    declared = yaml.safe_load(PROJECT_FILE.read_text())["config"]
    return {key: about["default"] for key, about in declared.items()}


def _configured() -> set[str]:
    """The full names of all keys that have a value, as in `pulumi.Config`."""
    return {*pulumi.runtime.config.get_config_env(), *pulumi.runtime.config.CONFIG.get()}


def _decoded(key: str, value: str | None) -> Any:
    """Decode a list or an object, which Pulumi passes as JSON; any other value stays as it is."""
    field = Settings.model_fields.get(key)
    if value is None or field is None or get_origin(field.annotation) not in (dict, tuple):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value  # the type check reports it


def _checked(
    model: type[BaseModel], raw: Mapping[str, Any], only: Collection[str] | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """The values that are valid on their own, and the problems of the others.

    One field at a time, because the rules between settings apply to the values that are valid.
    """
    hints = get_type_hints(model, include_extras=True)
    known: dict[str, Any] = {}
    problems = []
    for name, field in model.model_fields.items():
        if only is not None and name not in only:
            continue
        adapter = TypeAdapter(hints[name])
        try:
            known[name] = adapter.validate_python(raw.get(name))
        except ValidationError as error:
            allowed = field.description or " or ".join(map(repr, get_args(field.annotation)))
            parts = {each["loc"][0]: each for each in reversed(error.errors()) if each["loc"]}
            problems += [_of_part(name, raw[name], part, allowed) for part in reversed(parts.values())]
            if not parts:
                problems.append(Problem(name, raw.get(name), allowed))
            elif isinstance(raw[name], Mapping):  # the rules look at the other values
                rest = {key: value for key, value in raw[name].items() if key not in parts}
                known[name] = adapter.validate_python(rest)
    return known, problems


def _of_part(name: str, value: Any, error: ErrorDetails, allowed: str) -> Problem:
    """The problem of one item of a list, or of one key or value of an object."""
    if isinstance(error["loc"][0], int):
        return Problem(f"{name}[{error['loc'][0]}]", value[error["loc"][0]], allowed)
    path = [str(part) for part in error["loc"] if part != "[key]"]
    for part in path:
        name, value = f"{name}{quoted(part)}", value[part]
    expected = error.get("ctx", {}).get("expected")
    if "[key]" in error["loc"]:
        return Problem(name, value, f"removed: its name is none of {expected}", remove=True)
    if expected is not None:
        return Problem(name, value, expected)
    kind = "an object" if error["type"] == "dict_type" else "a text in quotes"
    return Problem(name, value, f"removed, or {kind}", remove=True)


def _overrides(colour: Colour, known: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """One colour's overrides that are valid on their own, and the problems of all."""
    overrides = known.get(colour, {})
    keys = EnvironmentSettings.model_fields.keys()
    problems = [
        Problem(f"{colour}.{key}", overrides[key], f"one of {', '.join(keys)}", remove=True)
        for key in sorted(overrides.keys() - keys)
    ]
    valid, invalid = _checked(EnvironmentSettings, overrides, only=overrides.keys() & keys)
    return valid, [*problems, *(each.of(colour, inherited=False) for each in [*invalid, *_within(valid)])]


def _of_environment(known: Mapping[str, Any]) -> Iterator[Problem]:
    yield from environment_rules(known)
    yield from wheel_rules(known)


def _within(known: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems within single settings, and in the files that they name."""
    yield from content_rules(known)
    yield from policy_rules(known)
    yield from file_rules(known)
    yield from sink_rules(known)


def _merged(
    base: Mapping[str, Any], overrides: Mapping[str, Any], given: Collection[str] = ()
) -> dict[str, Any]:
    """One environment's settings: overrides replace, only `MERGED` are merged.

    Without those that are `given` an override which is not valid, nor among `overrides` therefore.
    """
    merged = {key: base[key] for key in EnvironmentSettings.model_fields if key in base} | dict(overrides)
    for key in MERGED:
        if key in base and key in overrides:
            merged[key] = {**base[key], **overrides[key]}
    return {key: value for key, value in merged.items() if key in overrides or key not in given}
