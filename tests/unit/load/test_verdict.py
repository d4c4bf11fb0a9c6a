"""The end-to-end test's own checks: whatever is wrong with a run, they say so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.load.decisions import Decision, Version, decided, deciding
from tests.e2e.load.ledger import Line
from tests.e2e.load.schedule import CONSUMER, LOADS, PRODUCER
from tests.e2e.load.verdict import MADE_TRUE, REPORTING, Instance, Kill, judge

BEGIN = datetime(2026, 11, 23, 10, tzinfo=UTC)
SWITCH = BEGIN + timedelta(minutes=1)
END = BEGIN + timedelta(minutes=2)
LEAD = timedelta(seconds=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DECISIONS = [Decision(1, None, "blue", EPOCH), Decision(2, None, "green", SWITCH)]


def line(what: str, dag: str, due: datetime, task: str = "work", index: int = -1, **changed: object) -> Line:
    colour = "blue" if due < SWITCH else "green"
    at = due + timedelta(seconds=1 if what == "start" else 2)
    plain = Line(what, colour, dag, f"run {due:%H:%M:%S}", due, task, index, 1, at, 1, ())
    return replace(plain, **changed)  # type: ignore[arg-type]


def perfect() -> list[Line]:
    """Everything executed once, where it belongs."""
    lines = []
    for load in LOADS:
        for due in load.due(BEGIN, END):
            for task, index in load.tasks:
                lines += [line(what, load.dag, due, task, index) for what in ("start", "done")]
    for end in [entry for entry in lines if entry.dag == PRODUCER and entry.what == "done"]:
        consumed = {"dag": CONSUMER, "run": f"after {end.run}", "causes": (end.run,), "due": end.at}
        lines += [replace(end, **consumed, what=what) for what in ("start", "done")]  # type: ignore[arg-type]
    return lines


def wrong(
    lines: list[Line], instances: tuple[Instance, ...] = (), note: str = "", kills: tuple[Kill, ...] = ()
) -> list[str]:
    notes = {(i.colour, i.dag, i.run): note for i in instances}
    verdict = judge(lines, DECISIONS, instances, notes, BEGIN, END, kills=kills)
    return [violation.what for violation in verdict.violations]


def test_runs_that_were_executed_once_by_their_owners_are_in_order() -> None:
    verdict = judge(perfect(), DECISIONS, (), {}, BEGIN, END)
    assert verdict.violations == []
    assert verdict.runs == sum(len(list(load.due(BEGIN, END))) for load in LOADS)


def test_a_second_attempt_on_the_owner_is_in_order() -> None:
    again = line("start", "load_fast", BEGIN, attempt=2)
    assert wrong([again, *perfect()]) == []


def completed_again(dag: str = "load_fast") -> tuple[Line, list[Line]]:
    """A perfect ledger in which one task is completed a second time; its first completion."""
    lines = perfect()
    first = next(x for x in lines if x.dag == dag and x.what == "done")
    later = timedelta(seconds=20)
    again = [replace(first, what=what, attempt=2, pid=2, at=first.at + later) for what in ("start", "done")]
    return first, [*lines, *again]


def test_a_second_completion_on_the_owner_is_told() -> None:
    _, lines = completed_again()
    (violation,) = wrong(lines)
    assert violation.startswith("work was completed 2 times on blue: 10:00:02.000000 (try 1), 10:00:22")


def test_a_second_completion_of_what_assets_triggered_is_told() -> None:
    _, lines = completed_again(CONSUMER)
    (violation,) = wrong(lines)
    assert "must have followed" in violation


@pytest.mark.parametrize("dag", ["load_fast", CONSUMER])
@pytest.mark.parametrize("pid", [1, None])
def test_a_task_that_was_killed_before_airflow_knew_of_its_completion_may_be_completed_again(
    dag: str, pid: int | None
) -> None:
    first, lines = completed_again(dag)
    assert wrong(lines, kills=(Kill(first.at + REPORTING / 2, "blue", pid),)) == []


@pytest.mark.parametrize(
    ("seconds", "colour", "pid"),
    [
        (REPORTING.total_seconds() + 1, "blue", None),  # it was known by then
        (-5, "blue", None),  # it had not begun
        (1, "green", None),
        (1, "blue", 2),  # another process
    ],
)
def test_a_kill_that_did_not_hit_the_task_excuses_nothing(
    seconds: float, colour: str, pid: int | None
) -> None:
    first, lines = completed_again()
    assert len(wrong(lines, kills=(Kill(first.at + timedelta(seconds=seconds), colour, pid),))) == 1


@pytest.mark.parametrize(("dag", "violations"), [("load_deferred", 0), ("load_fast", 1)])
def test_a_resumed_task_that_airflow_took_for_lost_may_be_completed_again(dag: str, violations: int) -> None:
    first, lines = completed_again(dag)
    misjudged = {(first.colour, dag, first.task, first.run)}
    verdict = judge(lines, DECISIONS, (), {}, BEGIN, END, misjudged=misjudged)
    assert len(verdict.violations) == violations


@pytest.mark.parametrize("what", ["start", "done"])
def test_a_run_on_the_other_side_is_told_even_if_it_never_completed(what: str) -> None:
    (violation,) = wrong([*perfect(), line(what, "load_fast", BEGIN, colour="green")])
    assert "ran on green, but blue owned it (version 1" in violation


def test_a_task_that_never_completed_is_told() -> None:
    lines = [x for x in perfect() if (x.what, x.dag, x.due, x.map) != ("done", "load_mapped", SWITCH, 1)]
    assert wrong(lines) == [
        "each[1] was never completed on green, which owned it (version 2: green from 10:01:00.000000)"
    ]


def test_a_run_that_left_no_trace_is_told() -> None:
    lines = [x for x in perfect() if x.key != ("load_late", SWITCH)]
    assert len(wrong(lines)) == 1


def test_a_serial_run_that_began_while_the_other_side_was_at_work_is_told() -> None:
    long = [x for x in perfect() if x.key != ("load_serial", SWITCH - timedelta(seconds=20))]
    long += [line("start", "load_serial", SWITCH - timedelta(seconds=20))]
    long += [line("done", "load_serial", SWITCH - timedelta(seconds=20), at=SWITCH + timedelta(seconds=1.5))]
    (violation,) = wrong(long)
    assert "overlapped itself: 10:01:00 began on green" in violation


def test_serial_runs_in_the_wrong_order_are_told() -> None:
    late = [x for x in perfect() if x.key != ("load_past", BEGIN)]
    late += [line(what, "load_past", BEGIN, at=BEGIN + timedelta(seconds=40)) for what in ("start", "done")]
    assert any("overlapped itself" in violation for violation in wrong(late))


@pytest.mark.parametrize("colour", ["blue", "green"])
def test_what_assets_trigger_twice_is_told(colour: str) -> None:
    lines = perfect()
    first = next(x for x in lines if x.dag == CONSUMER and x.what == "done")
    (violation,) = wrong([*lines, replace(first, run="another", colour=colour)])
    assert "must have followed" in violation


def test_an_asset_event_that_nothing_followed_is_told() -> None:
    lines = perfect()
    first = next(x for x in lines if x.dag == CONSUMER)
    (violation,) = wrong([x for x in lines if x.run != first.run])
    assert "it did so nowhere" in violation


@pytest.mark.parametrize(
    ("state", "note", "violations"),
    [
        ("skipped", "", 0),
        ("success", "", 1),
        ("failed", "", 1),
        ("success", f"{MADE_TRUE} blue", 0),
    ],
)
def test_a_mirror_must_be_skipped_or_made_true(state: str, note: str, violations: int) -> None:
    mirror = Instance("green", "load_fast", "mirror", BEGIN, "work", -1, state, worked=False)
    assert len(wrong(perfect(), (mirror,), note)) == violations


@pytest.mark.parametrize(("seconds", "violations"), [(-5, 0), (5, 1)])
def test_work_on_a_side_that_was_said_to_be_drained_is_told(seconds: int, violations: int) -> None:
    commanded = SWITCH + timedelta(seconds=30)
    last = line(
        "start", "load_late", SWITCH - timedelta(seconds=30), at=commanded + timedelta(seconds=seconds)
    )
    verdict = judge([*perfect(), last], DECISIONS, (), {}, BEGIN, END, [(commanded, "blue")])
    assert len(verdict.violations) == violations


def version(
    number: int, base: int, since: datetime, owner: str = "green", dags: dict[str, object] | None = None
) -> Version:
    entry = {"owner": owner, "since": since.isoformat(), "version": number}
    carried = {"owner": "blue", "since": EPOCH.isoformat(), "version": 1}
    content = {"base_version": base, "owners": [carried, entry], "dags": dags or {}}
    return Version(number, json.dumps(content), since - LEAD, "")


def test_a_decision_that_arrived_late_begins_a_lead_after_its_arrival() -> None:
    late = replace(version(2, 1, SWITCH), modified=SWITCH)
    assert [d.since for d in decided([late], LEAD)] == [SWITCH + LEAD]


def test_a_version_that_was_not_written_upon_the_one_before_does_not_count() -> None:
    versions = [version(2, 1, SWITCH), version(3, 1, SWITCH, owner="blue")]
    assert [d.version for d in decided(versions, LEAD)] == [2]


def test_one_line_may_decide_about_several_dags_until_the_next_decision_about_all() -> None:
    kept = [{"owner": "blue", "since": SWITCH.isoformat(), "version": 2}]
    versions = [version(2, 1, SWITCH, dags={"a,b": kept}), version(3, 2, END)]
    decisions = decided(versions, LEAD)
    assert [deciding(decisions, dag, SWITCH).owner for dag in ("a", "b", "c")] == ["blue", "blue", "green"]
    assert deciding(decisions, "a", END).owner == "green"


def test_a_value_that_points_to_an_object_decides_the_same() -> None:
    kept = [{"owner": "blue", "since": SWITCH.isoformat(), "version": 2}]
    plain = version(2, 1, SWITCH, dags={"a,b": kept})
    value = json.dumps({"base_version": 1, "object": "hash"})
    pointing = replace(plain, value=value)
    assert decided([pointing], LEAD, {"hash": plain.value}.__getitem__) == decided([plain], LEAD)
