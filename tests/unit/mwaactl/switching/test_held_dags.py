"""DAGs that must not overlap themselves change sides only while they are idle."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from bluegreen.timeline import Colour
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run
from mwaactl.airflow.rest import NotFound, Refused
from mwaactl.errors import CheckFailed, ControlError, UsageError
from mwaactl.json_model import iso
from mwaactl.switching.drain import wait_until_drained
from mwaactl.switching.held_dags import Watch
from mwaactl.switching.plan import plan_rollback
from mwaactl.switching.write import SwitchResult, carry_out, dry_run
from tests.fakes.airflow.api import api_of
from tests.fakes.airflow.schedule import NAMES, ScheduledAirflows, Work, run_answer
from tests.fakes.aws.clients import LEAD, FakeClients, deployment, fresh_clients, standing
from tests.fakes.aws.errors import Killed
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP
from tests.fakes.clock import START, at, stop_time
from tests.fakes.mwaactl.switches import check_of, planned, switched

BLUE, GREEN = NAMES["blue"], NAMES["green"]


def held(done: SwitchResult) -> dict[str, str]:
    return {one.dag_id: one.reason for one in done.held}


def test_a_serial_dag_with_an_unfinished_run_stays_and_the_others_move(aws: FakeClients) -> None:
    ScheduledAirflows(
        aws, {"daily": Work(3600, 60), "plain": Work(3600, 60, alone=False), "idle": Work(3600, 1)}
    )
    aws.ssm.clock.forward(30)
    made = planned(aws)
    assert check_of(made, "serial-dags") == ("pass", "busy on blue, will move once idle: daily")
    done = carry_out(made)
    assert held(done) == {"daily": "scheduled__10:00:00 is unfinished"}
    timeline = standing(aws)
    assert done.owns_from == at(35)
    owners = {dag: timeline.owner(at(35), dag) for dag in ("daily", "plain", "idle")}
    assert owners == {"daily": "blue", "plain": "green", "idle": "green"}
    assert [entry.version for entry in timeline.dags["daily"]] == [2], "in the same version"
    assert aws.ssm.values(ACTIVE)[-1] == "green"


def test_a_serial_dag_that_is_due_before_the_target_owns_stays(aws: FakeClients) -> None:
    works = {
        "before": Work(3600, 1, first=4),
        "just": Work(3600, 1, first=9.5),
        "after": Work(3600, 1, first=10),
    }
    ScheduledAirflows(aws, works)
    assert held(switched(aws)) == {
        "before": "its next run is due 2026-11-23T10:00:04.000Z",
        "just": "its next run is due 2026-11-23T10:00:09.500Z",
    }


def test_a_write_that_takes_as_long_as_an_answered_one_can_makes_no_overlap(aws: FakeClients) -> None:
    airflows = ScheduledAirflows(aws, {"etl": Work(20, 24, first=8)})
    aws.ssm.puts = ["slow"]
    switched(aws)
    aws.ssm.clock.forward(100)
    assert airflows.overlaps() == []


def test_a_run_of_any_type_holds_a_serial_dag_back(aws: FakeClients) -> None:
    manual = run_answer("etl", "manual__1", at(-60), "manual", side="blue")
    ScheduledAirflows(aws, {"etl": Work(3600, 0, others=[manual, {**manual, "dag_run_id": "manual__2"}])})
    aws.ssm.clock.forward(1)
    assert held(switched(aws)) == {"etl": "manual__1 and 1 more are unfinished"}


def test_a_paused_serial_dag_moves_unless_a_run_is_frozen_in_it_or_still_to_be_created(
    aws: FakeClients,
) -> None:
    frozen = run_answer("frozen", "manual__1", at(-60), "manual", side="blue")
    works = {
        "off": Work(60, 1, first=60, paused=True),
        "frozen": Work(60, 1, paused=True, others=[frozen]),
        "behind": Work(60, 1, paused=True),
        "wide": Work(60, 1, paused=True, alone=False),
    }
    ScheduledAirflows(aws, works)
    assert held(switched(aws)) == {
        "frozen": "manual__1 is unfinished, and the DAG is paused",
        "behind": f"it is paused, and its runs since {iso(at(0))} are still to be created",
    }


def test_tasks_are_asked_once_of_each_dag_that_may_run_and_before_the_question(aws: FakeClients) -> None:
    works = {
        "past": Work(3600, 60, alone=False, past=True),
        "late": Work(3600, 1, first=400, alone=False, past=True),
        "off": Work(3600, 1, first=400, paused=True),
    }
    ScheduledAirflows(aws, works)
    made = planned(aws)
    asked = [one["Path"] for one in aws.mwaa.asked if one["Path"].endswith("/tasks")]
    assert sorted(asked) == ["/dags/late/tasks", "/dags/past/tasks"]
    aws.mwaa.asked.clear()
    assert set(held(carry_out(made))) == {"past"}
    assert len(aws.mwaa.asked) == 3, "the DAGs, their unfinished runs, and what has failed"


def test_what_became_busy_while_the_operator_thought_is_seen(aws: FakeClients) -> None:
    ScheduledAirflows(
        aws, {"daily": Work(3600, 60, first=300), "past": Work(3600, 60, first=300, alone=False, past=True)}
    )
    made = planned(aws)
    aws.ssm.clock.forward(310)
    assert set(held(carry_out(made))) == {"daily", "past"}


def test_the_same_command_moves_what_is_idle_now_and_decides_nothing_else(aws: FakeClients) -> None:
    works = {"a": Work(3600, 60), "b": Work(3600, 60), "slow": Work(3600, 900)}
    ScheduledAirflows(aws, works)
    assert set(held(switched(aws))) == {"a", "b", "slow"}
    aws.ssm.clock.forward(30)
    again = switched(aws)
    assert (again.changed, again.moved, set(held(again)), again.version) == (False, (), {"a", "b", "slow"}, 2)
    assert len(aws.ssm.values()) == 2
    aws.ssm.clock.forward(60)
    again = switched(aws)
    assert (again.changed, again.moved, set(held(again))) == (True, ("a", "b"), {"slow"})
    assert again.owns_from == aws.ssm.clock.now + timedelta(seconds=LEAD)
    timeline = standing(aws)
    assert [entry.version for entry in timeline.owners] == [1, 2], "no other decision about all"
    assert {timeline.dags[dag][-1].version for dag in ("a", "b")} == {3}
    assert aws.ssm.stored[OWNERSHIP][-1]["Description"] == "mwaactl switch green, only a, b"
    aws.ssm.clock.forward(900)
    assert switched(aws).moved == ("slow",)
    assert not switched(aws).changed


def test_a_held_dag_does_not_go_ahead_of_a_switch_that_is_planned_for_later(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"a": Work(3600, 60)})
    switched(aws, lead=600)
    aws.ssm.clock.forward(120)
    assert switched(aws).moved == ("a",)
    assert standing(aws).owner(at(599), "a") == "blue"
    assert standing(aws).owner(at(600), "a") == "green"


def test_a_named_serial_dag_that_is_busy_stays_and_the_others_move(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"busy": Work(3600, 60), "idle": Work(3600, 60, first=900)})
    done = switched(aws, "green", "busy", "idle")
    assert (done.changed, done.moved, set(held(done))) == (True, ("idle",), {"busy"})
    assert set(standing(aws).dags) == {"idle"}
    again = switched(aws, "green", "busy", "idle")
    assert (again.changed, set(held(again)), again.owns_from) == (False, {"busy"}, done.owns_from)
    aws.ssm.clock.forward(90)
    assert switched(aws, "green", "busy", "idle").moved == ("busy",)


def test_a_rollback_finds_a_held_dag_where_it_belongs_and_holds_what_runs_on_the_other_side(
    aws: FakeClients,
) -> None:
    airflows = ScheduledAirflows(aws, {"slow": Work(3600, 600), "quick": Work(60, 20, first=30)})
    assert set(held(switched(aws))) == {"slow"}
    aws.ssm.clock.forward(35)  # green executes quick
    done = carry_out(plan_rollback(deployment(aws)))
    assert set(held(done)) == {"quick"}
    aws.ssm.clock.forward(20)
    assert standing(aws).owner(aws.ssm.clock.now, "slow") == "blue"
    assert standing(aws).owner(aws.ssm.clock.now, "quick") == "green"
    assert switched(aws, "blue").moved == ("quick",)
    aws.ssm.clock.forward(60)
    assert {run.side for run in airflows.executed("slow")} == {"blue"}
    assert airflows.overlaps() == []


def test_a_source_that_falls_silent_after_the_checks_stops_the_write(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"daily": Work(3600, 60)})
    made = planned(aws)
    aws.mwaa.silence(BLUE)
    with pytest.raises(CheckFailed, match=r"no longer reports which DAGs are busy.*--force serial-dags"):
        carry_out(made)
    assert len(aws.ssm.values()) == 1


def test_forcing_moves_a_dag_that_is_never_idle_and_is_recorded(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"endless": Work(60, 60)})
    assert switched(aws, force=["serial-dags"]).held == ()
    assert aws.ssm.stored[OWNERSHIP][-1]["Description"] == "mwaactl switch green [forced: serial-dags]"


def test_a_dry_run_names_what_would_be_held_and_writes_nothing(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {"daily": Work(3600, 60)})
    seen = dry_run(planned(aws))
    assert (seen.changed, set(held(seen))) == (True, {"daily"})
    assert len(aws.ssm.values()) == 1


def test_every_dag_of_a_large_shop_may_be_busy_at_the_switch(aws: FakeClients) -> None:
    names = [f"a_dag_with_a_rather_long_name_{number}" for number in range(1000)]
    ScheduledAirflows(aws, {name: Work(3600, 60) for name in names})
    assert len(switched(aws).held) == 1000
    assert len(aws.ssm.values()[-1]) < 300, "what is decided stands in an object"
    assert {standing(aws).newest(name).owner for name in names} == {"blue"}


def test_names_that_no_dag_can_have_are_refused(aws: FakeClients) -> None:
    with pytest.raises(UsageError, match="'a,b'"):
        planned(aws, "green", "a,b", force=["moving-dags"])


def test_unfinished_runs_of_a_dag_that_is_gone_keep_it_where_it_is(aws: FakeClients) -> None:
    airflows = ScheduledAirflows(aws, {"a": Work(3600, 60)})
    switched(aws)
    gone = run_answer("a", "scheduled__1", at(0))
    aws.mwaa.airflow[BLUE]["/dags"] = aws.mwaa.airflow[GREEN]["/dags"] = {"dags": [], "total_entries": 0}
    aws.mwaa.airflow[BLUE]["POST /dags/~/dagRuns/list"] = {"dag_runs": [gone], "total_entries": 1}
    assert set(held(switched(aws))) == {"a"}
    assert airflows.overlaps() == []


class Answers:
    """An environment with one DAG."""

    def __init__(
        self, *unfinished: Run, next_due: datetime | None, schedule: str | None = "* * * * *"
    ) -> None:
        self._unfinished = unfinished
        self._dag = Dag(dag_id="a", paused=False, next_due=next_due, max_active_runs=1, schedule=schedule)

    def dags(self) -> dict[str, Dag]:
        return {"a": self._dag}

    def unfinished_runs(self) -> tuple[Run, ...]:
        return self._unfinished

    def tasks(self, dag_id: str) -> Any:
        raise NotFound(dag_id, 404)

    def pools(self) -> Any:
        raise Refused("this role may not", 403)


RUN = Run(dag_id="a", run_id="r", type="scheduled", state="running", due=START, start=None, end=None)


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (Answers(RUN, next_due=None), Answers(next_due=at(60)), "r is unfinished"),
        (Answers(RUN, next_due=at(60)), Answers(next_due=at(60)), "r is unfinished"),
        (Answers(next_due=None), Answers(next_due=at(60)), "Airflow has not planned its next run yet"),
        (Answers(next_due=None), Answers(next_due=None), None),  # none will come
        (Answers(next_due=None, schedule=None), Answers(next_due=at(60)), None),
        (Answers(next_due=at(9)), Answers(next_due=at(60)), "its next run is due 2026-11-23T10:00:09.000Z"),
        (Answers(next_due=at(10)), Answers(next_due=at(60)), None),
    ],
)
def test_a_dag_is_idle_only_if_its_next_run_is_known_to_be_later(
    source: Answers, target: Answers, reason: str | None
) -> None:
    watch = Watch(cast(AirflowApi, source), cast(AirflowApi, target))
    assert watch.look().busy("a", at(10)) == reason


def test_a_dag_whose_tasks_are_gone_counts_as_serial() -> None:
    api = cast(AirflowApi, Answers(next_due=None))
    assert Watch(api, api).serial([Dag(dag_id="a", paused=False)]) == {"a"}


def deadly(aws: FakeClients, call: int) -> Callable[[], None]:
    """The process dies at its n-th call to AWS; returns what revives it."""
    left = [call]
    invoke = aws.mwaa.invoke_rest_api

    def count(_: Any = None) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def counted(**request: Any) -> Any:
        count()
        return invoke(**request)

    aws.ssm.before, aws.mwaa.invoke_rest_api = count, counted  # type: ignore[method-assign]

    def revive() -> None:
        aws.ssm.before, aws.mwaa.invoke_rest_api = lambda _: None, invoke  # type: ignore[method-assign]

    return revive


@pytest.mark.parametrize("dags", [(), ("a", "slow")])
def test_a_command_killed_at_any_call_goes_on_with_the_same_command(
    monkeypatch: pytest.MonkeyPatch, dags: tuple[str, ...]
) -> None:
    written = set()
    for call in [*range(1, 60), *range(60, 300, 13)]:
        aws = fresh_clients()
        stop_time(monkeypatch, aws.ssm.clock)
        works = {"a": Work(60, 4), "slow": Work(60, 15), "plain": Work(20, 5, alone=False)}
        airflows = ScheduledAirflows(aws, works)
        revive = deadly(aws, call)
        try:
            switched(aws, "green", *dags)
            wait_until_drained(deployment(aws), "green", dags=dags)
        except Killed:
            revive()
        else:
            break
        written.add(len(aws.ssm.values()))
        switched(aws, "green", *dags)
        assert wait_until_drained(deployment(aws), "green", dags=dags, timeout=100).finished
        aws.ssm.clock.forward(100)
        assert airflows.overlaps() == []
        assert {standing(aws).owner(aws.ssm.clock.now, dag) for dag in dags or ("a", "slow", None)} == {
            "green"
        }
    assert call > 60
    assert written >= {1, 2, 3}, "killed before the first write, after it, and after the next"


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["switch", "switch", "dag", "rollback", "wait", "forward"]),
        st.sampled_from(["blue", "green"]),
        st.integers(0, 24),
        st.integers(1, 120),
    ),
    min_size=1,
    max_size=8,
)


def work(**fixed: Any) -> st.SearchStrategy[Work]:
    """Every second run takes longer than the time until the next is due: only then can two sides overlap."""
    chosen = {
        "period": st.sampled_from([12.0, 20.0]),
        "seconds": st.sampled_from([1.0, 3.0]),
        "odd": st.sampled_from([13.0, 24.0]),
        "first": st.sampled_from([0.0, 3.0, 7.0]),
    }
    return st.builds(Work, **chosen, **{name: st.just(value) for name, value in fixed.items()})


def deliver_late(aws: FakeClients) -> None:
    while aws.ssm.late:
        aws.ssm.deliver()


# Of two puts in a row only one is late: the second one takes the place of the first.
PUTS = st.lists(
    st.sampled_from([["stored"], ["stored"], ["unanswered"], ["slow"], ["late", "stored"], ["late", "slow"]]),
    max_size=6,
).map(lambda puts: [what for some in puts for what in some])
WORKS = st.fixed_dictionaries(
    {
        "a": work(),
        "b": work(),
        "c": work(alone=False, past=True),
        "looked_at": work(alone=False),
        "looks": work(alone=False, looks_at="looked_at"),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    works=WORKS,
    actions=ACTIONS,
    puts=PUTS,
)
def test_nothing_overlaps_itself_or_is_seen_early_across_the_sides_whatever_operators_do(
    works: dict[str, Work], actions: list[tuple[str, Colour, int, int]], puts: list[str | Exception]
) -> None:
    aws = fresh_clients()
    airflows = ScheduledAirflows(aws, works, seconds_per_call=0.1)
    aws.ssm.puts = puts
    with pytest.MonkeyPatch.context() as patch:
        stop_time(patch, aws.ssm.clock)
        for action, target, seconds, call in actions:
            revive = deadly(aws, call) if call < 60 else lambda: None
            try:
                if action == "rollback":
                    made = plan_rollback(deployment(aws))
                elif action in ("switch", "dag"):
                    made = planned(aws, target, *(("a",) if action == "dag" else ()))
                if action == "wait":
                    wait_until_drained(deployment(aws), target, timeout=seconds)
                elif action != "forward":
                    aws.ssm.clock.forward(seconds if seconds < 10 else 0)  # thinks about the question
                    carry_out(made)
            except ControlError:
                pass
            except Killed:
                # Nobody is left to take a late put's place: one that comes when its DAG may be busy again
                # may let it overlap, as docs/switching.md says.
                deliver_late(aws)
            finally:
                revive()
            aws.ssm.clock.forward(seconds)
            deliver_late(aws)
            assert airflows.overlaps() == []
            assert airflows.seen_early() == []
        aws.ssm.clock.forward(200)
        assert airflows.overlaps() == []
        assert airflows.seen_early() == []


def test_held_dags_share_one_line_of_the_value(aws: FakeClients) -> None:
    ScheduledAirflows(aws, {name: Work(3600, 60) for name in ("b", "a")})
    switched(aws)
    assert list(json.loads(aws.ssm.values()[-1])["dags"]) == ["a,b"]


def test_a_run_that_is_created_while_the_environment_is_asked_keeps_its_dag_busy() -> None:
    """Between the two questions its scheduler creates the run and plans the next one."""
    created = False
    answer = run_answer("a", "scheduled__10:00:00", START)

    def dags(_query: Any) -> dict[str, Any]:
        nonlocal created
        due = at(600) if created else START
        created = True
        dag = {"dag_id": "a", "is_paused": False, "next_dagrun_run_after": due.isoformat()}
        return {"dags": [dag], "total_entries": 1}

    def unfinished(_body: Any) -> dict[str, Any]:
        nonlocal created
        runs = [answer] if created else []
        created = True
        return {"dag_runs": runs, "total_entries": len(runs)}

    api, _ = api_of({"/dags": dags, "POST /dags/~/dagRuns/list": unfinished}, 3)
    assert Watch(api, api).look().busy("a", at(5)) is not None
