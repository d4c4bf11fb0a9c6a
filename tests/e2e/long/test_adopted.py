"""An Airflow 2.11 at work that was made without this program is adopted, and its work moves to a green.

Its DAG is due each minute and catches up, so that each minute must be executed once: before the adoption,
after the update that brings in the gate, and on green.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.airflow.process import stop_airflows
from local.home import ACCOUNT, CHECKOUT, REGION, Home
from local.processes import stop
from tests.e2e.load.twins import wait_for
from tests.engine.deployment import LocalCloud, Project
from tests.engine.long.test_iam_settings import SERVICES, document, policy
from tests.engine.long.test_own_network import Organisation

NAME, BUCKET, STACK = "team-airflow", "team-dags", "team"
CHANGE = 20  # seconds at least that Amazon takes for a change: nothing runs there meanwhile
DAG = """
import os
from datetime import datetime, timezone
from airflow import DAG
from airflow.operators.python import PythonOperator


def work(data_interval_end, **_):
    side = os.path.basename(os.path.dirname(os.environ["AIRFLOW_HOME"]))
    with open({ledger!r}, "a") as ledger:
        ledger.write(f"{{data_interval_end.isoformat()}} {{side}}\\n")


with DAG("minutely", schedule="* * * * *", start_date=datetime.fromisoformat({start!r}), catchup=True):
    PythonOperator(task_id="work", python_callable=work)
"""


class Team:
    """The environment, its DAGs and what they have done; later, the stack that has adopted it."""

    def __init__(self, root: Path, cloud: LocalCloud) -> None:
        self.cloud, self.root, self.ledger = cloud, root, root / "ledger"
        self.start = datetime.now(UTC).replace(second=0, microsecond=0)
        self.dags = root / "dags"
        self.dags.mkdir()
        dag = DAG.format(ledger=str(self.ledger), start=self.start.isoformat())
        (self.dags / "minutely.py").write_text(dag)

    def make(self) -> None:
        network, s3 = Organisation(self.cloud), self.cloud.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for file in self.dags.iterdir():
            s3.put_object(Bucket=BUCKET, Key=f"dags/{file.name}", Body=file.read_bytes())
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": SERVICES}}
        iam = self.cloud.client("iam")
        iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=document(trust))
        iam.put_role_policy(RoleName=NAME, PolicyName="all", PolicyDocument=document(policy("*")))
        self.cloud.client("mwaa").create_environment(
            Name=NAME,
            ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/{NAME}",
            SourceBucketArn=f"arn:aws:s3:::{BUCKET}",
            DagS3Path="dags",
            AirflowVersion="2.11.2",
            WebserverAccessMode="PUBLIC_ONLY",
            AirflowConfigurationOptions={"core.dags_are_paused_at_creation": "False"},
            NetworkConfiguration={"SubnetIds": network.private, "SecurityGroupIds": [network.group()]},
        )
        wait_for(lambda: self.environment()["Status"] == "AVAILABLE", "the environment is made", 420)

    def environment(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.client("mwaa").get_environment(Name=NAME)["Environment"]
        return found

    def adopt(self, project: Path, *options: str) -> dict[str, Any]:
        return self.mwaactl(project, "adopt", NAME, *options)

    def mwaactl(self, project: Path, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [Path(sys.executable).with_name("mwaactl"), *words, "-s", STACK, "--json"],
            cwd=project,
            env=dict(self.cloud.env),
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def done(self) -> Counter[tuple[datetime, str]]:
        """How often a minute was executed, and where."""
        if not self.ledger.exists():
            return Counter()
        lines = (line.split() for line in self.ledger.read_text().splitlines())
        return Counter((datetime.fromisoformat(due), side) for due, side in lines)

    def wait_until_done(self, what: str, *, since: datetime, side: str) -> None:
        """Until a minute after `since` was executed on a side."""
        wait_for(lambda: any(due > since and at == side for due, at in self.done()), what, 300)

    def assert_each_minute_once(self) -> None:
        minutes = Counter(due for due, _ in self.done().elements())
        assert set(minutes.values()) == {1}, minutes
        first, last = min(minutes), max(minutes)
        assert first == self.start + timedelta(minutes=1)
        assert len(minutes) == (last - first) / timedelta(minutes=1) + 1


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    root = tmp_path_factory.mktemp("adopted")
    with pytest.MonkeyPatch.context() as patch:
        tools = os.environ.get("MWAA_LOCAL_TOOLS") or str(CHECKOUT / ".local" / "tools")
        patch.setenv("MWAA_LOCAL_TOOLS", tools)
        patch.setenv("MWAA_LOCAL_HOME", str(root / "home"))
        patch.setenv("MWAA_LOCAL_CHANGE_SECONDS", str(CHANGE))
        home = Home(root / "home")
        cloud = LocalCloud(home, {})
        try:
            cloud = LocalCloud.start(home, airflow=True)
            team = Team(root, cloud)
            team.make()
            yield team
        finally:
            stop(home, "mwaa", descendants=False)  # first, or it would start them again
            stop_airflows(home)
            cloud.stop()


@pytest.fixture(scope="module")
def project(team: Team) -> Project:
    folder = team.root / "project"
    folder.mkdir()
    project = Project.of_checkout(team.cloud, folder, STACK)
    project.set(**{"aws:region": REGION}, gate_probe_minutes=1)
    return project


# One story, told in this order.


def test_until_the_update_it_works_as_before(team: Team, project: Project) -> None:
    team.wait_until_done("it works", since=team.start, side=NAME)
    before = team.environment()
    assert team.adopt(project.folder, "--later")["stage"] == "imported"
    assert team.environment() == before
    team.wait_until_done("it works on", since=datetime.now(UTC), side=NAME)


def test_the_update_brings_in_the_gate_and_no_minute_is_lost(team: Team, project: Project) -> None:
    assert team.adopt(project.folder)["stage"] == "updated"
    team.wait_until_done("it works with the gate", since=datetime.now(UTC), side=NAME)
    team.assert_each_minute_once()


def test_its_work_moves_to_a_green_beside_it(team: Team, project: Project) -> None:
    project.set(enable_blue_green=True)
    made = project.run("up", "--yes", "--skip-preview")
    assert made.returncode == 0, made.stdout + made.stderr
    team.mwaactl(project.folder, "dags", "push", "--no-check", str(team.dags), "--wait")
    team.wait_until_done("blue owns the work", since=datetime.now(UTC), side=NAME)
    green = project.outputs()["airflow_environments"]["green"]["name"]
    team.mwaactl(project.folder, "switch", "green", "--yes", "--wait")
    team.wait_until_done("green executes", since=datetime.now(UTC), side=green)
    moved = min(due for due, side in team.done() if side == green)
    assert not [due for due, side in team.done() if due > moved and side == NAME]
    team.assert_each_minute_once()


def test_the_audit_finds_nothing(team: Team, project: Project) -> None:
    found = team.mwaactl(project.folder, "audit", "--since", team.start.isoformat())
    assert (found["findings"], found["unknown"], found["ungated"]) == ([], [], [])
    assert found["instants"] > 0
