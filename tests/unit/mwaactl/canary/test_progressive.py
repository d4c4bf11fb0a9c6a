"""`mwaactl switch --canary`: some DAGs first, and back if they do badly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from bluegreen.proof import PROBE

from mwaactl import clock
from mwaactl.canary.away import Away
from mwaactl.canary.progressive import Canary, progress
from mwaactl.canary.soak import Soak
from mwaactl.cli.times import duration
from mwaactl.errors import CheckFailed, LostRace, Unfinished, UsageError
from mwaactl.ownership.reading import newest_owner
from mwaactl.switching.write import carry_out
from tests.fakes.airflow.probed import side
from tests.fakes.airflow.working import Does, WorkingModel, working_clients
from tests.fakes.aws.clients import FakeClients, deployment, standing
from tests.fakes.mwaactl.commands import commands, output
from tests.fakes.mwaactl.switches import switched

HALF_AN_HOUR = timedelta(minutes=30)
Behaviour = Callable[[str, str, datetime], Does]


def well(colour: str, dag: str, due: datetime) -> Does:
    return Does()


def fails(colour: str, dag: str, due: datetime) -> Does:
    return Does("failed" if (colour, dag) == ("green", "w_1") else "success")


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Callable[[Behaviour], FakeClients]:
    return lambda does: working_clients(monkeypatch, 4, does)


def owners(aws: FakeClients) -> str:
    """Who owns w_0 ... w_3 and the rest, by the first letter."""
    timeline = standing(aws)
    return "".join(str(newest_owner(timeline, dag))[0] for dag in ("w_0", "w_1", "w_2", "w_3", None))


def test_they_move_first_and_stay_and_the_rest_follows(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients]
) -> None:
    aws = clients(well)
    run = commands(monkeypatch, aws)
    begun = aws.ssm.clock.now
    result = run("switch", "green", "--yes", "--canary", "w_1", "--soak", "30m", "--json")
    assert result.exit_code == 0, result.output
    [step] = output(result)["canary"]
    assert (step["dags"], step["soak"]["dags"][0]["result"]) == (["w_1"], "good")
    assert step["soak"]["dags"][0]["runs"] >= 14
    assert aws.ssm.clock.now - begun >= HALF_AN_HOUR
    assert owners(aws) == "ggggg"


def test_one_that_fails_there_goes_back_by_itself_and_no_other_moves(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients]
) -> None:
    aws = clients(fails)
    run = commands(monkeypatch, aws)
    begun = aws.ssm.clock.now
    result = run("switch", "green", "--yes", "--canary", "w_0", "--canary", "w_1", "--soak", "30m")
    assert result.exit_code == 1
    assert "w_1: 1 of 1 runs failed, 0 of" in result.stderr
    assert "Given back to blue" in result.stderr
    assert aws.ssm.clock.now - begun < timedelta(minutes=10)  # at once, not after the soak
    assert owners(aws) == "bbbbb"
    assert not standing(aws).drains("green")
    assert "w_1" in run("history").stdout


def test_by_percent_in_steps_those_that_are_due_next(clients: Callable[[Behaviour], FakeClients]) -> None:
    aws = clients(well)
    seen: list[tuple[str, ...]] = []
    steps = progress(
        deployment(aws),
        "green",
        Canary(percents=(25, 50), soak=timedelta(minutes=6)),
        on_look=lambda soak, _: seen.append(tuple(dag.dag_id for dag in soak.dags)),
    )
    # of six DAGs; the probe is none of them
    assert [len(step.dags) for step in steps] == [2, 3]
    assert set(steps[0].dags) < set(steps[1].dags)
    assert {len(each) for each in seen} == {2, 3}
    assert owners(aws)[-1] == "b"


def test_by_percent_dags_that_depend_on_each_other_move_together(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    """A move that divided them would be refused by the check cross-dag."""
    aws = clients(well)
    for model in aws.mwaa.models.values():
        model.assets = [("w_3", "w_2"), ("w_1", "w_3")]
    canary = Canary(percents=(10, 90), soak=timedelta(minutes=6))
    first, most = progress(deployment(aws), "green", canary)
    assert set(first.dags) == {"w_1", "w_2", "w_3"}
    assert {"w_0", "w_1", "w_2", "w_3"} <= set(most.dags)


def test_by_percent_an_interrupted_command_goes_on_with_those_that_have_moved(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    aws = clients(well)
    switched(aws, "green", "w_3")
    aws.ssm.clock.forward(60)
    [step] = progress(deployment(aws), "green", Canary(percents=(10,), soak=timedelta(minutes=6)))
    assert step.dags == ("w_3",)


def test_by_percent_all_that_an_earlier_command_moved_is_watched_and_given_back(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    """More than ten percent, and one that has been paused since."""
    aws = clients(fails)
    switched(aws, "green", "w_0", "w_1", "w_3")
    aws.ssm.clock.forward(60)
    for model in aws.mwaa.models.values():
        model.dags["w_3"].paused = True
    with pytest.raises(CheckFailed, match=r"(?s)Given back to blue: w_0, w_1, w_3\. No other DAG has moved"):
        progress(deployment(aws), "green", Canary(percents=(10,), soak=HALF_AN_HOUR))
    assert owners(aws) == "bbbbb"


def test_by_percent_the_probe_of_a_rehearsal_is_left_alone(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    aws = clients(well)
    switched(aws, "green", PROBE)
    [step] = progress(deployment(aws), "green", Canary(percents=(10,), soak=timedelta(minutes=6)))
    assert PROBE not in step.dags


def test_where_the_rest_is_already_nothing_goes_first(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients]
) -> None:
    """Of a switch that was interrupted, a DAG that was held may be left: it would be torn from the rest."""
    aws = clients(fails)
    switched(aws, "green")
    aws.ssm.clock.forward(60)
    switched(aws, "blue", "w_1", force=["gate"])
    aws.ssm.clock.forward(60)
    begun = aws.ssm.clock.now
    result = commands(monkeypatch, aws)("switch", "green", "--yes", "--canary-percent", "50")
    assert result.exit_code == 0, result.output
    assert owners(aws) == "ggggg"
    assert aws.ssm.clock.now - begun < timedelta(minutes=5)


@pytest.mark.parametrize("hold", [(), ("w_1",)])
def test_one_that_is_at_work_and_must_not_overlap_itself_is_not_said_to_be_back(
    clients: Callable[[Behaviour], FakeClients], hold: tuple[str, ...]
) -> None:
    aws = clients(lambda colour, dag, due: Does(takes=30 if (colour, dag) != ("green", "w_1") else 10**4))
    if not hold:
        for model in aws.mwaa.models.values():
            model.dags["w_1"].max_active_runs = 1
    canary = Canary(dags=("w_0", "w_1"), soak=HALF_AN_HOUR, hold=hold)
    with pytest.raises(
        Unfinished, match="at work on green after 600 s, so not given back: w_1; given back to blue: w_0"
    ):
        progress(deployment(aws), "green", canary)
    assert owners(aws) == "bgbbb"


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (lambda c, d, due: Does(takes=30 if c == "blue" else 100), "took (9|10)"),
        (lambda c, d, due: Does(late=2 if c == "blue" else 130), "began late by 12[3-9] s"),
        (lambda c, d, due: Does(tries=1 if c == "blue" else 2), "needed a retry"),
    ],
)
def test_slower_later_or_with_retries_is_bad(
    clients: Callable[[Behaviour], FakeClients], does: Behaviour, reason: str
) -> None:
    aws = clients(does)
    with pytest.raises(CheckFailed, match=reason):
        progress(deployment(aws), "green", Canary(dags=("w_2",), soak=HALF_AN_HOUR))
    assert owners(aws) == "bbbbb"


def test_the_history_is_that_of_the_time_before_however_long_the_watch_is(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    """Every second run failed on blue as well; meanwhile blue's newest runs are mirrors."""

    def every_second(colour: str, dag: str, due: datetime) -> Does:
        return Does("failed" if due.minute % 4 == 0 else "success")

    aws = clients(every_second)
    aws.ssm.clock.forward(3600)
    seen: list[int] = []
    progress(
        deployment(aws),
        "green",
        Canary(dags=("w_1",), soak=timedelta(hours=2)),
        on_look=lambda soak, _: seen.append(soak.dags[0].history),
    )
    assert set(seen) == {20}


def test_runs_that_stay_queued_are_bad_also_beside_a_dag_that_does_well(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    never = Does(late=10**7)
    aws = clients(lambda colour, dag, due: never if (colour, dag) == ("green", "w_1") else Does())
    # Given back; what is queued there is still green's, so it has not drained.
    with pytest.raises(Unfinished, match=r"w_1: a run that is due has not begun for 1[2-9]\d s.*Given back"):
        progress(deployment(aws), "green", Canary(dags=("w_0", "w_1"), soak=HALF_AN_HOUR))
    assert owners(aws) == "bbbbb"


def create_no_more(aws: FakeClients, dag: str) -> None:
    work = side(aws, "green")
    assert isinstance(work, WorkingModel)
    work.uncreated.add(dag)


def test_runs_that_are_not_created_any_more_are_bad(clients: Callable[[Behaviour], FakeClients]) -> None:
    aws = clients(well)

    def stops(soak: Soak, _left: timedelta) -> None:
        if soak.dags and soak.dags[0].runs == 2:
            create_no_more(aws, "w_1")

    with pytest.raises(Unfinished, match=r"w_1: a run that is due has not begun for.*Given back"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR), on_look=stops)


@pytest.mark.parametrize(("most", "why"), [(2, "none of them has ended a run"), (3, "has not begun for")])
def test_what_is_at_work_may_keep_the_next_run_from_being_created(
    clients: Callable[[Behaviour], FakeClients], most: int, why: str
) -> None:
    aws = clients(lambda colour, dag, due: Does(takes=10**4))
    for model in aws.mwaa.models.values():
        model.dags["w_1"].max_active_runs = most

    def stops(soak: Soak, _left: timedelta) -> None:
        if soak.dags and soak.dags[0].runs == 2:
            create_no_more(aws, "w_1")

    canary = Canary(dags=("w_1",), soak=timedelta(minutes=12))
    with pytest.raises((CheckFailed, Unfinished), match=why):
        progress(deployment(aws), "green", canary, on_look=stops)


def test_a_dag_that_is_gone_on_the_target_is_bad(clients: Callable[[Behaviour], FakeClients]) -> None:
    aws = clients(well)

    def goes(soak: Soak, _left: timedelta) -> None:
        if soak.dags and soak.dags[0].runs == 2:
            side(aws, "green").dags.pop("w_1", None)

    with pytest.raises((CheckFailed, Unfinished), match="it has no DAG w_1 any more"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR), on_look=goes)


def test_a_watch_that_goes_on_after_hours_has_the_history_of_before(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    """Blue's newest hundred runs are mirrors by then."""
    aws = clients(lambda colour, dag, due: Does("failed" if due.minute % 8 == 0 else "success"))
    aws.ssm.clock.forward(3600)
    switched(aws, "green", "w_1")
    aws.ssm.clock.forward(5 * 3600)
    canary = Canary(dags=("w_1",), soak=timedelta(hours=5, minutes=2))
    [step] = progress(deployment(aws), "green", canary)
    assert step.soak is not None
    [verdict] = step.soak.dags
    assert (verdict.result, verdict.history) == ("good", 20)
    assert verdict.runs > 140


def test_nothing_seen_is_no_success(clients: Callable[[Behaviour], FakeClients]) -> None:
    aws = clients(well)
    with pytest.raises(CheckFailed, match="none of them has ended a run"):
        progress(deployment(aws), "green", Canary(dags=("daily",), soak=timedelta(minutes=5)))
    assert newest_owner(standing(aws), "daily") == "blue"


def test_a_dag_that_is_paused_is_not_watched_in_vain(clients: Callable[[Behaviour], FakeClients]) -> None:
    aws = clients(well)
    for colour in ("blue", "green"):
        side(aws, colour).dags["w_1"].paused = True
    with pytest.raises(UsageError, match=r"--canary: paused on blue, .*: w_1\. Unpause"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR))
    assert owners(aws) == "bbbbb"
    progress(deployment(aws), "green", Canary(dags=("w_1", "w_2"), soak=HALF_AN_HOUR))
    assert owners(aws) == "bggbb"


def test_a_gate_that_fails_on_the_target_is_bad_in_the_second_look(
    clients: Callable[[Behaviour], FakeClients],
) -> None:
    aws = clients(well)
    looks: list[Any] = []

    def on_look(soak: Any, _left: timedelta) -> None:
        looks.append(soak.problems)
        aws.mwaa.environments["mwaa-openlineage-fullha-green"]["Status"] = "UPDATING"

    with pytest.raises((CheckFailed, Unfinished), match="is UPDATING"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR), on_look=on_look)
    assert [bool(each) for each in looks] == [False, True, True]
    assert owners(aws) == "bbbbb"


def test_a_home_that_is_updated_meanwhile_gets_them_back_all_the_same(
    clients: Callable[[Behaviour], FakeClients], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = clients(fails)

    def while_it_updates(planned: Any, **options: Any) -> Any:
        aws.mwaa.environments["mwaa-openlineage-fullha-blue"]["Status"] = "UPDATING"
        return carry_out(planned, **options)

    monkeypatch.setattr("mwaactl.switching.bring_back.carry_out", while_it_updates)
    with pytest.raises(CheckFailed, match="Given back to blue: w_1"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR))


def test_what_a_target_that_dies_had_at_work_is_not_said_to_be_back(
    clients: Callable[[Behaviour], FakeClients], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = clients(lambda colour, dag, due: Does(takes=30 if (colour, dag) != ("green", "w_1") else 10**4))
    for model in aws.mwaa.models.values():
        model.dags["w_1"].max_active_runs = 1

    def and_dies(planned: Any, **options: Any) -> Any:
        result = carry_out(planned, **options)
        side(aws, "green").silence()
        return result

    monkeypatch.setattr("mwaactl.switching.bring_back.carry_out", and_dies)
    with pytest.raises(Unfinished, match="so not given back: w_1; given back to blue: w_0"):
        progress(deployment(aws), "green", Canary(dags=("w_0", "w_1"), soak=HALF_AN_HOUR))
    assert owners(aws) == "bgbbb"


def test_a_failed_check_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients]
) -> None:
    aws = clients(well)
    aws.mwaa.environments["mwaa-openlineage-fullha-green"]["Status"] = "UPDATING"
    result = commands(monkeypatch, aws)("switch", "green", "--yes", "--canary", "w_1")
    assert result.exit_code == 1
    assert owners(aws) == "bbbbb"


def test_interrupted_it_goes_on_from_where_the_watch_was(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients]
) -> None:
    aws = clients(well)
    canary = Canary(dags=("w_1",), soak=HALF_AN_HOUR)

    def interrupt(soak: Any, left: timedelta) -> None:
        if left < timedelta(minutes=20):
            raise KeyboardInterrupt

    with pytest.raises(
        Unfinished,
        match=r"interrupted. Now on green, and not watched: w_1\..*switch blue --wait -s fullha --dag w_1",
    ):
        progress(deployment(aws), "green", canary, on_look=interrupt)
    assert owners(aws) == "bgbbb"
    begun = aws.ssm.clock.now
    progress(deployment(aws), "green", canary)
    assert timedelta(minutes=15) < aws.ssm.clock.now - begun < timedelta(minutes=22)


def test_another_operators_decision_stands(clients: Callable[[Behaviour], FakeClients]) -> None:
    aws = clients(well)

    def other(soak: Any, left: timedelta) -> None:
        if newest_owner(standing(aws), "w_1") == "green":
            switched(aws, "blue", "w_1", force=["gate"])

    with pytest.raises(LostRace, match="another operator has moved w_1"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR), on_look=other)
    assert owners(aws) == "bbbbb"


def test_another_operators_switch_of_all_stands_too(clients: Callable[[Behaviour], FakeClients]) -> None:
    """Also if the DAG then does badly: it is not torn from the rest."""
    aws = clients(fails)

    def other(soak: Any, left: timedelta) -> None:
        if newest_owner(standing(aws)) == "blue":
            switched(aws, "green", force=["gate"])

    with pytest.raises(LostRace, match=r"another operator has (switched|moved all work)"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR), on_look=other)
    assert owners(aws) == "ggggg"


def test_a_target_that_dies_is_left(clients: Callable[[Behaviour], FakeClients]) -> None:
    aws = clients(well)

    def dies(soak: Any, left: timedelta) -> None:
        side(aws, "green").silence()

    with pytest.raises((CheckFailed, Unfinished), match=r"(?s)mwaactl failover blue -s fullha"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR), on_look=dies)


def test_a_long_run_on_the_old_side_delays_no_look(clients: Callable[[Behaviour], FakeClients]) -> None:
    """Its drain takes longer than the soak."""

    def slow_before(colour: str, dag: str, due: datetime) -> Does:
        return Does(takes=7200) if colour == "blue" else fails(colour, dag, due)

    aws = clients(slow_before)
    begun = aws.ssm.clock.now
    with pytest.raises((CheckFailed, Unfinished), match="w_1: 1 of 1 runs failed"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR))
    assert aws.ssm.clock.now - begun < timedelta(minutes=20)  # of which ten for the drain of what came back


@pytest.mark.parametrize("hold", [(), ("w_1",)])
def test_a_dag_to_hold_moves_once_it_is_idle(
    clients: Callable[[Behaviour], FakeClients], hold: tuple[str, ...]
) -> None:
    aws = clients(lambda colour, dag, due: Does(takes=100))
    aws.ssm.clock.forward(20)
    work = side(aws, "blue")
    work.advance()
    [busy] = [run for run in work.runs if run.dag_id == "w_1" and run.state == "running"]
    progress(deployment(aws), "green", Canary(dags=("w_1",), soak=timedelta(minutes=10), hold=hold))
    since = standing(aws).dags["w_1"][-1].since
    assert busy.end is not None
    assert (since >= busy.end) == bool(hold)


def test_interrupted_in_the_move_the_way_back_is_told(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients]
) -> None:
    aws = clients(well)

    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("mwaactl.canary.progressive.carry_out", interrupt)
    with pytest.raises(Away, match=r"perhaps on green.*mwaactl switch blue --wait -s fullha --dag w_1"):
        progress(deployment(aws), "green", Canary(dags=("w_1",), soak=HALF_AN_HOUR))


def test_a_dry_run_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients]
) -> None:
    aws = clients(well)
    assert commands(monkeypatch, aws)("switch", "green", "--dry-run", "--canary", "w_1").exit_code == 0
    assert owners(aws) == "bbbbb"


@pytest.mark.parametrize(
    "options",
    [
        ("--canary", "a", "--canary-percent", "10"),
        ("--canary-percent", "50,10"),
        ("--canary-percent", "100"),
        ("--canary-percent", "ten"),
        ("--canary-percent", ""),
        ("--canary", "a", "--dag", "b"),
        ("--canary", "a", "--soak", "soon"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, clients: Callable[[Behaviour], FakeClients], options: tuple[str, ...]
) -> None:
    aws = clients(well)
    assert commands(monkeypatch, aws)("switch", "green", "--yes", *options).exit_code == 2
    assert owners(aws) == "bbbbb"


def test_the_two_ways_to_choose_exclude_each_other() -> None:
    with pytest.raises(UsageError):
        Canary(dags=("a",), percents=(10,), soak=HALF_AN_HOUR)
    assert clock.now().tzinfo


@pytest.mark.parametrize("typed", ["0.5s", "90m", "14d", "3650d"])
def test_the_soak_of_a_command_to_repeat_can_be_typed(typed: str) -> None:
    soak = duration(typed, "--soak")
    *_, again = Canary(dags=("a",), soak=soak).options
    assert duration(again, "--soak") == soak
