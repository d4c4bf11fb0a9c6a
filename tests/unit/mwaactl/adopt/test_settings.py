"""The settings that reproduce an environment, held against the program's own rules."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from bluegreen.timeline import Colour

from components.airflow.definition import Parts, arguments
from components.config.settings import Settings
from components.ownership import Names
from mwaactl.adopt.settings import Reproduction, notes, reproduce
from tests.fakes.mwaactl.adoption import NAME, SUBNETS, VPC, environment, found
from tests.unit.components.config.test_settings import parse

SECRETS_MANAGER = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
BLUE: Colour = "blue"


def as_the_program_reads(reproduced: Reproduction) -> Settings:
    """The settings, nested as Pulumi nests them."""
    raw: dict[str, Any] = {}
    for path, value in reproduced.settings.items():
        if item := re.fullmatch(r"(\w+)\[(\d)\]", path):
            raw.setdefault(item[1], []).append(value)
        elif item := re.fullmatch(r'(\w+)\["(.+)"\]', path):
            raw.setdefault(item[1], {})[item[2]] = value
        elif "." in path:
            section, _, key = path.partition(".")
            raw.setdefault(section, {})[key] = value
        else:
            raw[path] = value
    return parse(raw)


def deployed(reproduced: Reproduction) -> dict[str, Any]:
    settings = as_the_program_reads(reproduced)
    return arguments(settings, BLUE, Names.of(settings), Parts.stand_ins(settings, BLUE))


def test_every_argument_of_the_environment_is_what_the_program_would_deploy() -> None:
    about, plan = environment(), deployed(reproduce(found()))
    same = {
        "name": "Name",
        "airflow_version": "AirflowVersion",
        "environment_class": "EnvironmentClass",
        "min_workers": "MinWorkers",
        "max_workers": "MaxWorkers",
        "schedulers": "Schedulers",
        "min_webservers": "MinWebservers",
        "max_webservers": "MaxWebservers",
        "webserver_access_mode": "WebserverAccessMode",
        "endpoint_management": "EndpointManagement",
        "execution_role_arn": "ExecutionRoleArn",
        "kms_key": "KmsKey",
        "weekly_maintenance_window_start": "WeeklyMaintenanceWindowStart",
    }
    assert {key: plan[key] for key in same} == {key: about[member] for key, member in same.items()}
    assert plan["dag_s3_path"] == "dags/"
    options = plan["airflow_configuration_options"]
    assert options.items() >= about["AirflowConfigurationOptions"].items()
    assert plan["network_configuration"]["security_group_ids"][1:] == ["sg-0123456789abcdef0"]
    levels = {kind: log["log_level"] for kind, log in plan["logging_configuration"].items()}
    assert levels == {
        "dag_processing_logs": "ERROR",
        "scheduler_logs": "INFO",
        "task_logs": "DEBUG",
        "webserver_logs": "WARNING",
        "worker_logs": "INFO",
    }
    # These the record of the program takes for the same, whatever stands in for them.
    assert (reproduce(found()).settings["vpc_id"], *SUBNETS) == (
        VPC,
        reproduce(found()).settings["private_subnet_ids[0]"],
        reproduce(found()).settings["private_subnet_ids[1]"],
    )


def test_the_names_and_tags_of_the_rest_follow() -> None:
    settings = as_the_program_reads(reproduce(found()))
    assert settings.environment_name("blue") == NAME
    assert settings.environment_name("green") == f"{settings.name}-green"
    assert settings.tags == {"team": "data"}
    assert settings.environment("green").execution_role_arn is None
    assert settings.environment("green").maintenance_window == "TUE:04:30"
    odd = reproduce(found(Tags={"a=b": "c", "cost-centre": "+5"}))
    assert as_the_program_reads(odd).tags == {"a=b": "c", "cost-centre": "+5"}
    assert any("CloudFormation manages it" in each for each in notes(environment()["Tags"]))


@pytest.mark.parametrize(
    ("version", "options", "expected"),
    [
        ("2.10.3", {}, (True, True, True)),  # paused, data intervals, catchup: what Airflow 2 does
        ("3.0.6", {}, (True, False, False)),
        (
            "3.0.6",
            {
                "core.dags_are_paused_at_creation": "False",
                "scheduler.create_cron_data_intervals": "true",
                "scheduler.catchup_by_default": "1",
            },
            (False, True, True),
        ),
    ],
)
def test_what_airflow_does_without_an_option_stays(
    version: str, options: dict[str, str], expected: tuple[bool, bool, bool]
) -> None:
    reproduced = reproduce(found(AirflowVersion=version, AirflowConfigurationOptions=options))
    settings = as_the_program_reads(reproduced)
    kept = settings.is_paused_upon_creation, settings.create_cron_data_intervals, settings.catchup_by_default
    assert kept == expected
    sent = deployed(reproduced)["airflow_configuration_options"]
    assert sent["scheduler.create_cron_data_intervals"] == str(expected[1])
    assert sent["scheduler.catchup_by_default"] == str(expected[2])


def test_secrets_are_found_where_they_were() -> None:
    options = {
        "secrets.backend": SECRETS_MANAGER,
        "secrets.backend_kwargs": '{"connections_prefix": "team/conns"}',
        "openlineage.namespace": "team",
    }
    settings = as_the_program_reads(reproduce(found(AirflowConfigurationOptions=options)))
    names = Names.of(settings)
    assert (names.connections_prefix, names.variables_prefix) == ("team/conns", "airflow/variables")
    assert settings.namespace("blue") == "team"
    sent = deployed(reproduce(found(AirflowConfigurationOptions=options)))["airflow_configuration_options"]
    assert json.loads(sent["secrets.backend_kwargs"])["connections_prefix"] == "team/conns"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"secrets.backend": "airflow.providers.hashicorp.secrets.vault.VaultBackend"},
            "--drop secrets.backend",
        ),
        (
            {"secrets.backend": SECRETS_MANAGER, "secrets.backend_kwargs": '{"sep": "-"}'},
            "has sep: only two prefixes can be kept",
        ),
        (
            {"secrets.backend": SECRETS_MANAGER, "secrets.backend_kwargs": '{"variables_prefix": null}'},
            "has variables_prefix None",
        ),
        ({"secrets.backend": SECRETS_MANAGER, "secrets.backend_kwargs": "{"}, "is no JSON object"),
    ],
)
def test_a_back_end_of_secrets_that_the_stack_would_replace_is_refused_unless_it_is_dropped(
    options: dict[str, str], reason: str
) -> None:
    (refused,) = reproduce(found(AirflowConfigurationOptions=options)).refused
    assert reason in refused
    dropped = reproduce(found(AirflowConfigurationOptions=options), drop=["secrets.backend"])
    assert dropped.refused == ()
    assert "the option secrets.backend is taken away (--drop)" in dropped.changes
    assert Names.of(as_the_program_reads(dropped)).connections_prefix.startswith("mwaa-openlineage/")


def with_secrets(**arguments: Any) -> Reproduction:
    kwargs = json.dumps({"connections_prefix": "team/conns", **arguments})
    options = {"secrets.backend": SECRETS_MANAGER, "secrets.backend_kwargs": kwargs}
    return reproduce(found(AirflowConfigurationOptions=options))


def sent_secrets(reproduced: Reproduction) -> dict[str, Any]:
    sent = deployed(reproduced)["airflow_configuration_options"]["secrets.backend_kwargs"]
    kwargs: dict[str, Any] = json.loads(sent)
    return kwargs


def test_what_is_looked_up_in_secrets_manager_stays_or_is_said() -> None:
    """`aws_default` may be a secret there, with other credentials, and passwords may be (`..._secret`)."""
    sent = sent_secrets(with_secrets())
    assert not {"connections_lookup_pattern", "config_prefix"} & sent.keys()
    (said,) = (each for each in with_secrets().changes if "Secrets Manager" in each or "load_dags" in each)
    assert said.startswith("the variable load_dags is looked up in Airflow's database only")


def test_the_programs_own_lookups_are_accepted() -> None:
    own = sent_secrets(reproduce(found()))
    assert own["connections_lookup_pattern"]
    patterns = {key: value for key, value in own.items() if key.endswith("_pattern")}
    reproduced = with_secrets(**patterns, config_prefix=None)
    assert reproduced.refused == ()
    assert {each for each in reproduced.changes if "Secrets Manager" in each} == {
        "the connection aws_default is looked up in Secrets Manager, too",
        "options that end in _secret are looked up in Secrets Manager, below airflow/config/",
    }
    assert with_secrets(config_prefix="airflow/config/").refused == ()
    for refused in ({"connections_lookup_pattern": "^m"}, {"config_prefix": ["a"]}):
        assert with_secrets(**refused).refused


def test_a_prefix_ends_without_a_slash_as_airflow_takes_it() -> None:
    settings = with_secrets(connections_prefix="airflow/connections/").settings
    assert settings["connections_prefix"] == "airflow/connections"


def test_what_no_setting_can_have_is_refused_all_at_once() -> None:
    groups = [f"sg-0123456789abcde{digit}0" for digit in range(5)]
    network = {"SubnetIds": SUBNETS, "SecurityGroupIds": groups}
    refused = reproduce(found(NetworkConfiguration=network), drop=["core.unknown"]).refused
    assert len(refused) == 2
    assert "it has 5 security groups" in " ".join(refused)
    assert "--drop core.unknown: the environment has no such option" in refused


def test_what_the_update_changes_besides_is_said() -> None:
    logs = {"TaskLogs": {"Enabled": True, "LogLevel": "ERROR"}}
    changes = reproduce(found(LoggingConfiguration=logs)).changes
    assert "the task log changes from ERROR to INFO: the alarms on the gate count its lines" in changes
    assert "the scheduler log is turned on" in changes
    assert "the tag 'Name' is taken away: no setting can have it" in changes


def test_every_option_is_a_secret_in_the_stacks_file() -> None:
    """No name and no value tells for sure that it is none."""
    options = {
        "core.parallelism": "64",
        "datadog.apikey": "x",
        "custom.pwd": "x",
        "smtp.smtp_pass": "x",
        "slack.webhook_url": "https://hooks.slack.com/services/T/B/x",
        "team.dsn": "Server=a;Password=b",
    }
    reproduced = reproduce(found(AirflowConfigurationOptions=options))
    assert set(reproduced.secret) == {f'airflow_options["{each}"]' for each in options}
    assert set(reproduced.secret) <= reproduced.settings.keys()
