"""The nightly audit, as the program deploys it, and the archive that it runs from."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from bluegreen.proof import AUDITED, FENCE, FINDING

from components.airflow.nightly_audit import audit_archive, audit_files
from mwaactl import stack as outputs
from tests.fakes.pulumi_mocks import Deployment, deploy

# What every Airflow 3 has, and Airflow 2 by `requirements`.
AIRFLOWS = (
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "typing_inspection",
    "packaging",
)


@pytest.fixture(scope="module")
def stack() -> Deployment:
    return deploy("fullha", {"nightly_audit": True})


def test_it_is_off_unless_somebody_wants_it() -> None:
    plain = deploy("fullha")
    assert not [each.name for each in plain.resources if each.name.startswith("audit")]


def test_both_environments_get_the_same_dag(stack: Deployment) -> None:
    dags = [stack.resource("BucketObjectv2", f"audit-{colour}-dag").inputs for colour in ("blue", "green")]
    environments = stack.exports["airflow_environments"].values()
    assert {dag["bucket"] for dag in dags} == {environment["bucket"] for environment in environments}
    assert {dag["key"] for dag in dags} == {"dags/bluegreen_audit.py"}
    assert len({dag["content"] for dag in dags}) == 1, "else the check `same-files` stops each switch"
    compile(dags[0]["content"], "bluegreen_audit.py", "exec")


def test_the_dag_finds_the_program_and_the_outputs_that_it_reads(stack: Deployment) -> None:
    program = stack.resource("BucketObjectv2", "audit-archive").inputs
    described = stack.resource("BucketObjectv2", "audit-stack").inputs
    assert {each["bucket"] for each in (program, described)} == {stack.exports["lineage_log_bucket"]}
    assert (program["key"], described["key"]) == ("deploy/audit/mwaactl.zip", "deploy/audit/stack.json")
    read = outputs.parse(json.loads(described["content"]))
    assert read.name == "mwaa-openlineage-fullha"
    assert set(read.airflow_environments) == {"blue", "green"}


def test_the_dag_comes_after_what_it_needs(stack: Deployment) -> None:
    assert {
        urn.rpartition("::")[2]
        for urn in stack.resource("BucketObjectv2", "audit-blue-dag").request.dependencies
    } >= {
        "audit-blue",
        "audit-archive",
        "audit-stack",
    }


def test_the_execution_roles_may_read_for_it_and_change_nothing(stack: Deployment) -> None:
    for colour in ("blue", "green"):
        policy = stack.resource("RolePolicy", f"audit-{colour}").inputs
        statements = {each["Sid"]: each for each in json.loads(policy["policy"])["Statement"]}
        assert {action for each in statements.values() for action in each["Action"]} == {
            "airflow:GetEnvironment",
            "airflow:InvokeRestApi",
            "iam:GetRolePolicy",
            "s3:GetObject",
            "s3:ListBucket",
        }
        called = statements["CallAirflow"]["Resource"]
        assert {resource.partition(":role/")[2] for resource in called} == {
            "mwaa-openlineage-fullha-blue/Viewer",
            "mwaa-openlineage-fullha-green/Viewer",
        }
        assert "*" not in statements["SeeFence"]["Resource"]


@pytest.mark.parametrize(
    ("role", "line", "periods", "missing"),
    [
        ("finding", FINDING, 24, "notBreaching"),
        ("fence", FENCE, 24, "notBreaching"),
        ("missing", AUDITED, 27, "breaching"),
    ],
)
def test_an_alarm_looks_at_what_the_audits_of_both_sides_log(
    role: str, line: str, periods: int, missing: str, stack: Deployment
) -> None:
    alarm = stack.resource("MetricAlarm", f"audit-{role}").inputs
    for colour in ("blue", "green"):
        counted = stack.resource("LogMetricFilter", f"audit-{colour}-{role}").inputs
        assert counted["logGroupName"] == f"airflow-mwaa-openlineage-fullha-{colour}-Task"
        assert counted["pattern"] == f'"{line}"'
        made = counted["metricTransformation"]
        assert (made["name"], made["namespace"]) == (alarm["metricName"], alarm["namespace"])
    assert (alarm["period"], alarm["evaluationPeriods"]) == (3600, periods)
    assert alarm["treatMissingData"] == missing


def test_the_lines_are_told_apart_by_what_cloudwatch_looks_for() -> None:
    lines = {AUDITED, FINDING, FENCE}
    assert not [(one, other) for one in lines for other in lines - {one} if one in other]


def test_the_archive_needs_only_what_airflow_has(tmp_path: Path) -> None:
    """In another Python: no site-packages, and no other package than these."""
    site = tmp_path / "airflows"
    site.mkdir()
    for name in AIRFLOWS:
        package = distribution(name).locate_file("")
        for found in (Path(str(package)) / name, Path(str(package)) / f"{name}.py"):
            if found.exists():
                (site / found.name).symlink_to(found)
    app = tmp_path / "app"
    with zipfile.ZipFile(audit_archive()) as archive:
        archive.extractall(app)
    (app / "stack.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mwaactl.recovery.nightly", "stack.json"],
        cwd=app,
        env={"PYTHONPATH": f"{app}:{site}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith("stack (the selected one) is not deployed")


def test_the_archive_has_the_services_that_the_audit_calls_and_stays_small() -> None:
    services = {
        Path(name).parts[2]
        for name in audit_files()
        if name.startswith("botocore/data/") and name.count("/") > 2
    }
    assert services == {"iam", "mwaa", "s3", "ssm", "sts"}
    assert audit_archive().stat().st_size < 3_000_000
