"""The life of an environment: statuses, roll-back, cancellation, a server that starts again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.home import Home
from local.mwaa.lifecycle import Fleet, NoAirflow, NotFoundError, Step
from local.mwaa.rules import Json, ValidationError
from local.processes import LocalError

REQUEST: Json = {
    "ExecutionRoleArn": "arn:aws:iam::000000000000:role/mwaa",
    "SourceBucketArn": "arn:aws:s3:::shop",
    "DagS3Path": "dags/",
    "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
}


class Scripted(NoAirflow):
    """A runtime that notes what it is asked for, and fails where `broken` says so."""

    def __init__(self, *, background: bool = False, broken: str | None = None) -> None:
        self.background = background
        self.broken = broken  # an option whose presence keeps Airflow from starting
        self.ensured: list[dict[str, str]] = []
        self.removed: list[str] = []
        self.stopped = 0

    def ensure(self, *arguments: Any) -> None:
        environment, _step = arguments
        options = environment["AirflowConfigurationOptions"]
        self.ensured.append(options)
        if self.broken in options:
            raise LocalError(f"{self.broken} is broken")

    def stop(self, _environment: Json) -> None:
        self.stopped += 1

    def remove(self, environment: Json) -> None:
        self.removed.append(environment["Name"])


class Endless(Scripted):
    """Never gets healthy; stops only when it is told to."""

    def ensure(self, *arguments: Any) -> None:
        step: Step = arguments[1]
        while True:
            step("waiting")
            time.sleep(0.01)


def wait_for(ready: Any) -> None:
    deadline = time.monotonic() + 5
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_environment_that_does_not_start_says_why(tmp_path: Path) -> None:
    fleet = Fleet(Home(tmp_path), Scripted(broken="core.x"))
    created = fleet.create("shop", REQUEST | {"AirflowConfigurationOptions": {"core.x": "1"}})
    assert created["Status"] == "CREATE_FAILED"
    assert created["LastUpdate"]["Status"] == "FAILED"
    assert created["LastUpdate"]["Error"]["ErrorMessage"] == "core.x is broken"


def test_an_update_that_fails_is_rolled_back(tmp_path: Path) -> None:
    runtime = Scripted(broken="core.x")
    fleet = Fleet(Home(tmp_path), runtime)
    fleet.create("shop", REQUEST | {"AirflowConfigurationOptions": {"core.good": "1"}})
    fleet.keeper("shop").update({"AirflowConfigurationOptions": {"core.x": "1"}})
    after = fleet.keeper("shop").environment
    assert after["Status"] == "UPDATE_FAILED"
    assert after["AirflowConfigurationOptions"] == {"core.good": "1"}
    assert runtime.ensured == [{"core.good": "1"}, {"core.x": "1"}, {"core.good": "1"}]
    fleet.keeper("shop").update({"AirflowConfigurationOptions": {"core.better": "1"}})
    assert fleet.keeper("shop").environment["Status"] == "AVAILABLE"


@pytest.mark.parametrize(
    "change",
    [
        {"MaxWorkers": 3},
        {"EnvironmentClass": "mw1.medium"},
        {"WeeklyMaintenanceWindowStart": "MON:03:30"},
        {"AirflowConfigurationOptions": {"core.x": "1"}},
    ],
)
def test_every_update_ends_the_tasks_at_work(tmp_path: Path, change: Json) -> None:
    runtime = Scripted()
    fleet = Fleet(Home(tmp_path), runtime)
    fleet.create("shop", REQUEST)
    fleet.keeper("shop").update(change)
    assert fleet.keeper("shop").environment.items() >= change.items()
    assert (runtime.stopped, len(runtime.ensured)) == (1, 2)


def test_a_change_takes_the_time_that_is_set_and_nothing_runs_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MWAA_LOCAL_CHANGE_SECONDS", "0.3")
    runtime = Scripted(background=True)
    fleet = Fleet(Home(tmp_path), runtime)
    changes: dict[str, Callable[[], object]] = {
        "CREATING": lambda: fleet.create("shop", REQUEST),
        "UPDATING": lambda: fleet.keeper("shop").update({"MaxWorkers": 3}),
    }
    for count, (status, change) in enumerate(changes.items()):
        begun, called = time.monotonic(), time.time()
        change()
        wait_for(lambda: "MWAA_LOCAL_CHANGE_SECONDS" in fleet.describe()[0]["phase"])
        assert (fleet.keeper("shop").environment["Status"], len(runtime.ensured)) == (status, count)
        wait_for(lambda: fleet.keeper("shop").environment["Status"] == "AVAILABLE")
        assert time.monotonic() - begun >= 0.3
        assert called <= fleet.keeper("shop").environment["LastUpdate"]["CreatedAt"] < called + 0.3
    fleet.keeper("shop").delete()


def test_an_environment_that_failed_cannot_be_updated_only_deleted(tmp_path: Path) -> None:
    runtime = Scripted(broken="core.x")
    fleet = Fleet(Home(tmp_path), runtime)
    fleet.create("shop", REQUEST | {"AirflowConfigurationOptions": {"core.x": "1"}})
    with pytest.raises(ValidationError, match="CREATE_FAILED and cannot be updated"):
        fleet.keeper("shop").update({"MaxWorkers": 3})
    fleet.keeper("shop").delete()
    assert runtime.removed == ["shop"]
    with pytest.raises(NotFoundError):
        fleet.keeper("shop")


def test_deleting_gives_up_a_creation_that_is_under_way(tmp_path: Path) -> None:
    runtime = Endless(background=True)
    fleet = Fleet(Home(tmp_path), runtime)
    assert fleet.create("shop", REQUEST)["Status"] == "CREATING"
    wait_for(lambda: fleet.describe()[0]["phase"] == "waiting")
    fleet.keeper("shop").delete()
    wait_for(lambda: fleet.names() == [])
    assert runtime.removed == ["shop"]
    assert not (tmp_path / "state" / "mwaa" / "shop").exists()


def test_a_server_that_starts_again_goes_on_with_what_was_under_way(tmp_path: Path) -> None:
    endless = Endless(background=True)
    first = Fleet(Home(tmp_path), endless)
    first.create("shop", REQUEST)
    second = Fleet(Home(tmp_path), Scripted())
    assert second.keeper("shop").environment["Status"] == "AVAILABLE"
    first.keeper("shop").delete()  # ends the first fleet's thread
    wait_for(lambda: endless.removed == ["shop"])


def test_a_server_that_starts_again_brings_up_what_was_available(tmp_path: Path) -> None:
    Fleet(Home(tmp_path), Scripted()).create("shop", REQUEST)
    runtime = Scripted()
    Fleet(Home(tmp_path), runtime)
    assert len(runtime.ensured) == 1


def test_a_port_that_a_stranger_took_meanwhile_is_given_up(tmp_path: Path) -> None:
    class Moving(Scripted):
        def address(self, environment: Json) -> str:
            return "127.0.0.1:4711"

    Fleet(Home(tmp_path), Scripted()).create("shop", REQUEST)
    again = Fleet(Home(tmp_path), Moving())
    assert again.keeper("shop").environment["WebserverUrl"] == "127.0.0.1:4711"


def test_tags_changed_during_a_creation_are_kept(tmp_path: Path) -> None:
    fleet = Fleet(Home(tmp_path), Scripted())
    fleet.create("shop", REQUEST | {"Tags": {"a": "1"}})
    fleet.keeper("shop").tag(lambda tags: tags.update(b="2"))
    fleet.keeper("shop").update({"AirflowConfigurationOptions": {"core.y": "1"}})
    assert fleet.keeper("shop").environment["Tags"] == {"a": "1", "b": "2"}
