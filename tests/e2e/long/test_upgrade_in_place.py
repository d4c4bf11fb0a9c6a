"""A real Airflow goes from 2.11 to 3 by Amazon's own call, with its database: nothing twice or lost.

The environment is the only one of its stack and owns all work. docs/deployment-modes.md, "A new major version
in place".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.zoo.environment import Json, Kind, Zoo, ZooCloud

OLD, NEW = "2.11.2", "3.3.1"
DAG = '''"""One task every half minute, which makes up for what was not created in time."""

from datetime import datetime, timezone

from airflow import DAG
from zoo_ledger import SCHEDULE, note

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:  # Airflow 2
    from airflow.operators.python import PythonOperator

START = datetime.fromisoformat("{start}")

with DAG("steady", start_date=START, schedule=SCHEDULE, catchup=True, is_paused_upon_creation=False):
    PythonOperator(task_id="work", python_callable=lambda: note("execute"))
'''


class Alone(Zoo):
    owner = "blue"

    def __init__(self, cloud: ZooCloud, folder: Path) -> None:
        super().__init__(cloud, Kind(OLD, "new", "LocalExecutor"), name="in-place")
        self._dag = folder / "steady.py"
        self._dag.write_text(DAG.format(start=datetime.now(UTC).isoformat(timespec="seconds")))
        self._ledger_module = self.files / "dags" / "zoo_ledger.py"

    def dag_files(self) -> list[Path]:
        return [self._dag, self._ledger_module]

    def update(self, version: str) -> Json:
        """As `aws mwaa update-environment --airflow-version`; how it ended."""
        self._mwaa.update_environment(Name=self.name, AirflowVersion=version)
        self.wait_for(lambda: self._status() != "UPDATING", "the update", seconds=600)
        shown = self._mwaa.get_environment(Name=self.name)["Environment"]
        self.major = int(shown["AirflowVersion"][0])
        return {**shown["LastUpdate"], "version": shown["AirflowVersion"]}

    def works(self, count: int = 2) -> None:
        """Wait until as many runs that are due from now on have been executed."""
        since = datetime.now(UTC)
        self.wait_for(
            lambda: sum(due >= since for due in self.executed()) >= count,
            "new runs are executed",
            seconds=240,
        )

    def executed(self) -> Counter[datetime]:
        """The due instants of the executions."""
        lines = (line for line in self.ledger() if line["dag"] == "steady" and line["what"] == "execute")
        return Counter(datetime.fromisoformat(line["due"]) for line in lines)


@pytest.fixture(scope="module")
def alone(zoo_cloud: ZooCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    environment = Alone(zoo_cloud, tmp_path_factory.mktemp("in-place"))
    environment.create()
    yield environment
    environment.delete()


def assert_executed_once(alone: Alone) -> None:
    """Each half minute from the first one executed to the last one."""
    executed = alone.executed()
    first, last = min(executed), max(executed)
    due = {first + timedelta(seconds=30 * n) for n in range(int((last - first).total_seconds()) // 30 + 1)}
    assert {at: count for at, count in executed.items() if count > 1} == {}
    assert due - executed.keys() == set()


def states(alone: Alone) -> dict[str, str]:
    return {run["dag_run_id"]: run["state"] for run in alone.runs("steady")}


def test_it_works_before(alone: Alone) -> None:
    alone.works()
    assert_executed_once(alone)


def test_it_is_upgraded_with_its_history_and_goes_on(alone: Alone) -> None:
    before = {run: state for run, state in states(alone).items() if state == "success"}
    update = alone.update(NEW)
    assert (update["Status"], update["version"]) == ("SUCCESS", NEW)
    alone.works()
    assert before
    assert before.items() <= states(alone).items()
    assert_executed_once(alone)


def test_the_gate_is_proven_on_the_new_version(alone: Alone) -> None:
    alone.wait_for(lambda: alone.proof().proven, "the gate is proven", seconds=180)


def test_amazons_way_back_fails_and_loses_nothing(alone: Alone) -> None:
    """Airflow 2 would give its next run the name that Airflow 3 has given to its last."""
    update = alone.update(OLD)
    assert update["Status"] == "FAILED"
    alone.works()
    assert_executed_once(alone)
