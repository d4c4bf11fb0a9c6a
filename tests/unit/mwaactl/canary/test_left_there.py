"""The first DAGs on the new side when the command ends before the rest may follow, or cannot see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mwaactl.canary.away import Away
from mwaactl.canary.progressive import BLIND, Canary, progress
from mwaactl.canary.soak import Soak
from mwaactl.errors import CheckFailed, Unreachable
from mwaactl.ownership.reading import newest_owner
from mwaactl.switching import write
from tests.fakes.airflow.probed import side
from tests.fakes.airflow.working import Does, working_clients
from tests.fakes.aws.clients import GREEN, FakeClients, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.mwaactl.commands import Command, commands, output
from tests.fakes.mwaactl.switches import switched

CANARY = Canary(dags=("w_1",), soak=timedelta(minutes=10))
TYPED = ("switch", "green", "--yes", "--canary", "w_1", "--soak", "6m")
BACK = "mwaactl switch blue --wait -s fullha --dag w_1"
Looks = list[tuple[str, ...]]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return working_clients(monkeypatch, 4, lambda colour, dag, due: Does())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, aws: FakeClients) -> Command:
    return commands(monkeypatch, aws)


def owner(aws: FakeClients, dag: str | None = "w_1") -> str | None:
    return newest_owner(standing(aws), dag)


class Expiring:
    """Credentials that have expired, once `now` is set and until `until`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, aws: FakeClients) -> None:
        self.aws, self.now, self.until = aws, False, timedelta.max
        self._get = aws.ssm.get_parameter
        monkeypatch.setattr(aws.ssm, "get_parameter", self._read)

    def expire(self, until: timedelta) -> None:
        self.now, self.until = True, until
        self._begun = self.aws.ssm.clock.now

    def _read(self, **arguments: Any) -> Any:
        if self.now and self.aws.ssm.clock.now - self._begun < self.until:
            raise client_error("ExpiredTokenException", 400, "GetParameter")
        return self._get(**arguments)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, aws: FakeClients) -> Expiring:
    return Expiring(monkeypatch, aws)


def watched(aws: FakeClients, then: Callable[[], None]) -> Looks:
    """The problems of each look; `then` happens after the second look."""
    looks: Looks = []

    def on_look(soak: Soak, _left: timedelta) -> None:
        looks.append(soak.problems)
        if len(looks) == 2:
            then()

    progress(deployment(aws), "green", CANARY, on_look=on_look)
    return looks


def test_what_cannot_be_read_for_a_while_is_read_again(aws: FakeClients, credentials: Expiring) -> None:
    looks = watched(aws, lambda: credentials.expire(timedelta(minutes=3)))
    blind = [problem for problems in looks for problem in problems]
    assert 4 <= len(blind) <= 7
    assert all("cannot watch, trying again" in problem and "expired" in problem for problem in blind)
    assert looks[-1] == ()


def test_what_cannot_be_read_at_all_ends_with_the_way_back(aws: FakeClients, credentials: Expiring) -> None:
    begun = aws.ssm.clock.now
    with pytest.raises(Away, match=rf"expired.*Now on green, and not watched: w_1\..*{BACK}") as raised:
        watched(aws, lambda: credentials.expire(timedelta.max))
    assert BLIND <= aws.ssm.clock.now - begun < BLIND + timedelta(minutes=5)
    assert (raised.value.dags, raised.value.back) == (("w_1",), BACK)
    [step] = raised.value.beside["canary"]
    assert (step["dags"], step["on"], len(step["soak"]["dags"])) == (["w_1"], "green", 1)
    credentials.now = False
    assert owner(aws) == "green"


def test_a_source_that_does_not_answer_after_the_move_is_asked_again(aws: FakeClients) -> None:
    switched(aws, "green", "w_1")
    seen: list[Soak] = []

    def no_runs(method: str, path: str) -> None:
        if path.endswith("dagRuns/list") and len(seen) < 3:
            raise client_error("InternalServerException", 500)

    side(aws, "blue").before = no_runs
    [step] = progress(deployment(aws), "green", CANARY, on_look=lambda soak, _left: seen.append(soak))
    assert [bool(soak.problems) for soak in seen[:4]] == [True, True, True, False]
    assert step.soak is not None
    assert step.soak.dags[0].history > 0


def test_a_first_read_that_fails_is_only_that(aws: FakeClients, credentials: Expiring) -> None:
    """Nothing has moved."""
    credentials.expire(timedelta.max)
    with pytest.raises(Unreachable):
        progress(deployment(aws), "green", CANARY)


def test_a_check_that_fails_before_the_second_step_leaves_the_first_there(aws: FakeClients) -> None:
    def on_look(_soak: Soak, left: timedelta) -> None:
        if not left:
            aws.mwaa.environments[GREEN]["Status"] = "UPDATING"

    canary = Canary(percents=(10, 60), soak=timedelta(minutes=6))
    with pytest.raises(Away, match=r"^no other DAG has moved: .* failed.*--dag w_") as raised:
        progress(deployment(aws), "green", canary, on_look=on_look)
    assert [step["on"] for step in raised.value.beside["canary"]] == ["green"]
    assert {owner(aws, dag) for dag in raised.value.dags} == {"green"}


def test_bad_ones_are_in_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = working_clients(
        monkeypatch, 4, lambda colour, dag, due: Does("failed" if colour == "green" else "success")
    )
    result = commands(monkeypatch, aws)(*TYPED, "--json")
    assert result.exit_code == 1
    fields = output(result)
    assert "Given back to blue" in fields["error"]
    [step] = fields["canary"]
    assert (step["dags"], step["on"], step["soak"]["dags"][0]["result"]) == (["w_1"], "blue", "bad")


@pytest.fixture
def updating_afterwards(monkeypatch: pytest.MonkeyPatch, aws: FakeClients) -> None:
    """After the watch, the target is being updated."""

    def watch(*arguments: Any, **options: Any) -> Any:
        steps = progress(*arguments, **options)
        aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
        return steps

    monkeypatch.setattr("mwaactl.canary.progressive.progress", watch)


@pytest.mark.usefixtures("updating_afterwards")
def test_a_check_of_the_rest_that_fails_says_where_the_first_are(run: Command, aws: FakeClients) -> None:
    result = run(*TYPED, "--json")
    assert result.exit_code == 5
    fields = output(result)
    assert "nothing was written" not in fields["error"]
    assert "no other DAG has moved" in fields["error"]
    assert (
        f"Now on green, and not watched: w_1. Repeat the command to go on, or give them back: {BACK}"
        in (fields["error"])
    )
    [step] = fields["canary"]
    assert (step["dags"], step["on"], step["soak"]["dags"][0]["result"]) == (["w_1"], "green", "good")
    assert (owner(aws), owner(aws, None)) == ("green", "blue")

    repeated = run(*TYPED, "--json")
    assert repeated.exit_code == 5, "they are still there"
    assert BACK in output(repeated)["error"]
    assert output(repeated)["canary"][0]["on"] == "green"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Unreachable("AWS is away"), CheckFailed("busy")])
def test_whatever_ends_the_command_then_says_where_the_first_are(
    monkeypatch: pytest.MonkeyPatch, run: Command, error: BaseException
) -> None:
    carry_out = write.carry_out

    def fails(plan: Any, **options: Any) -> Any:
        if plan.dags:
            return carry_out(plan, **options)
        raise error

    monkeypatch.setattr(write, "carry_out", fails)
    result = run(*TYPED, "--json")
    assert result.exit_code == 5
    assert output(result)["canary"][0]["on"] == "green"
    if not isinstance(error, KeyboardInterrupt):
        assert BACK in output(result)["error"]
