"""Settings: the real files load, and whatever is wrong is said at once, with the command that mends it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.config.airflow_versions import AIRFLOW_VERSIONS, at_least, major
from components.config.settings import EnvironmentSettings, Settings, SettingsError, declared_defaults
from tests.fakes.pulumi_mocks import MODES, PROJECT, ROOT, deploy

DECLARED: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
DEFAULTS = declared_defaults()
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"

ROLE, POLICY_ARN = "arn:aws:iam::123456789012:role/b", "arn:aws:iam::aws:policy/ReadOnlyAccess"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}],
    }
)
VPC, SUBNETS = "vpc-0123456789abcdef0", ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
FILES = (
    "requirements_file",
    "plugins_folder",
    "startup_script",
    "wheels_folder",
    "aurora_authorities_file",
)


def parse(
    changes: Mapping[str, Any] | None = None,
    *,
    project: str = PROJECT,
    stack: str = "test",
    region: str | None = "us-east-1",
) -> Settings:
    return Settings.parse({**DEFAULTS, **(changes or {})}, project=project, stack=stack, region=region)


def complaint(**changes: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        parse(changes)
    return str(raised.value)


@pytest.mark.parametrize(
    ("mode", "blue_green", "ha"),
    [
        ("standard", False, False),
        ("bluegreen", True, False),
        ("hamarquez", False, True),
        ("fullha", True, True),
    ],
)
def test_the_two_booleans_choose_the_mode(mode: str, blue_green: bool, ha: bool) -> None:
    settings = parse({"enable_blue_green": blue_green, "enable_ha_marquez": ha})
    assert settings.mode == mode
    assert settings.colours == (("blue", "green") if blue_green else ("blue",))


@pytest.mark.parametrize("mode", MODES)
def test_each_stack_file_says_its_own_mode(mode: str) -> None:
    written = yaml.safe_load((ROOT / f"Pulumi.{mode}.yaml").read_text())["config"]
    changes = {key.removeprefix(f"{PROJECT}:"): value for key, value in written.items()}
    region = changes.pop("aws:region")
    settings = parse(changes, stack=mode, region=region)
    assert settings.mode == mode
    assert not settings.production, "`pulumi destroy` of a fresh clone's stack removes it wholly"


@pytest.mark.parametrize("mode", MODES)
def test_a_stack_file_repeats_no_default(mode: str) -> None:
    written = yaml.safe_load((ROOT / f"Pulumi.{mode}.yaml").read_text())["config"]
    defaults = {f"{PROJECT}:{key}": str(value).lower() for key, value in DEFAULTS.items()}
    assert [key for key, value in written.items() if defaults.get(key) == value] == []


def test_every_setting_is_declared_with_type_default_and_description() -> None:
    assert set(DECLARED) == Settings.model_fields.keys() - {"project", "stack", "region"}
    assert all({"type", "default", "description"} <= declared.keys() for declared in DECLARED.values())


def test_a_setting_has_no_second_default_in_the_model() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.is_required()] == []


def test_the_default_version_is_the_newest() -> None:
    assert all(at_least(DEFAULTS["airflow_version"], version) for version in AIRFLOW_VERSIONS)


def test_all_problems_are_reported_at_once_each_with_key_value_and_what_is_allowed() -> None:
    text = complaint(
        enable_blue_green="maybe",
        vpc_cidr="10.0.0.1/16",
        nat="two",
        airflow_version="9.9.9",
        aurora_min_capacity="8",
        unheard_of="x",
        airflow_options={"core.executor": "LocalExecutor"},
        green={"max_workers": 0, "colour": "green"},
    )
    assert "9 invalid settings in stack test; nothing was changed" in text
    for line in (
        "enable_blue_green = 'maybe': must be true or false",
        "vpc_cidr = '10.0.0.1/16': must be an IPv4 network of /16 to /24 without host bits",
        "nat = 'two': must be 'single' or 'per_az' or 'none'",
        "airflow_version = '9.9.9': must be one of 2.10.3, ",
        "aurora_max_capacity = 4.0: must be aurora_min_capacity (8.0) or more",
        "unheard_of = 'x': must be a key of Pulumi.yaml",
        """airflow_options["core.executor"] (value not shown): must be removed: Amazon MWAA sets it""",
        "green.max_workers = 0: must be a whole number from 1 to 25",
        "green.colour = 'green': must be one of airflow_version, ",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"nat": "two"}, "pulumi config set nat <value> -s test"),
        ({"green": {"max_workers": 1001}}, "pulumi config set --path green.max_workers <value> -s test"),
        (
            {"availability_zones": ["us-east-1a"]},
            "pulumi config rm availability_zones -s test\n"
            "      pulumi config set --path 'availability_zones[0]' <value> -s test\n"
            "      pulumi config set --path 'availability_zones[1]' <value> -s test",
        ),
        (
            {"availability_zones": ["us-east-1a", "here"]},
            "pulumi config set --path 'availability_zones[1]' <value> -s test",
        ),
        ({"tags": {"aws:x": "1"}}, "pulumi config rm --path 'tags[\"aws:x\"]' -s test"),
        ({"unheard_of": "x"}, "pulumi config rm unheard_of -s test"),
        (
            {"blue": {"execution_role_arn": ROLE}, "execution_policy": POLICY},
            "blue.execution_policy = '" + POLICY + "': must be empty: execution_role_arn brings its own "
            "permissions\n      pulumi config set --path blue.execution_policy '' -s test",
        ),
        (
            {"blue": {"execution_role_arn": ROLE, "execution_policy": POLICY}},
            "pulumi config rm --path blue.execution_policy -s test",
        ),
        (
            {
                "blue": {"execution_role_arn": ROLE, "execution_policy": POLICY.replace("*", "x/*")},
                "execution_policy": POLICY,
            },
            "pulumi config set --path blue.execution_policy '' -s test",
        ),
        ({"execution_role_arn": ROLE, "execution_policy": POLICY}, "pulumi config rm execution_policy -s"),
        (
            {"blue": {"execution_role_arn": ROLE}, "execution_policy_arns": [POLICY_ARN]},
            "pulumi config set --path blue.execution_policy_arns '' -s test",
        ),
        (
            {"log_levels": {"worker": "WARN"}},
            """log_levels["worker"] = 'WARN': must be 'CRITICAL', 'ERROR', 'WARNING', 'INFO' or 'DEBUG'\n"""
            """      pulumi config set --path 'log_levels["worker"]' <value> -s test""",
        ),
        (
            {"blue": {"log_levels": {"workers": "INFO"}}},
            """blue.log_levels["workers"] = 'INFO': must be removed: its name is none of 'dag_processing', """
            """'scheduler', 'task', 'webserver' or 'worker'\n"""
            """      pulumi config rm --path 'blue.log_levels["workers"]' -s test""",
        ),
        (
            {"lineage_sinks": {"a": {"url": 5}}},
            """lineage_sinks["a"]["url"] = 5: must be removed, or a text in quotes""",
        ),
        ({"lineage_sinks": {"a": 5}}, """lineage_sinks["a"] = 5: must be removed, or an object"""),
    ],
)
def test_each_problem_names_the_command_that_mends_it(changes: dict[str, Any], command: str) -> None:
    assert command in complaint(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"execution_role_arn": ROLE, "execution_policy_arns": [POLICY_ARN]},
        {"lineage": "log", "lineage_sinks": {"a": {"datazone_domain": "dzd_4kq9example"}}},
        {"vpc_id": VPC, "private_subnet_ids": SUBNETS, "availability_zones": ["us-east-1a", "us-east-1b"]},
        {"private_subnet_ids": SUBNETS},
    ],
)
def test_what_must_be_removed_is_not_set_again(changes: dict[str, Any]) -> None:
    commands = [line for line in complaint(**changes).splitlines() if "pulumi config" in line]
    assert len(commands) == 1
    assert "pulumi config rm " in commands[0]


def test_an_override_may_be_empty_as_the_message_says() -> None:
    of_stack = {"execution_policy": POLICY, "execution_policy_arns": [POLICY_ARN]}
    own = {"execution_role_arn": ROLE, "execution_policy": "", "execution_policy_arns": ""}
    settings = parse({**of_stack, "blue": own}).environment("blue")
    assert (settings.execution_policy, settings.execution_policy_arns) == (None, ())


@pytest.mark.parametrize(
    "value", [5, True, "x", "", "a\0b", "\ud800", None, [], [5], [["x"]], {"a": 1}], ids=repr
)
def test_whatever_the_settings_are_the_answer_is_a_list_of_problems(value: Any) -> None:
    wrong = dict.fromkeys(EnvironmentSettings.model_fields, value)
    for changes in (
        {"blue": wrong, "nat": "none", "nightly_audit": True, "airflow_version": "2.11.2"},
        {"green": {**wrong, "airflow_version": "2.11.2"}, "enable_blue_green": True, "nightly_audit": True},
        dict.fromkeys(DEFAULTS, value),
    ):
        complaint(**changes)


@pytest.mark.parametrize(
    "key", ["requirements", "airflow_version", "maintenance_window", "execution_role_arn"]
)
def test_an_override_that_is_wrong_in_itself_stops_no_rule(key: str) -> None:
    wrong: tuple[Any, ...] = (5, [5], {"a": {}})
    for value in wrong:
        text = complaint(
            enable_blue_green=True,
            nightly_audit=True,
            blue={"airflow_version": "2.11.2", "requirements": ["pydantic"], key: value},
        )
        assert f"  blue.{key}" in text


@pytest.mark.parametrize("path", ["~nosuchuser/x", "a\0b", "\ud800"])
@pytest.mark.parametrize("key", FILES)
def test_what_is_no_path_is_named(key: str, path: str) -> None:
    assert f"  {key} = {path!r}: must be a path from the project's folder" in complaint(**{key: path})


def test_a_rule_says_nothing_of_an_override_that_is_wrong_in_itself() -> None:
    text = complaint(
        nat="none",
        marquez_image_registry=ECR,
        blue={"wheels_folder": 5, "requirements": 5},
        nightly_audit=True,
    )
    assert "2 invalid settings" in text
    assert "blue.wheels_folder = 5" in text
    assert "blue.requirements = 5" in text


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"environment_class": "mw1.micro", "schedulers": 1}, "max_workers"),
        ({"environment_class": "mw1.micro", "max_workers": 1}, "schedulers"),
        ({"schedulers": 1}, "schedulers"),
        ({"min_workers": 6}, "max_workers"),
        ({"webserver_access": "PUBLIC_AND_PRIVATE", "airflow_version": "3.0.6"}, "webserver_access"),
        ({"enable_blue_green": True, "green": {"min_workers": 6}}, "green.max_workers"),
        ({"blue": {"environment_class": "mw1.micro", "max_workers": 1}}, "blue.schedulers"),
        ({"availability_zones": ["us-east-1a", "us-east-1a"]}, "availability_zones"),
        ({"availability_zones": ["us-east-1a", "us-west-2b"]}, "availability_zones"),
        ({"availability_zones": "us-east-1a,us-east-1b"}, "availability_zones"),
        ({"vpc_cidr": "10.0.0.0/25"}, "vpc_cidr"),
        ({"vpc_cidr": "fd00::/16"}, "vpc_cidr"),
        *(
            ({"vpc_cidr": f"{address}/16"}, "vpc_cidr")
            for address in ("0.0.0.0", "127.0.0.0", "169.254.0.0", "198.18.0.0", "224.0.0.0", "240.0.0.0")
        ),
        ({"marquez_certificate_arn": CERTIFICATE}, "marquez_certificate_arn"),
        ({"tags": {"Name": "x"}}, 'tags["Name"]'),
        ({"tags": {"team": ""}}, 'tags["team"]'),
        ({"kms_key_arn": "alias/mine"}, "kms_key_arn"),
        (
            {"kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"},
            "kms_key_arn",
        ),
        ({"aurora_min_capacity": "0.7"}, "aurora_min_capacity"),
        ({"marquez_image": "marquezproject/marquez:0.51.1"}, "marquez_image"),
        ({"marquez_image": "docker.io/marquezproject/marquez"}, "marquez_image"),
        ({"marquez_image": "docker.io/marquezproject/marquez:0.51.1@sha256:12"}, "marquez_image"),
        ({"marquez_web_image": "registry.example:5000/marquez-web:1"}, "marquez_web_image"),
        ({"postgres_image": "docker.io/library/postgres:17.2"}, "postgres_image"),
        ({"postgres_image": "docker.io/library/postgres:160"}, "postgres_image"),
        ({"marquez_image_registry": "https://registry.example"}, "marquez_image_registry"),
        ({"marquez_image_registry": "registry.example/mirror/"}, "marquez_image_registry"),
        ({"switch_lead_seconds": "0"}, "switch_lead_seconds"),
        ({"gate_probe_minutes": 0}, "gate_probe_minutes"),
        ({"gate_probe_minutes": 7}, "gate_probe_minutes"),
        ({"gate_probe_minutes": 60}, "gate_probe_minutes"),
        ({"nightly_audit": True, "airflow_version": "2.11.2"}, "nightly_audit"),
        (
            {"nightly_audit": True, "enable_blue_green": True, "green": {"airflow_version": "2.11.2"}},
            "nightly_audit",
        ),
        (
            {"nightly_audit": True, "airflow_version": "2.10.3", "requirements": ["pydantic-settings"]},
            "nightly_audit",
        ),
    ],
)
def test_what_aws_would_refuse_much_later_is_refused_here(changes: dict[str, Any], key: str) -> None:
    text = complaint(**changes)
    assert f"\n  {key} = " in text
    assert text.startswith("1 invalid setting in stack test")


@pytest.mark.parametrize(
    "changes",
    [
        {"marquez_image": f"a-b.example.com/x/y-z_1/marquez:0.51.1@sha256:{'0f' * 32}"},
        {"postgres_image": "docker.io/library/postgres:16"},
        {"postgres_image": "docker.io/library/postgres:16-bookworm"},
        {"marquez_image_registry": "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"},
        {"marquez_image_registry": "registry.example/a/b"},
    ],
)
def test_images_and_registries_in_every_form_that_nodes_can_pull_from_are_taken(
    changes: dict[str, Any],
) -> None:
    ((key, value),) = changes.items()
    assert getattr(parse(changes), key) == value


@pytest.mark.parametrize("line", ["pydantic", "pydantic>=2.9", "pydantic[email] == 2.9.2"])
def test_airflow_2_may_run_the_nightly_audit_with_pydantic(line: str) -> None:
    changes = {"nightly_audit": True, "airflow_version": "2.11.2", "requirements": [line]}
    assert parse(changes).nightly_audit
    assert parse({"nightly_audit": True, "green": {"airflow_version": "2.11.2"}}).nightly_audit, "no green"


def test_one_wrong_setting_of_both_environments_is_reported_once() -> None:
    assert complaint(enable_blue_green=True, min_workers=9).count("max_workers = ") == 1


def test_a_missing_region_is_reported_with_the_providers_own_key() -> None:
    with pytest.raises(SettingsError, match=r"aws:region \(not set\): must be an AWS region"):
        parse(region=None)


def test_overrides_replace_and_options_are_merged() -> None:
    settings = parse(
        {
            "enable_blue_green": "true",
            "airflow_options": {"core.parallelism": "64", "core.dag_concurrency": "16"},
            "requirements": ["pandas"],
            "green": {
                "airflow_version": "3.2.1",
                "airflow_options": {"core.parallelism": "32"},
                "requirements": ["polars"],
            },
        }
    )
    blue, green = settings.environment("blue"), settings.environment("green")
    assert blue.airflow_version == DEFAULTS["airflow_version"]
    assert green.airflow_version == "3.2.1"
    assert green.airflow_options == {"core.parallelism": "32", "core.dag_concurrency": "16"}
    assert green.requirements == ("polars",)
    assert isinstance(green, EnvironmentSettings)


def test_greens_overrides_may_wait_for_blue_green() -> None:
    assert parse({"green": {"airflow_version": "2.11.2"}}).colours == ("blue",)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().nat = "per_az"


def test_a_host_that_adds_no_defaults_gets_the_same_program() -> None:
    unset = dict.fromkeys(DEFAULTS)  # None: the key is left out
    alone = deploy("standard", {**unset, "environment_class": "mw1.micro", "max_workers": 1, "schedulers": 1})
    assert alone.exports == deploy("standard").exports


def test_a_wrong_setting_stops_the_program_before_anything_is_registered() -> None:
    with pytest.raises(pulumi.RunError, match="2 invalid settings in stack standard") as raised:
        deploy("standard", {"nat": "two", "green": "not an object"})
    assert "must be an object of settings" in str(raised.value)


@pytest.mark.parametrize(
    ("project", "stack", "name"),
    [
        ("mwaa-openlineage", "fullha", "mwaa-openlineage-fullha"),
        ("mwaa-openlineage", "a.b", "mwaa-openlineage-a-b-"),
        ("9lives", "x", "m9lives-x-"),
    ],
)
def test_the_name_is_project_and_stack_where_aws_takes_it(project: str, stack: str, name: str) -> None:
    assert parse(project=project, stack=stack).name.startswith(name)


@given(
    st.from_regex(r"[A-Za-z0-9_.-]{1,100}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_.-]{1,100}", fullmatch=True),
)
def test_any_name_becomes_one_that_aws_takes(project: str, stack: str) -> None:
    name = parse(project=project, stack=stack).name
    assert len(name) <= 50
    assert name[0].isalpha()
    assert name.replace("-", "").isalnum()


def test_shortened_names_of_different_stacks_differ() -> None:
    names = {parse(stack=f"{'x' * 60}{index}").name for index in range(20)}
    assert len(names) == 20


def test_versions_compare_as_numbers() -> None:
    assert at_least("2.10.3", "2.9.2")
    assert not at_least("2.9.2", "2.10.3")
    assert major("2.11.0") == 2


@pytest.mark.parametrize("kind", ["t4g.small", "m7gd.large", "im4gn.xlarge", "a1.large"])
def test_an_instance_type_that_cannot_boot_the_nodes_image_is_refused(kind: str) -> None:
    assert "x86_64" in complaint(marquez_instance_type=kind)


@pytest.mark.parametrize("kind", ["t3.medium", "g4dn.xlarge", "m7i-flex.large"])
def test_an_x86_instance_type_is_taken(kind: str) -> None:
    assert parse({"marquez_instance_type": kind}).marquez_instance_type == kind


@pytest.mark.parametrize("project", ["aws-lineage", "SSM-tools"])
def test_a_project_name_that_parameter_store_refuses_is_refused_before_anything_is_created(
    project: str,
) -> None:
    with pytest.raises(SettingsError, match=r"edit Pulumi\.yaml"):
        parse(project=project)


@pytest.mark.parametrize("cidr", ["172.31.0.0/16", "192.168.0.0/24", "100.64.0.0/16", "8.8.0.0/20"])
def test_networks_of_private_shared_and_public_addresses_are_taken(cidr: str) -> None:
    assert parse({"vpc_cidr": cidr}).vpc_cidr == cidr


def test_a_tag_of_the_users_replaces_ours_whatever_its_case() -> None:
    assert parse({"tags": {"Project": "x", "STACK": "y", "team": "z"}}).all_tags == {
        "managed-by": "pulumi",
        "Project": "x",
        "STACK": "y",
        "team": "z",
    }


def test_tags_that_differ_in_case_only_are_refused() -> None:
    text = complaint(tags={"team": "a", "Team": "b"})
    assert "pulumi config rm --path 'tags[\"Team\"]' -s test" in text
    assert "2 invalid settings" in text
