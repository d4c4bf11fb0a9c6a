"""One Airflow environment: what it loads, how it is configured, and what makes a new version of it."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.airflow.plugins import plugins_files, plugins_zip, requirements_txt
from components.archive import zip_bytes
from components.config.airflow_versions import AIRFLOW_VERSIONS
from components.config.content import OPENLINEAGE
from components.config.files import PLUGINS as FOLDER
from components.config.files import folder_files
from components.config.rules import MAINTENANCE
from components.python_archive import built
from local.airflow import locks
from tests.fakes.pulumi_mocks import ROOT, Deployment, deploy, is_secret, plain
from tests.unit.components.config.test_settings import parse

Deployed = Callable[[str], Deployment]
TEAM = ROOT / "tests" / "fakes" / "of_a_team"


def environment(deployment: Deployment, colour: str = "blue") -> dict[str, Any]:
    """What the program says of one environment; the SDK sends the options as a secret."""
    inputs = deployment.resource("Environment", f"mwaa-{colour}").inputs
    return {key: plain(value) for key, value in inputs.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "package" / "__pycache__").mkdir(parents=True)
    (tmp_path / "package" / "module.py").write_text("x = 1\n")
    (tmp_path / "package" / "__pycache__" / "module.cpython-312.pyc").write_bytes(b"cache")
    (tmp_path / "package" / ".airflowignore").write_text("module.py\n")
    return tmp_path


def names_in(archive: bytes) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(archive)).namelist())


def packed(folder: Path | None = None) -> set[str]:
    """The plugins.zip of a stack with plugins of its own."""
    settings = parse({"plugins_folder": str(folder)} if folder else {})
    return names_in(built("plugins", plugins_files(settings.environment("blue"))).read_bytes())


def test_a_stacks_own_plugins_are_packed_beside_the_programs_without_caches(folder: Path) -> None:
    ours = names_in(plugins_zip())
    assert packed() == ours
    assert packed(folder) == ours | {"package/.airflowignore", "package/module.py"}


def test_the_same_plugins_are_the_same_bytes_whenever_they_were_written(folder: Path) -> None:
    before = zip_bytes(folder_files(folder))
    module = folder / "package" / "module.py"
    content = module.read_bytes()
    module.unlink()
    module.write_bytes(content)
    module.chmod(0o755)
    assert zip_bytes(folder_files(folder)) == before


def test_changed_plugins_are_another_file_with_other_bytes(folder: Path) -> None:
    settings = parse({"plugins_folder": str(folder)}).environment("blue")
    before = built("plugins", plugins_files(settings))
    (folder / "package" / "module.py").write_text("x = 2\n")
    after = built("plugins", plugins_files(settings))
    assert (before != after, before.read_bytes() != after.read_bytes()) == (True, True)


def test_the_projects_own_plugins_are_shipped(deployed: Deployed) -> None:
    sent = deployed("standard").resource("BucketObjectv2", "mwaa-blue-plugins").inputs["source"]
    names = zipfile.ZipFile(sent.path).namelist()
    assert "bluegreen/timeline.py" in names
    assert set(names) == {
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_probe_is_put_into_each_dags_folder_and_its_period_updates_no_environment() -> None:
    for minutes in (5, 10):
        deployment = deploy("fullha", {"gate_probe_minutes": minutes})
        for colour in ("blue", "green"):
            file = deployment.resource("BucketObjectv2", f"mwaa-{colour}-probe").inputs
            assert file["key"] == "dags/bluegreen_probe.py"
            assert f"minutes={minutes}," in file["content"]
            assert '"openlineage-python",' in file["content"]
            assert "probe" not in json.dumps(environment(deployment, colour))


@pytest.mark.parametrize("version", AIRFLOW_VERSIONS)
def test_requirements_name_openlineage_and_leave_its_version_to_amazons_constraints(version: str) -> None:
    settings = parse({"airflow_version": version, "requirements": ["pandas==2.3.3"]})
    assert requirements_txt(settings.environment("blue")).splitlines() == [
        "apache-airflow-providers-openlineage",
        "openlineage-python",
        "pandas==2.3.3",
    ]


def test_the_local_cloud_has_the_constraints_of_every_version() -> None:
    assert tuple(locks.VERSIONS) == AIRFLOW_VERSIONS
    for version, pins in locks.VERSIONS.items():
        lines = locks.lock(version).read_text().splitlines()
        for name, pinned in zip(OPENLINEAGE, (pins.provider, pins.client), strict=True):
            assert [line for line in lines if line.startswith(f"{name}=={pinned} ")], (version, name)


def test_the_environment_gets_the_versions_of_the_uploaded_objects(deployed: Deployed) -> None:
    blue = environment(deployed("standard"))
    assert blue["requirementsS3Path"] == "requirements.txt"
    assert blue["requirementsS3ObjectVersion"] == "version-of-mwaa-blue-requirements"
    assert blue["pluginsS3Path"] == "plugins.zip"
    assert blue["pluginsS3ObjectVersion"] == "version-of-mwaa-blue-plugins"
    assert blue["dagS3Path"] == "dags/"


def test_airflow_is_told_who_it_is_and_where_the_timeline_and_the_log_are(deployed: Deployed) -> None:
    options = environment(deployed("fullha"), "green")["airflowConfigurationOptions"]
    assert options["bluegreen.environment"] == "green"
    assert options["bluegreen.parameter"] == "/mwaa-openlineage/fullha/ownership"
    assert options["bluegreen.bucket"] == "lineage-log-1234567"
    assert options["bluegreen.max_age_seconds"] == "60"
    assert options["bluegreen.hosts"] == "7", "5 workers and 2 schedulers"
    assert "bluegreen.lead_seconds" not in options, "it stands in the parameter's value"
    assert options["openlineage.namespace"] == "mwaa-openlineage-fullha-green"
    assert json.loads(options["openlineage.transport"]) == {
        "type": "bluegreen.transport.LineageLogTransport",
        "bucket": "lineage-log-1234567",
        "prefix": "events/",
    }
    secrets = json.loads(options["secrets.backend_kwargs"])
    asked = re.compile(secrets.pop("variables_lookup_pattern"))
    assert secrets == {
        "connections_prefix": "mwaa-openlineage/fullha/connections",
        "variables_prefix": "mwaa-openlineage/fullha/variables",
        "connections_lookup_pattern": "^(?!aws_default$).*$",
    }, "and no config_prefix: options that end in _secret are looked up where Airflow does it"
    assert not asked.match("load_dags")
    assert asked.match("load_dags_2")
    assert asked.match("watermark")


def test_blue_and_green_differ_by_identity_only(deployed: Deployed) -> None:
    fullha = deployed("fullha")
    blue, green = (json.dumps(environment(fullha, colour), sort_keys=True) for colour in ("blue", "green"))
    for colour in ("blue", "green"):
        assert f'"weeklyMaintenanceWindowStart": "{MAINTENANCE[colour]}"' in (
            blue if colour == "blue" else green
        )
    same = green.replace("green.", "#").replace(MAINTENANCE["green"], MAINTENANCE["blue"])
    assert same.replace("green", "blue").replace("#", "green.") == blue.replace("blue.", "#").replace(
        "#", "blue."
    )


@pytest.mark.parametrize("version", AIRFLOW_VERSIONS)
def test_an_upgrade_does_not_shift_data_intervals(version: str) -> None:
    options = environment(deploy("standard", {"airflow_version": version}))["airflowConfigurationOptions"]
    assert options["scheduler.create_cron_data_intervals"] == "True"
    assert options["scheduler.catchup_by_default"] == "False"


def test_options_are_ones_that_mwaa_takes(deployed: Deployed) -> None:
    for key, value in environment(deployed("fullha"))["airflowConfigurationOptions"].items():
        assert len(key) <= 64
        assert value.isascii()
        assert value.isprintable()


def test_the_stacks_own_options_are_passed_on() -> None:
    options = environment(deploy("standard", {"airflow_options": {"core.parallelism": "64"}}))
    assert options["airflowConfigurationOptions"]["core.parallelism"] == "64"


def test_green_can_be_another_version_and_size() -> None:
    green = {"airflow_version": "3.0.6", "environment_class": "mw1.medium", "max_workers": 9}
    deployment = deploy("fullha", {"green": green})
    assert environment(deployment, "green")["airflowVersion"] == "3.0.6"
    assert environment(deployment, "green")["environmentClass"] == "mw1.medium"
    assert environment(deployment, "green")["maxWorkers"] == 9
    assert environment(deployment, "blue")["airflowVersion"] == "3.3.1"
    assert deployment.exports["airflow_environments"]["green"]["identity"]["airflow_major"] == 3


def test_one_namespace_can_be_shared() -> None:
    deployment = deploy("fullha", {"lineage_namespace": "warehouse"})
    for colour in ("blue", "green"):
        assert (
            environment(deployment, colour)["airflowConfigurationOptions"]["openlineage.namespace"]
            == "warehouse"
        )


def test_every_kind_of_log_is_kept(deployed: Deployed) -> None:
    logs = environment(deployed("standard"))["loggingConfiguration"]
    assert len(logs) == 5
    assert all(log["enabled"] for log in logs.values())


def test_the_level_of_one_log_leaves_the_others_and_green_overrides_singly() -> None:
    deployment = deploy(
        "fullha", {"log_levels": {"worker": "DEBUG"}, "green": {"log_levels": {"scheduler": "ERROR"}}}
    )
    levels = {
        colour: {
            kind: log["logLevel"]
            for kind, log in environment(deployment, colour)["loggingConfiguration"].items()
        }
        for colour in ("blue", "green")
    }
    assert levels["blue"]["workerLogs"] == levels["green"]["workerLogs"] == "DEBUG"
    assert (levels["blue"]["schedulerLogs"], levels["green"]["schedulerLogs"]) == ("INFO", "ERROR")
    assert levels["blue"]["taskLogs"] == "INFO"


@pytest.mark.parametrize(
    ("changes", "webservers"),
    [
        ({}, (2, 2)),
        ({"max_webservers": 4}, (2, 4)),
        ({"min_webservers": 3}, (3, 3)),
        ({"environment_class": "mw1.micro", "schedulers": 1, "max_workers": 1}, (1, 1)),
    ],
)
def test_web_servers_are_the_least_of_the_class_unless_said(
    changes: dict[str, Any], webservers: tuple[int, int]
) -> None:
    blue = environment(deploy("fullha", {"enable_blue_green": False, **changes}))
    assert (blue["minWebservers"], blue["maxWebservers"]) == webservers


def test_files_of_a_team_are_delivered_with_their_versions() -> None:
    deployment = deploy(
        "standard",
        {
            "requirements": ["polars"],
            "requirements_file": str(TEAM / "requirements.txt"),
            "startup_script": str(TEAM / "startup.sh"),
            "plugins_folder": str(TEAM / "plugins"),
            "dags_folder": "team/workflows/",
        },
    )
    files = {each.name: each.inputs for each in deployment.of_type("BucketObjectv2")}
    lines = plain(files["mwaa-blue-requirements"]["content"]).splitlines()
    assert lines == [*OPENLINEAGE, "polars", "pandas"]
    assert plain(files["mwaa-blue-startup"]["content"]) == (TEAM / "startup.sh").read_text()
    assert "warehouse/__init__.py" in names_in(Path(files["mwaa-blue-plugins"]["source"].path).read_bytes())
    assert files["mwaa-blue-probe"]["key"] == "team/workflows/bluegreen_probe.py"
    assert '"pandas",' in files["mwaa-blue-probe"]["content"], "the probe reports whether it is installed"
    blue = environment(deployment)
    assert blue["dagS3Path"] == files["mwaa-blue-dags"]["key"] == "team/workflows/"
    assert blue["startupScriptS3Path"] == "startup.sh"
    assert blue["startupScriptS3ObjectVersion"] == "version-of-mwaa-blue-startup"
    assert deployment.exports["airflow_environments"]["blue"]["dags_prefix"] == "team/workflows/"


def test_files_that_may_hold_the_token_of_an_index_are_secrets_and_nothing_else_is(
    deployed: Deployed,
) -> None:
    deployment = deployed("fullha")
    for colour in ("blue", "green"):
        for role in ("requirements", "startup"):
            file = deployment.resource("BucketObjectv2", f"mwaa-{colour}-{role}").inputs
            assert [key for key, value in file.items() if is_secret(value)] == ["content"]
        inputs = deployment.resource("Environment", f"mwaa-{colour}").inputs
        secrets = [key for key, value in inputs.items() if is_secret(value)]
        assert secrets == ["airflowConfigurationOptions"], "the SDK's own"
    assert not any(map(is_secret, deployment.exports.values()))


def test_without_a_script_there_is_one_that_does_nothing(deployed: Deployed) -> None:
    script = plain(deployed("standard").resource("BucketObjectv2", "mwaa-blue-startup").inputs["content"])
    assert [line for line in script.splitlines() if line and not line.startswith("#")] == []


@pytest.mark.parametrize("paused", [True, False])
def test_new_dags_are_paused_on_both_sides_or_on_none(paused: bool) -> None:
    deployment = deploy("fullha", {"is_paused_upon_creation": paused})
    for colour in ("blue", "green"):
        options = environment(deployment, colour)["airflowConfigurationOptions"]
        assert options["core.dags_are_paused_at_creation"] == str(paused)


def test_an_environment_waits_for_its_permissions_network_rules_and_bucket(deployed: Deployed) -> None:
    urns = deployed("standard").resource("Environment", "mwaa-blue").request.dependencies
    for part in (
        "RolePolicy",
        "SecurityGroupIngressRule",
        "SecurityGroupEgressRule",
        "BucketPublicAccessBlock",
    ):
        assert [urn for urn in urns if part in urn], part


def test_a_graceful_update_may_take_as_long_as_amazon_lets_it(deployed: Deployed) -> None:
    assert deployed("standard").resource("Environment", "mwaa-blue").request.customTimeouts.update == "14h"


def test_objects_wait_until_their_bucket_keeps_versions(deployed: Deployed) -> None:
    for name in ("requirements", "plugins", "startup", "dags"):
        urns = deployed("standard").resource("BucketObjectv2", f"mwaa-blue-{name}").request.dependencies
        assert [urn for urn in urns if "BucketVersioning" in urn]


@pytest.mark.parametrize(
    ("changes", "days"),
    [
        ({"production": False}, 30),
        ({"production": True}, 365),
        ({"production": True, "log_retention_days": 90}, 90),
    ],
)
def test_the_logs_expire_and_go_with_the_environment(changes: dict[str, Any], days: int) -> None:
    deployment = deploy("standard", changes)
    groups = deployment.of_type("LogGroup")
    assert {group.inputs["name"].rpartition("-")[2] for group in groups} == {
        "DAGProcessing",
        "Scheduler",
        "Task",
        "WebServer",
        "Worker",
    }
    assert {group.inputs["retentionInDays"] for group in groups} == {days}
    environment_urns = deployment.resource("Environment", "mwaa-blue").request.dependencies
    assert {group.urn for group in groups} <= set(environment_urns), "Amazon MWAA makes what it does not find"


def test_a_fence_does_not_keep_an_environment_from_being_destroyed(deployed: Deployed) -> None:
    for colour in ("blue", "green"):
        role = deployed("fullha").resource("Role", f"mwaa-{colour}")
        assert role.inputs["forceDetachPolicies"] is True
        assert role.inputs.get("inlinePolicies") is None, "the program must not take other policies away"


def test_what_a_push_has_removed_does_not_stay_as_an_old_version(deployed: Deployed) -> None:
    rules = deployed("bluegreen").resource("BucketLifecycleConfiguration", "mwaa-green").inputs["rules"]
    (passing,) = [rule for rule in rules if rule["filter"]["prefix"] == "dag-pushes/"]
    assert passing["noncurrentVersionExpiration"] == {"noncurrentDays": 1}
    (others,) = [rule for rule in rules if rule["id"] == "old-versions"]
    assert others["noncurrentVersionExpiration"]["newerNoncurrentVersions"] == 5
