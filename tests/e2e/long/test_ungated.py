"""A real Airflow whose policies are never registered: what it executes does not stay unseen.

As on MWAA with Airflow 3.2.1 (aws/amazon-mwaa-docker-images#627): plugins.zip is loaded, but nothing in it
makes Airflow call a policy. The environment is blue, the standby; green owns all work.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bluegreen.proof import FACET, PROBE

from components.airflow.plugins import plugins_zip
from tests.e2e.zoo.environment import Json, Kind, Zoo, ZooCloud

KINDS = "2.11.2-new-LocalExecutor,3.3.1-new-LocalExecutor"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Ungated(Zoo):
    """With nothing in its DAGs folder but the probe, and no way for Airflow to find a policy."""

    files = Path(os.devnull)

    def plugins(self) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(plugins_zip())) as whole, zipfile.ZipFile(content, "w") as package:
            for name in whole.namelist():
                if name.startswith("bluegreen/"):
                    package.writestr(name, whole.read(name))
        return content.getvalue()


@pytest.fixture(scope="module", params=os.environ.get("GATE_ENVIRONMENTS", KINDS).split(","))
def ungated(request: pytest.FixtureRequest, zoo_cloud: ZooCloud) -> Iterator[Ungated]:
    environment = Ungated(zoo_cloud, Kind(*request.param.split("-")))
    environment.create()
    yield environment
    environment.delete()


def executed(zoo: Zoo) -> list[Json]:
    """The instances of the probe's task that have ended in a process."""
    return [
        ti for ti in zoo.task_instances() if ti["dag_id"] == PROBE and ti["state"] in ("success", "failed")
    ]


def test_the_probe_that_is_executed_on_the_standby_fails_and_says_why(ungated: Ungated) -> None:
    ungated.wait_for(lambda: executed(ungated), "the probe is executed", seconds=120)
    instance = executed(ungated)[0]
    assert instance["state"] == "failed"
    assert "it was executed where it is not owned: green owns what is due at" in ungated.log(instance)


def test_what_mwaactl_sees_is_no_proof(ungated: Ungated) -> None:
    proof = ungated.proof()
    assert not proof.proven
    assert proof.wrong is not None
    assert "executed where it is not owned: green owns" in proof.wrong


def test_the_event_of_its_start_is_kept_without_a_proof_and_written_apart(ungated: Ungated) -> None:
    """Without that the transport would drop it, since the run is not ours."""
    ungated.wait_for(lambda: ungated.ungated(LONG_AGO), "the event", seconds=30)
    found = ungated.ungated(LONG_AGO)[0]
    assert (found.dag_id, found.task_id, found.environment) == (PROBE, "report", "blue")
    starts = [
        event["run"]["facets"][FACET]
        for event in ungated.lineage()
        if event["eventType"] == "START" and "taskInstance" in event["run"]["facets"].get("airflow", {})
    ]
    assert starts
    assert {(facet["layer"], facet["environment"]) for facet in starts} == {(None, "blue")}
