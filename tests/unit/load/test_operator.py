"""The operator of the end-to-end test forces what it broke itself, and nothing else."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.e2e.load.decisions import EPOCH, Version
from tests.e2e.load.operator import FORCIBLE, Operator
from tests.e2e.load.twins import Answer, Twins


class Double:
    """Twins on which one check fails until it is forced; no scheduler can be found."""

    def __init__(self, failing: str) -> None:
        self.outputs = {"switch_lead_seconds": 5}
        self.commands: list[tuple[str, ...]] = []
        self._failing = failing

    def versions(self) -> list[Version]:
        entry = {"owner": "blue", "since": EPOCH.isoformat(), "version": 1}
        value = json.dumps({"base_version": 0, "owners": [entry], "dags": {}})
        return [Version(1, value, datetime.now(UTC), "")]

    def content(self, name: str) -> str:
        raise AssertionError(f"there is no object {name}")

    def mwaactl(self, *command: str) -> Answer:
        self.commands.append(command)
        if self._failing in command:
            return Answer(command, 0, "{}", "")
        check = {"name": self._failing, "result": "fail", "forced": False, "detail": "it is broken"}
        return Answer(command, 1, json.dumps({"checks": [check]}), "")

    def kill_scheduler(self, colour: str) -> bool:
        return False


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        """Not at all."""

    monkeypatch.setattr(time, "sleep", sleep)


def operator(twins: Any) -> Operator:
    return Operator(cast("Twins", twins), seed=1, say=lambda _: None)


@pytest.mark.parametrize("check", FORCIBLE)
def test_a_check_that_fails_for_what_was_broken_is_forced_at_the_fourth_try(check: str) -> None:
    double = Double(check)
    operates = operator(double)
    assert operates._switch("switch", "green").code == 0
    assert [("--force" in command) for command in double.commands] == [False, False, False, True]
    assert operates.forced == {check: 1}


@pytest.mark.parametrize("check", ["gate", "serial-dags", "same-dags", "import-errors"])
def test_any_other_check_that_fails_ends_the_test_with_its_detail(check: str) -> None:
    double = Double(check)
    with pytest.raises(AssertionError, match=f"failed for nothing that was broken.*{check}.*it is broken"):
        operator(double)._switch("switch", "green")
    assert not any("--force" in command for command in double.commands)


def test_a_kill_without_a_victim_is_no_fault_that_took_place() -> None:
    operates = operator(Double("none"))
    operates._break("kill scheduler of owner")
    assert not operates.faults
    assert not operates.kills
