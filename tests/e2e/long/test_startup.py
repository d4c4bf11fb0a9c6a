"""A startup script before a real Airflow: it has what the script exports; one that fails is rolled back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.zoo.environment import Kind, Zoo, ZooCloud

DAG = b"""
import os
from airflow.sdk import DAG

with DAG("of_" + os.environ.get("TEAM", "nobody"), schedule=None):
    pass
"""
GOOD = b"export TEAM=data\nexport AIRFLOW__CORE__LOAD_EXAMPLES=True\necho ready\n"


class Scripted(Zoo):
    """With one DAG, whose id is what the script exports."""

    files = Path(os.devnull)
    probed = False

    def update(self, script: bytes) -> str:
        """Give it another script; the status in which that ends."""
        self._put("startup.sh", script)
        self._mwaa.update_environment(Name=self.name, StartupScriptS3Path="startup.sh")
        ended = ("AVAILABLE", "UPDATE_FAILED", "UNAVAILABLE")
        self.wait_for(lambda: self._status() in ended, "the end of the update", seconds=300)
        return self._status()

    def shows(self, dag_id: str) -> None:
        self.wait_for(lambda: self.dag_ids() == {dag_id}, dag_id, seconds=120)


@pytest.fixture(scope="module")
def scripted(zoo_cloud: ZooCloud) -> Iterator[Scripted]:
    environment = Scripted(zoo_cloud, Kind("3.3.1", "new", "LocalExecutor"), "scripted")
    environment.create()
    environment._put("dags/mine.py", DAG)
    yield environment
    environment.delete()


def test_airflow_has_what_the_script_exports_and_not_what_mwaa_forces(scripted: Scripted) -> None:
    scripted.shows("of_nobody")
    assert scripted.update(GOOD) == "AVAILABLE"
    # Were the examples loaded, there would be more DAGs.
    scripted.wait_for(lambda: "of_data" in scripted.dag_ids(), "the DAG of the script", seconds=120)
    assert {each for each in scripted.dag_ids() if not each.startswith("of_")} == set()


def test_a_script_that_fails_is_an_update_that_fails_and_airflow_goes_on(scripted: Scripted) -> None:
    assert scripted.update(b"export TEAM=broken\nexit 3\n") == "UPDATE_FAILED"
    assert "of_broken" not in scripted.dag_ids()
    assert "of_data" in scripted.dag_ids()
