"""`mwaactl maintenance`: when Amazon may interrupt which side, and the way out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from mwaactl import maintenance
from mwaactl.canary.away import Away
from mwaactl.canary.progressive import Canary, progress
from mwaactl.canary.soak import Soak
from mwaactl.deployment import Deployment
from mwaactl.ownership.reading import newest_owner
from mwaactl.switching.write import carry_out
from tests.fakes.airflow.working import Does, working_clients
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment, standing
from tests.fakes.mwaactl.commands import Command, commands, output
from tests.fakes.mwaactl.switches import planned, switched

DAYS = maintenance.DAYS


def window(aws: FakeClients, name: str, after: timedelta) -> datetime:
    """Give an environment a window that begins so long after now, on a half hour."""
    at = aws.ssm.clock.now + after
    at = at.replace(minute=at.minute // 30 * 30, second=0, microsecond=0)
    aws.mwaa.environments[name]["WeeklyMaintenanceWindowStart"] = f"{DAYS[at.weekday()]}:{at:%H:%M}"
    return at


@pytest.fixture
def windows(aws: FakeClients) -> tuple[datetime, datetime]:
    return window(aws, BLUE, timedelta(hours=5)), window(aws, GREEN, timedelta(days=3))


def test_the_next_window_of_each_side_and_who_owns_the_work(
    run: Command, windows: tuple[datetime, datetime]
) -> None:
    shown = output(run("maintenance", "--json"))["windows"]
    assert {c: datetime.fromisoformat(w["begins"]) for c, w in shown.items()} == dict(
        zip(("blue", "green"), windows, strict=True)
    )
    assert {c: w["owner"] for c, w in shown.items()} == {"blue": True, "green": False}
    said = run("maintenance").stdout
    assert "owns the work" in said
    assert "overlap" not in said


def test_the_work_moves_out_of_a_near_window_and_the_history_says_why(
    run: Command, aws: FakeClients, windows: tuple[datetime, datetime]
) -> None:
    result = run("maintenance", "--move-within", "6h", "--yes")
    assert result.exit_code == 0, result.output
    aws.ssm.clock.forward(60)
    assert run("active").stdout == "green\n"
    assert "maintenance window of blue" in run("history").stdout
    [before] = {len(versions) for name, versions in aws.ssm.stored.items() if name.endswith("ownership")}
    assert run("maintenance", "--move-within", "6h", "--yes").exit_code == 0  # green's is far away
    [after] = {len(versions) for name, versions in aws.ssm.stored.items() if name.endswith("ownership")}
    assert after == before


@pytest.mark.usefixtures("windows")
def test_what_a_switch_has_left_moves_as_well(run: Command, aws: FakeClients) -> None:
    """Nobody waited for the drain: blue is the owner no longer, and its books are open."""
    switched(aws, "green")
    aws.ssm.clock.forward(60)
    assert standing(aws).drains("blue")
    assert run("maintenance", "--move-within", "6h", "--yes").exit_code == 0
    assert not standing(aws).drains("blue")


def test_a_dag_that_was_moved_alone_leaves_too(run: Command, aws: FakeClients) -> None:
    window(aws, BLUE, timedelta(days=3))
    window(aws, GREEN, timedelta(hours=2))
    switched(aws, "green", "daily")
    aws.ssm.clock.forward(60)
    assert run("maintenance", "--move-within", "3h", "--yes").exit_code == 0
    assert newest_owner(standing(aws), "daily") == "blue"


@pytest.mark.usefixtures("windows")
def test_a_window_that_is_far_away_moves_nothing(run: Command, aws: FakeClients) -> None:
    assert run("maintenance", "--move-within", "90m", "--yes").exit_code == 0
    assert run("active").stdout == "blue\n"


def test_an_open_window_is_near(run: Command, aws: FakeClients) -> None:
    window(aws, BLUE, -timedelta(hours=1))
    window(aws, GREEN, timedelta(days=3))
    assert "open until" in run("maintenance").stdout
    assert run("maintenance", "--move-within", "30m", "--yes").exit_code == 0
    aws.ssm.clock.forward(60)
    assert run("active").stdout == "green\n"


def test_two_windows_at_once_are_said_and_nothing_moves(run: Command, aws: FakeClients) -> None:
    for name in (BLUE, GREEN):
        window(aws, name, timedelta(hours=1))
    assert "overlap" in run("maintenance").stdout
    result = run("maintenance", "--move-within", "2h", "--yes")
    assert (result.exit_code, "maintenance_window" in result.stderr) == (1, True)
    assert run("active").stdout == "blue\n"


def test_what_cannot_be_is_a_usage_error(
    run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch, windows: tuple[datetime, datetime]
) -> None:
    assert run("maintenance", "--move-within", "soon").exit_code == 2
    blue = deployment(aws).stack.airflow_environments["blue"].model_dump()
    alone = deployment(aws, "fullha", airflow_environments={"blue": blue})
    monkeypatch.setattr(Deployment, "open", lambda *_: alone)
    result = run("maintenance", "--move-within", "6h")
    assert (result.exit_code, "enable_blue_green" in result.stderr) == (2, True)
    assert run("maintenance").exit_code == 0


@pytest.mark.parametrize("reported", [None, "", "SUNDAY"])
def test_an_environment_without_a_window_is_said(
    run: Command, aws: FakeClients, windows: tuple[datetime, datetime], reported: str | None
) -> None:
    green = aws.mwaa.environments[GREEN]
    green |= {"WeeklyMaintenanceWindowStart": reported, "Status": "CREATING"}
    if reported is None:
        del green["WeeklyMaintenanceWindowStart"]
    result = run("maintenance", "--json")
    assert result.exit_code == 6
    error = output(result)["error"]
    assert f"no maintenance window of {GREEN}, which is CREATING" in error
    assert "pulumi config set --path green.maintenance_window DAY:HH:MM -s fullha" in error


def test_no_window_is_looked_for_beyond_the_calendar(
    run: Command, windows: tuple[datetime, datetime]
) -> None:
    result = run("maintenance", "--move-within", "999999999d", "--yes")
    assert (result.exit_code, "at most 3650d" in result.stderr) == (2, True)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(DAYS),
    st.integers(0, 23),
    st.sampled_from((0, 30)),
)
def test_the_next_window_begins_then_and_is_not_over(now: datetime, day: str, hour: int, minute: int) -> None:
    begins = maintenance._next(f"{day}:{hour:02}:{minute:02}", now)
    assert (DAYS[begins.weekday()], begins.hour, begins.minute) == (day, hour, minute)
    assert now < begins + maintenance.LENGTH <= now + maintenance.WEEK


def test_a_window_of_the_other_side_that_is_over_before_is_waited_for(run: Command, aws: FakeClients) -> None:
    """The time given is longer than from one window to the next."""
    window(aws, BLUE, timedelta(days=3))
    window(aws, GREEN, timedelta(hours=2))
    assert run("maintenance", "--move-within", "4d", "--yes").exit_code == 0
    assert run("active").stdout == "blue\n"
    aws.ssm.clock.forward(5 * 3600)
    assert run("maintenance", "--move-within", "4d", "--yes").exit_code == 0
    aws.ssm.clock.forward(60)
    assert run("active").stdout == "green\n"


def test_a_window_of_the_other_side_that_leaves_no_time_is_said(run: Command, aws: FakeClients) -> None:
    window(aws, BLUE, timedelta(hours=4))
    window(aws, GREEN, timedelta(hours=2))
    assert run("maintenance", "--move-within", "5h", "--yes").exit_code == 1


def moves_within_6h(run: Command, aws: FakeClients) -> Result:
    window(aws, BLUE, timedelta(hours=5))
    window(aws, GREEN, timedelta(days=3))
    return run("maintenance", "--move-within", "6h", "--yes")


def serial(aws: FakeClients, dag: str) -> None:
    for model in aws.mwaa.models.values():
        model.dags[dag].max_active_runs = 1


@pytest.mark.parametrize("update", [("CreatedAt",), ("LastUpdate", "CreatedAt")])
@pytest.mark.parametrize("at_work", [False, True])
def test_a_side_whose_first_dags_did_badly_gets_nothing_until_it_is_updated(
    monkeypatch: pytest.MonkeyPatch, update: tuple[str, ...], at_work: bool
) -> None:
    """Also if they moved later than all others, since they were at work."""
    first: list[datetime] = []

    def does(colour: str, dag: str, due: datetime) -> Does:
        if (colour, dag) != ("green", "w_1"):
            return Does()
        first.append(due)
        return Does(takes=200 if due == first[0] else 30) if at_work else Does("failed")

    aws = working_clients(monkeypatch, 2, does)
    if at_work:
        serial(aws, "w_1")
    run = commands(monkeypatch, aws)
    canary = ("switch", "green", "--yes", "--canary", "w_1", "--soak", "30m", "--reason", "new data")
    assert run(*canary).exit_code == 1
    refused = moves_within_6h(run, aws)
    assert (refused.exit_code, "did badly on green" in refused.stderr) == (1, True)
    assert "mwaactl switch green --wait -s fullha" in refused.stderr
    assert run("active").stdout == "blue\n"
    found: Any = aws.mwaa.environments[GREEN]
    found |= {update[0]: aws.ssm.clock.now if len(update) == 1 else {update[1]: aws.ssm.clock.now}}
    aws.ssm.clock.forward(3600)
    assert moves_within_6h(run, aws).exit_code == 0
    assert newest_owner(standing(aws)) == "green"


@pytest.mark.parametrize("at_work", [False, True])
def test_what_is_watched_is_not_followed(monkeypatch: pytest.MonkeyPatch, at_work: bool) -> None:
    aws = working_clients(monkeypatch, 3, lambda colour, dag, due: Does(takes=95 if dag == "w_1" else 30))
    carry_out(planned(aws, "green", "w_2"), reason="it is well there: canary")
    if at_work:
        serial(aws, "w_1")
    aws.ssm.clock.forward(30)
    run = commands(monkeypatch, aws)

    def interrupt(_soak: Soak, _left: timedelta) -> None:
        if newest_owner(standing(aws), "w_1") == "green":
            raise KeyboardInterrupt

    with pytest.raises(Away):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=timedelta(hours=1)), on_look=interrupt)
    refused = moves_within_6h(run, aws)
    assert (refused.exit_code, "nothing was moved: w_1 went first to green" in refused.stderr) == (1, True)
    assert "mwaactl switch blue --wait -s fullha --dag w_1" in refused.stderr
    assert newest_owner(standing(aws)) == "blue"

    assert run("switch", "blue", "--wait", "--yes", "--dag", "w_1").exit_code == 0
    assert moves_within_6h(run, aws).exit_code == 0, "w_2 is there on purpose"
    assert newest_owner(standing(aws)) == "green"
