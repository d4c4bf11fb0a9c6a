"""The audit's verdict on one run, case by case, from plain records of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bluegreen.timeline import Colour

from mwaactl.airflow.models import Dag, Run, TaskInstance
from mwaactl.airflow.notes import copied_note, rerun_note
from mwaactl.recovery.records import DagHistory, Records, SideRecords
from mwaactl.recovery.verdict import Finding, Verdict, judge
from tests.fakes.timeline import LIVES, initial

DUE = datetime(2026, 11, 23, 10, tzinfo=UTC)
NOW = DUE + timedelta(hours=1)  # green owns the DAG by then, blue owned the instant
KEY = ("etl", DUE)
TIMELINE = initial("blue").switched("green", DUE + timedelta(minutes=30), 2)
COPIED, RERUN = copied_note("green"), rerun_note("green", "it was not executed")


HISTORY = DagHistory(
    catchup=False,
    max_active_runs=1,
    at_work=(),
    first_due=DUE - timedelta(days=1),
    mapped=frozenset(),
)


def side(
    work: str | None,
    note: str | None = None,
    *,
    has_dag: bool = True,
    paused: bool = False,
    passed: bool = True,
    rendered: bool = True,
    from_lineage: bool = False,
) -> SideRecords:
    """One side with at most one run: `work` is its only task's state, and the run's by that; None: no run."""
    next_due = DUE + timedelta(hours=2) if passed else DUE
    dags = {"etl": Dag(dag_id="etl", paused=paused, next_due=next_due)} if has_dag else {}
    histories = {"etl": HISTORY} if has_dag else {}
    if work is None:
        return SideRecords(dags, {}, {}, (), from_lineage, histories)
    state = "success" if work == "skipped" else work
    run = Run(
        dag_id="etl",
        run_id="scheduled",
        type="scheduled",
        state=state,
        due=DUE,
        start=None,
        end=None,
        note=note,
    )
    task = TaskInstance(
        dag_id="etl",
        run_id="scheduled",
        task_id="only",
        map_index=-1,
        state=work,
        operator=None,
        started=work != "skipped",
        rendered={"op_args": []} if rendered and work != "skipped" else {},
    )
    tasks = {run.key: [task]} if not from_lineage else {}
    return SideRecords(dags, {KEY: run}, tasks, (), from_lineage, histories)


def records(
    blue: SideRecords | None, green: SideRecords | None, silent: Mapping[Colour, str] | None = None
) -> Records:
    sides: dict[Colour, SideRecords] = {}
    if blue is not None:
        sides["blue"] = blue
    if green is not None:
        sides["green"] = green
    return Records(timeline=TIMELINE, now=NOW, sides=sides, silent=silent or {})


def name(verdict: Verdict) -> str:
    return verdict.kind if isinstance(verdict, Finding) else verdict


TABLE: list[tuple[str, tuple[Any, ...], tuple[Any, ...], str]] = [
    # what blue (the owner) has, what green has, the verdict
    ("executed once", ("success",), ("skipped",), "executed"),
    ("executed once, without a mirror", ("success",), (None,), "executed"),
    ("failed on its owner", ("failed",), ("skipped",), "failed"),
    ("executed, with its states copied to the mirror", ("success",), ("success", COPIED), "both"),
    ("executed twice", ("success",), ("success",), "both"),
    ("failed on its owner, executed elsewhere", ("failed",), ("success",), "both"),
    ("executed, and rerun elsewhere", ("success",), ("success", RERUN), "both"),
    ("running on its owner", ("running",), ("skipped",), "unfinished"),
    ("running elsewhere", ("success",), ("running",), "unfinished"),
    ("executed elsewhere, copied to its owner", ("success", COPIED), ("success",), "executed"),
    ("rerun elsewhere, copied to its owner", ("success", COPIED), ("failed", RERUN), "executed"),
    ("copied to its owner, executed nowhere", ("success", COPIED), ("skipped",), "nobody"),
    ("skipped on its owner, executed elsewhere", ("skipped",), ("success",), "wrong side"),
    ("missing on its owner, executed elsewhere", (None,), ("success",), "wrong side"),
    ("missing on its owner, failed elsewhere", (None,), ("failed",), "wrong side"),
    ("skipped on its owner, rerun elsewhere", ("skipped",), ("success", RERUN), "executed"),
    ("missing on its owner, rerun elsewhere", (None,), ("success", RERUN), "executed"),
    ("skipped on its owner, rerun elsewhere and failed", ("skipped",), ("failed", RERUN), "failed"),
    ("skipped on both", ("skipped",), ("skipped",), "nobody"),
    ("missing on its owner, skipped elsewhere", (None,), ("skipped",), "nobody"),
    ("cleared by a backfill, skipped all its tasks again", ("skipped", RERUN), ("skipped",), "executed"),
]


@pytest.mark.parametrize(
    ("blue", "green", "verdict"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_verdict_follows_from_what_each_side_did(
    blue: tuple[Any, ...], green: tuple[Any, ...], verdict: str
) -> None:
    assert name(judge(records(side(*blue), side(*green)), KEY)) == verdict


def test_copied_states_are_no_execution_unless_tasks_were_rendered() -> None:
    mirror = side("success", COPIED, rendered=False)
    assert judge(records(side("success"), mirror), KEY) == "executed"


def test_a_run_whose_only_task_skipped_itself_was_executed() -> None:
    """A process started it and decided to skip; the gate's skips start none."""
    blue = side("skipped")
    task = blue.tasks["etl", "scheduled"][0]
    started = replace(blue, tasks={("etl", "scheduled"): [task.model_copy(update={"started": True})]})
    assert judge(records(started, None), KEY) == "executed"
    assert name(judge(records(blue, None), KEY)) == "nobody"


def test_a_task_that_failed_for_want_of_a_verdict_did_not_execute() -> None:
    assert judge(records(side("success"), side("failed", rendered=False)), KEY) == "executed"


SKIPPED = "all its tasks were skipped on blue, its owner"


@pytest.mark.parametrize(
    ("blue", "green", "cause", "obstacle"),
    [
        (side("skipped"), side("skipped"), SKIPPED, None),
        (side(None), side("skipped"), "blue, its owner, never created it", None),
        (side(None, has_dag=False), side("skipped"), "blue, its owner, has no such DAG", None),
        (None, side("skipped"), "blue, its owner, has no such DAG", None),
        (
            side(None, paused=True, passed=False),
            side("skipped"),
            "the DAG is paused on blue, its owner",
            "blue's scheduler has not reached it yet: unpause the DAG there, or wait",
        ),
        (
            side("skipped"),
            side(None, passed=False),
            SKIPPED,
            "green's scheduler has not reached it yet: unpause the DAG there, or wait",
        ),
        # its next run is still to come, but this one is there: a person may have changed the schedule
        (side("skipped", passed=False), side("skipped", passed=False), SKIPPED, None),
        (
            side("skipped"),
            side("skipped", has_dag=False),
            SKIPPED,
            "green owns the DAG now, but does not have it: deploy it there",
        ),
        (
            side("skipped"),
            None,
            SKIPPED,
            "green owns the DAG now, but does not have it: deploy it there",
        ),
        (
            side("skipped"),
            side("skipped", paused=True),
            SKIPPED,
            "the DAG is paused on green, which owns it now: unpause it there",
        ),
    ],
)
def test_what_nobody_executed_is_explained_and_backfilled_where_that_is_possible(
    blue: SideRecords | None, green: SideRecords | None, cause: str, obstacle: str | None
) -> None:
    finding = judge(records(blue, green), KEY)
    assert isinstance(finding, Finding)
    assert (finding.kind, finding.owner, finding.key) == ("nobody", "blue", KEY)
    assert finding.detail == (f"{cause}; {obstacle}" if obstacle else cause)
    assert finding.backfill_on == (None if obstacle else "green")


def test_a_run_that_its_owner_may_still_create_is_unfinished() -> None:
    assert judge(records(side(None, passed=False), side("skipped")), KEY) == "unfinished"


@pytest.mark.parametrize(("busy", "verdict"), [(False, "nobody"), (True, "unfinished")])
def test_without_a_next_run_a_dag_that_is_busy_may_still_create_it(busy: bool, verdict: str) -> None:
    ended = {"etl": Dag(dag_id="etl", paused=False, next_due=None)}
    unfinished = tuple(side("running").runs.values()) if busy else ()
    blue = replace(side(None), dags=ended, unfinished=unfinished)
    assert name(judge(records(blue, side("skipped")), KEY)) == verdict


def test_a_finding_quotes_the_note_of_an_earlier_rerun() -> None:
    finding = judge(records(side("success"), side("success", RERUN)), KEY)
    assert isinstance(finding, Finding)
    assert finding.runs == {"blue": "success", "green": "success"}
    assert finding.detail == f"blue owned it, but green worked on it too ({RERUN})"


@pytest.mark.parametrize(
    ("blue", "green", "verdict"),
    [
        ((None,), ("skipped",), "unknown"),
        (("success",), ("skipped",), "executed"),
        (("failed",), ("skipped",), "failed"),
        (("running",), ("skipped",), "unfinished"),
        (("success",), ("success",), "both"),
        ((None,), ("success",), "wrong side"),
    ],
)
def test_the_lineage_log_stands_in_for_a_silent_owner(
    blue: tuple[Any, ...], green: tuple[Any, ...], verdict: str
) -> None:
    log = side(*blue, has_dag=False, from_lineage=True)
    assert name(judge(records(log, side(*green), {"blue": "it answered 500"}), KEY)) == verdict


def test_nothing_is_backfilled_while_the_side_that_did_not_own_it_is_silent() -> None:
    log = side(None, has_dag=False, from_lineage=True)
    finding = judge(records(side("skipped"), log, {"green": "it answered 500"}), KEY)
    assert isinstance(finding, Finding)
    assert finding.backfill_on is None
    assert "green does not answer, and the lineage log has no record of the run" in finding.detail


def test_nothing_is_backfilled_while_nobody_owns_the_dag() -> None:
    """It belongs to an environment that has been removed."""
    timeline = TIMELINE.seen_with({"blue": LIVES["blue"]})
    finding = judge(replace(records(side("skipped"), None), timeline=timeline), KEY)
    assert isinstance(finding, Finding)
    assert finding.backfill_on is None
    assert finding.detail == f"{SKIPPED}; nobody owns the DAG now: see mwaactl status"


STOPPED: list[tuple[str, tuple[Any, ...], tuple[Any, ...], str]] = [
    # what blue (the owner, fenced) has, what green has, the verdict
    ("executed by nobody else", ("running",), ("skipped",), "left unfinished"),
    ("not created anywhere else", ("running",), (None,), "left unfinished"),
    ("executed elsewhere without a reason", ("running",), ("success",), "wrong side"),
    ("run again elsewhere", ("running",), ("success", RERUN), "executed"),
    ("run again elsewhere, and failed", ("running",), ("failed", RERUN), "failed"),
    ("at work elsewhere", ("running",), ("running", RERUN), "unfinished"),
    ("ended before the fence", ("success",), ("skipped",), "executed"),
    ("never begun", ("skipped",), ("skipped",), "nobody"),
]


@pytest.mark.parametrize(
    ("blue", "green", "verdict"), [row[1:] for row in STOPPED], ids=[row[0] for row in STOPPED]
)
def test_what_a_side_that_cannot_go_on_had_at_work_is_left_unfinished_unless_another_did_it(
    blue: tuple[Any, ...], green: tuple[Any, ...], verdict: str
) -> None:
    stopped = replace(records(side(*blue), side(*green)), stopped={"blue": "is fenced"})
    assert name(judge(stopped, KEY)) == verdict


def test_a_run_that_is_left_unfinished_names_both_sides_and_what_to_do() -> None:
    stopped = replace(records(side("running"), side("skipped")), stopped={"blue": "is fenced"})
    finding = judge(stopped, KEY)
    assert isinstance(finding, Finding)
    assert list(finding.runs.items()) == [("blue", "running"), ("green", "success")]
    assert finding.detail == (
        "it was at work on blue, which is fenced: `mwaactl failover` runs it again, "
        "or mark it as failed there"
    )


GONE: list[tuple[str, str | None, tuple[Any, ...], tuple[Any, ...], str]] = [
    # what the log knows of the former environment, what blue's successor has, what green has, the verdict
    ("nothing is known", None, (None,), ("skipped",), "unknown"),
    ("it ended in a way that is not known", "ended", (None,), ("skipped",), "unknown"),
    ("executed", "success", (None,), ("skipped",), "executed"),
    ("failed", "failed", (None,), ("skipped",), "failed"),
    ("at work when it went", "running", (None,), ("skipped",), "left unfinished"),
    ("at work when it went, executed since", "running", (None,), ("success",), "executed"),
    ("at work when it went, failed since", "running", (None,), ("failed",), "failed"),
    ("not known, executed since", None, (None,), ("success",), "executed"),
    ("not known, failed since", None, ("failed",), (None,), "failed"),
    ("executed, and again since", "success", (None,), ("success",), "both"),
    ("failed, and executed since", "failed", (None,), ("success",), "both"),
    ("failed, and rerun since", "failed", (None,), ("success", RERUN), "executed"),
    ("failed, and rerun since by both", "failed", ("success", RERUN), ("success", RERUN), "both"),
    ("not known, executed since by both", None, ("success",), ("success",), "both"),
    ("not known, with its states on one side", None, ("success", COPIED, "bare"), ("skipped",), "executed"),
    ("failed, with its states on one side", "failed", (None,), ("failed", COPIED, "bare"), "executed"),
]


@pytest.mark.parametrize(
    ("logged", "blue", "green", "verdict"), [row[1:] for row in GONE], ids=[row[0] for row in GONE]
)
def test_what_an_environment_that_is_gone_executed_is_judged_by_the_log_and_by_what_followed(
    logged: str | None, blue: tuple[Any, ...], green: tuple[Any, ...], verdict: str
) -> None:
    def made(work: str | None, note: str | None = None, tasks: str = "rendered") -> SideRecords:
        return side(work, note, rendered=tasks == "rendered")

    gone = replace(
        records(made(*blue), made(*green)),
        timeline=TIMELINE.seen_with({**LIVES, "blue": "blue-2"}),
        former={KEY: logged} if logged else {},
    )
    assert name(judge(gone, KEY)) == verdict


def test_a_run_of_a_former_environment_that_both_others_executed_names_them() -> None:
    gone = replace(
        records(side("success"), side("success")), timeline=TIMELINE.seen_with({**LIVES, "blue": "blue-2"})
    )
    finding = judge(gone, KEY)
    assert isinstance(finding, Finding)
    assert finding.detail == "blue and green worked on it"
    assert (finding.owner, finding.backfill_on) == (None, None)


def test_what_is_due_on_one_side_only_is_nobodys_omission() -> None:
    """Each side of a `@continuous` DAG has its own instants."""
    owner, mirror = side(None), side("skipped")
    assert name(judge(records(owner, mirror), KEY)) == "nobody"
    endless = owner.dags["etl"].model_copy(update={"schedule": "@continuous"})
    owner = replace(owner, dags={"etl": endless})
    assert judge(records(owner, mirror), KEY) == "passed over"
