"""The record of what was deployed misses nothing that would update or replace an environment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from components.airflow import definition
from components.airflow.definition import Parts, arguments, planned
from components.config.settings import EnvironmentSettings, Settings
from components.guard import touched_environments
from components.ownership import Names
from tests.fakes.pulumi_mocks import ROOT, Deployment, deploy, plain
from tests.unit.components.config.test_settings import parse

ZONES = ("us-east-1a", "us-east-1b")
KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
FILES = ROOT / "tests" / "fakes" / "of_a_team"  # requirements, plugins and a script as a stack names them
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "sns:ListTopics", "Resource": "*"},
    }
)

# One other value of every setting of an environment, and what the record calls it.
OF_ENVIRONMENTS: dict[str, tuple[Any, str]] = {
    "airflow_version": ("3.2.1", "airflow_version"),
    "environment_class": ("mw1.medium", "environment_class"),
    "min_workers": (2, "min_workers"),
    "max_workers": (9, "max_workers"),
    "schedulers": (3, "schedulers"),
    "webserver_access": ("PRIVATE_ONLY", "webserver_access_mode"),
    "airflow_options": ({"core.parallelism": "64"}, "options.core.parallelism"),
    "requirements": (["pandas==2.3.3"], "requirements.txt"),
    "requirements_file": (str(FILES / "requirements.txt"), "requirements.txt"),
    "plugins_folder": (str(FILES / "plugins"), "plugins.zip"),
    "wheels_folder": (str(FILES / "wheels"), "plugins.zip"),
    "startup_script": (str(FILES / "startup.sh"), "startup.sh"),
    "dags_folder": ("workflows/", "dag_s3_path"),
    "dags_bucket": ("acme-blue", "source_bucket_arn"),
    "min_webservers": (3, "min_webservers"),
    "max_webservers": (4, "max_webservers"),
    "log_levels": ({"worker": "DEBUG"}, "logging.worker_logs.log_level"),
    "maintenance_window": ("SUN:03:30", "weekly_maintenance_window_start"),
    "security_group_ids": (["sg-0123456789abcdef0"], "network_configuration.security_group_ids"),
    "execution_role_arn": ("arn:aws:iam::123456789012:role/airflow", "execution_role_arn"),
}
# Of an update, and of the role: none of the environment's own.
OF_OTHERS = {"worker_replacement_strategy", "execution_policy", "execution_policy_arns"}
# One other value of every other setting: some change the environments, some do not.
OF_STACKS: dict[str, Any] = {
    "enable_blue_green": False,
    "enable_ha_marquez": True,
    "production": True,
    "tags": {"team": "data"},
    "permissions_boundary_arn": "arn:aws:iam::123456789012:policy/boundary",
    "iam_path": "/data/",
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "endpoint_management": "CUSTOMER",
    "vpc_cidr": "10.9.0.0/16",
    "availability_zones": ["us-east-1b", "us-east-1c"],
    "nat": "per_az",
    "vpc_endpoints": True,
    "access_log_days": 90,
    "access_log_bucket": "acme-logs",
    "flow_log_days": 30,
    "blue": {"max_workers": 9},
    "green": {"max_workers": 9},
    "log_retention_days": 90,
    "kms_key_arn": KEY,
    "create_kms_key": True,
    "bucket_prefix": "acme-data-",
    "old_versions_days": 90,
    "is_paused_upon_creation": False,
    "create_cron_data_intervals": False,
    "catchup_by_default": True,
    "connections_prefix": "airflow/connections",
    "variables_prefix": "airflow/variables",
    "adopted_environment": "team-airflow",
    "switch_lead_seconds": 7,
    "gate_probe_minutes": 10,
    "update_owner_in_place": True,
    "nightly_audit": True,
    "enable_monitoring": False,
    "alarm_email": "on-call@example.com",
    "alarm_topic_arn": "arn:aws:sns:us-east-1:123456789012:alarms",
    "lineage": "none",
    "lineage_namespace": "shared",
    "lineage_sinks": {"catalog": {"url": "https://catalog.example.com/lineage"}},
    "lineage_retention_days": 45,
    "marquez_image": "docker.io/marquezproject/marquez:0.50.0",
    "marquez_web_image": "docker.io/marquezproject/marquez-web:0.50.0",
    "postgres_image": "docker.io/library/postgres:16.10",
    "marquez_image_registry": "123456789012.dkr.ecr.us-east-1.amazonaws.com",
    "marquez_instance_type": "m7i.large",
    "backup_retention_days": 21,
    "marquez_policy": POLICY,
    "marquez_policy_arns": ["arn:aws:iam::123456789012:policy/more"],
    "snapshot_policy": POLICY,
    "snapshot_policy_arns": ["arn:aws:iam::123456789012:policy/more"],
    "marquez_certificate_arn": KEY.replace(":kms:", ":acm:").replace(":key/", ":certificate/"),
    "aurora_version": "17",
    "aurora_authorities_file": str(FILES / "rds.pem"),
    "aurora_min_capacity": 1,
    "aurora_max_capacity": 32,
}
SIZED = {"environment_class": "mw1.small", "schedulers": 2, "min_workers": 1, "max_workers": 5}


def record(changes: Mapping[str, Any] | None = None) -> dict[str, str]:
    settings = parse({**SIZED, **(changes or {})})
    return definition.deployed(settings, "blue", Names.of(settings))


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves((*path, key), item)
    else:
        yield path


def changed(value: Any, path: tuple[str, ...]) -> Any:
    return {**value, path[0]: changed(value[path[0]], path[1:])} if path else "something else"


def test_the_tables_above_have_every_setting() -> None:
    assert OF_ENVIRONMENTS.keys() == EnvironmentSettings.model_fields.keys() - OF_OTHERS
    own = {"project", "stack", "region"}
    assert OF_STACKS.keys() == Settings.model_fields.keys() - EnvironmentSettings.model_fields.keys() - own


@pytest.mark.parametrize("setting", OF_ENVIRONMENTS)
def test_each_setting_of_an_environment_is_in_the_record(setting: str) -> None:
    value, name = OF_ENVIRONMENTS[setting]
    assert name in difference(record(), record({setting: value}))


def test_each_argument_of_the_environment_is_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parse(SIZED)
    before = record()
    whole = arguments(settings, "blue", Names.of(settings), Parts.stand_ins(settings, "blue"))
    paths = list(leaves((), whole))
    assert len(paths) > 40
    for path in paths:
        monkeypatch.setattr(definition, "arguments", lambda *_, path=path: changed(whole, path))
        assert len(difference(before, record())) == 1, path


def test_the_environment_has_these_arguments_and_no_other() -> None:
    settings = parse(SIZED)
    names = arguments(settings, "blue", Names.of(settings), Parts.stand_ins(settings, "blue")).keys()
    registered = deploy("standard", {"kms_key_arn": KEY}).resource("Environment", "mwaa-blue").inputs
    ours = {re.sub("_([a-z0-9])", lambda part: part[1].upper(), name) for name in names}
    assert registered.keys() - {"tags"} == ours


def seen_by_the_engine(deployment: Deployment) -> dict[str, Any]:
    """What the engine compares of blue; tags aside, which leave a running environment alone."""
    inputs = deployment.resource("Environment", "mwaa-blue").inputs
    sent = {key: plain(value) for key, value in inputs.items() if key != "tags"}
    # In the mocks, every network that the program makes has the same subnets.
    networks = [vpc.inputs for vpc in deployment.of_type("Vpc")]
    return sent | {"subnets": [(vpc["cidrBlock"], vpc["availabilityZoneNames"]) for vpc in networks]}


@pytest.mark.parametrize("setting", OF_STACKS)
def test_the_guard_sees_exactly_what_the_engine_would_see(
    deployed: Callable[[str], Deployment], setting: str
) -> None:
    network = {"nat": "single", **{key: OF_STACKS[key] for key in ("vpc_id", "private_subnet_ids")}}
    needed = {
        "marquez_certificate_arn": {"enable_ha_marquez": True},
        "vpc_id": network,
        "private_subnet_ids": network,
        "adopted_environment": {**network, "enable_blue_green": False},
    }.get(setting, {})
    before, after = deployed("bluegreen"), deploy("bluegreen", {**needed, setting: OF_STACKS[setting]})
    touched = touched_environments(
        before.exports["airflow_environments"], after.exports["airflow_environments"]
    )
    assert ("blue" in touched) == (seen_by_the_engine(before) != seen_by_the_engine(after)), touched


def test_other_plugins_are_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    before = record()
    monkeypatch.setattr(definition, "plugins_files", lambda _: {"other.py": b""})
    assert difference(before, record()) == {"plugins.zip"}


def test_a_password_among_the_options_is_not_in_the_record() -> None:
    with_password = record({"airflow_options": {"smtp.smtp_password": "correct horse"}})
    assert "correct horse" not in json.dumps(with_password)
    shown = with_password["options.smtp.smtp_password"]
    assert re.fullmatch("sha256:[0-9a-f]{6}", shown)
    assert (
        shown != record({"airflow_options": {"smtp.smtp_password": "battery"}})["options.smtp.smtp_password"]
    )


def test_the_record_is_plain() -> None:
    settings = parse(SIZED)
    plan = planned(settings, "blue", Names.of(settings), ZONES)
    assert json.loads(json.dumps(plan)) == plan
    assert all(isinstance(text, str) for text in plan["deployed"].values())
