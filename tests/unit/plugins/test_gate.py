"""Whose run it is: verdicts by kind of run, due instant, clearing and retrying."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bluegreen
import pytest
from bluegreen import settings, store
from bluegreen.gate import Gate, Run, Verdict, describe
from bluegreen.settings import MAX_AGE, RECENT, SettingsError
from bluegreen.store import OwnershipUnknown, Store
from bluegreen.timeline import COLOURS, CONFIRMED, Colour, Timeline

from tests.fakes.airflow.gate import always
from tests.fakes.timeline import GATE_OPTIONS, gate_settings, initial

T = datetime(2025, 11, 23, 10, tzinfo=UTC)
SWITCH = T + timedelta(minutes=5)
NOW = T + timedelta(minutes=60)
TIMELINE = initial().switched("green", SWITCH, 2).dag_moved("serial", "blue", SWITCH, 2)


def at(minutes: float) -> datetime:
    return T + timedelta(minutes=minutes)


def gate(environment: Colour, tmp_path: Path) -> Gate:
    chosen = gate_settings(environment, max_age=timedelta(days=1))
    source = Store(chosen, always(TIMELINE, 2, T), tmp_path / environment, NOW.timestamp)
    return Gate(chosen, source, lambda: NOW)


def executed_by(run: Run, tmp_path: Path, **how: Any) -> list[str]:
    """The environments that would execute the run, if both had it."""
    return [colour for colour in COLOURS if gate(colour, tmp_path).verdict(run, wait=0, **how).mine]


@pytest.mark.parametrize(("minutes", "owner"), [(4.99, "blue"), (5, "green"), (30, "green")])
def test_a_scheduled_run_belongs_to_the_owner_of_its_due_instant(
    minutes: float, owner: str, tmp_path: Path
) -> None:
    assert executed_by(Run("etl", "r", "scheduled", at(minutes)), tmp_path) == [owner]
    late = Run("etl", "r", "scheduled", at(minutes), started=at(50))
    assert executed_by(late, tmp_path, retried=True) == [owner]


def test_a_dag_kept_back_stays(tmp_path: Path) -> None:
    assert executed_by(Run("serial", "r", "scheduled", at(30)), tmp_path) == ["blue"]


@pytest.mark.parametrize("kind", ["manual", "operator_triggered", "backfill", "asset_materialization"])
def test_what_somebody_made_runs_where_it_was_made(kind: str, tmp_path: Path) -> None:
    assert executed_by(Run("etl", "r", kind, at(30)), tmp_path) == ["blue", "green"]
    assert executed_by(Run("etl", "r", kind, at(30), cleared=True), tmp_path) == ["blue", "green"]


def test_a_kind_of_run_that_is_not_known_is_never_executed_twice(tmp_path: Path) -> None:
    assert executed_by(Run("etl", "r", "invented_later", at(30)), tmp_path) == ["green"]


def test_an_asset_triggered_run_follows_its_producer(tmp_path: Path) -> None:
    drained_late = Run("etl", "r", "asset_triggered", at(30), made_here=True)
    assert gate("blue", tmp_path).verdict(drained_late, wait=0).mine


def test_an_asset_event_from_outside_is_worked_on_by_the_owner_only(tmp_path: Path) -> None:
    assert executed_by(Run("etl", "r", "asset_triggered", at(30)), tmp_path) == ["green"]


@pytest.mark.parametrize("kind", ["scheduled", "asset_triggered"])
def test_a_cleared_run_belongs_to_whoever_owned_the_work_when_it_was_cleared(
    kind: str, tmp_path: Path
) -> None:
    for cleared_at, owner in [(4.9, "blue"), (5, "green")]:
        run = Run("etl", "r", kind, at(1), started=at(50), cleared=True, cleared_at=at(cleared_at))
        assert executed_by(run, tmp_path) == [owner]


def test_a_cleared_run_belongs_to_the_owner_at_its_new_start_if_that_is_all_that_is_known(
    tmp_path: Path,
) -> None:
    run = Run("etl", "scheduled__1", "scheduled", at(1), started=at(50), cleared=True)
    assert executed_by(run, tmp_path) == ["green"]


def test_a_run_cleared_on_the_wrong_side_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    run = Run("etl", "scheduled__1", "scheduled", at(1), started=at(50), cleared=True, cleared_at=at(40))
    mine, reason, refused = gate("blue", tmp_path).verdict(run, wait=0)
    assert (mine, refused) == (False, True)
    assert "scheduled__1 of etl, due at 2025-11-23T10:01:00+00:00, was cleared on blue" in reason
    assert "green owned the work at 2025-11-23T10:40:00+00:00" in reason
    assert reason.endswith("clear it on green, which owns the work now")
    early = Run("etl", "r", "scheduled", None, started=at(50), cleared=True, cleared_at=at(4))
    assert gate("green", tmp_path).verdict(early, wait=0).reason.endswith("clear it on green once more")


def test_what_is_merely_mirrored_is_not_refused(tmp_path: Path) -> None:
    for retried in (False, True):
        verdict = gate("green", tmp_path).verdict(
            Run("etl", "r", "scheduled", at(1)), wait=0, retried=retried
        )
        assert not verdict.mine
        assert not verdict.refused


# --- what the scheduler does when a cleared run starts again ---


@pytest.mark.parametrize(
    ("cleared_at", "started", "attributes", "kept"),
    [
        (4, 6, {}, True),  # the work was switched in between
        (6, 7, {}, False),
        (4, 6, {"clear_number": 0}, False),  # not cleared: queued when it was made
        (4, 6, {"run_type": "manual"}, False),
        (4, 6, {"dag_id": "serial"}, False),  # stays on blue
        (4, 6, {"external_trigger": True}, False),  # no schedule made it
    ],
)
def test_a_run_that_waited_while_the_work_was_switched_keeps_the_time_of_its_clear(
    cleared_at: float, started: float, attributes: dict[str, Any], kept: bool, tmp_path: Path
) -> None:
    times = {"run_after": at(1), "queued_at": at(cleared_at), "start_date": at(started)}
    orm = dag_run(**{**times, "clear_number": 1, **attributes})
    assert gate("blue", tmp_path).keep_time_of_clear(orm) is kept
    assert orm.start_date == at(cleared_at if kept else started)
    del orm.queued_at  # as tasks of Airflow 3 see it
    if kept:
        assert executed_by(describe(orm), tmp_path) == ["blue"]


def test_a_run_that_has_not_started_has_no_time_to_keep_and_the_scheduler_never_waits(tmp_path: Path) -> None:
    orm = dag_run(run_after=at(1), queued_at=at(4), start_date=None, clear_number=1)
    assert not gate("blue", tmp_path).keep_time_of_clear(orm)
    waits: list[float] = []

    class Source:
        def timeline(self, instant: datetime, *, wait: float, within: timedelta | None = None) -> Timeline:
            waits.append(wait)
            return TIMELINE

    orm.start_date = at(6)
    assert Gate(gate_settings("blue"), Source(), lambda: NOW).keep_time_of_clear(orm)  # type: ignore[arg-type]
    assert waits == [0]


@pytest.mark.parametrize(
    ("due", "cleared_at", "owner"),
    [
        (1, None, "green"),  # nothing is known of the clear: it is judged by the present
        (1, 4, "blue"),
        (30, 4, "green"),  # cleared before it was due
        (None, 4, "blue"),
    ],
)
def test_a_cleared_run_is_judged_by_its_clear_but_not_before_it_was_due(
    due: float | None, cleared_at: float | None, owner: str, tmp_path: Path
) -> None:
    when, asked = (None if minutes is None else at(minutes) for minutes in (due, cleared_at))
    run = Run("etl", "r", "scheduled", when, cleared=True, cleared_at=asked)
    assert executed_by(run, tmp_path) == [owner]


def test_a_run_that_was_cleared_before_a_switch_is_finished_where_it_began(tmp_path: Path) -> None:
    assert executed_by(Run("etl", "r", "scheduled", at(1), started=at(4), cleared=True), tmp_path) == ["blue"]


@pytest.mark.parametrize("how", [{"cleared": True}, {"retried": True}])
def test_cleared_and_retried_runs_use_a_fresh_copy(how: dict[str, bool]) -> None:
    asked: list[timedelta | None] = []
    run = Run("etl", "r", "scheduled", at(10), started=at(10))

    class Source:
        def timeline(self, instant: datetime, *, wait: float, within: timedelta | None = None) -> Timeline:
            asked.append(within)
            return TIMELINE

    judge = Gate(gate_settings("blue"), Source(), lambda: NOW)  # type: ignore[arg-type]
    judge.verdict(run, wait=0)
    judge.verdict(replace(run, cleared=how.get("cleared", False)), wait=0, retried=how.get("retried", False))
    assert asked == [MAX_AGE, RECENT]


@pytest.mark.parametrize(("started", "owner"), [(4, "blue"), (6, "green")])
def test_a_run_without_a_due_instant_belongs_to_the_owner_at_its_start(
    started: float, owner: str, tmp_path: Path
) -> None:
    assert executed_by(Run("etl", "r", "asset_triggered", None, started=at(started)), tmp_path) == [owner]
    assert executed_by(Run("etl", "r", "asset_triggered", None), tmp_path) == ["green"], "now"


# --- books ---


class Sequence:
    """A store that reads another timeline each time it is asked to read again."""

    def __init__(self, *timelines: Timeline) -> None:
        self.timelines = list(timelines)

    def timeline(self, instant: datetime, *, wait: float, within: timedelta | None = None) -> Timeline:
        if within is not None and len(self.timelines) > 1:
            self.timelines.pop(0)
        return self.timelines[0]


def judge(colour: Colour, *timelines: Timeline, wait: float = 0, **options: Any) -> Verdict:
    """The verdict on a run of the DAG etl that was due before the switch."""
    source = Sequence(*timelines)
    chosen = gate_settings(colour, **options)
    return Gate(chosen, source, lambda: NOW).verdict(  # type: ignore[arg-type]
        Run("etl", "r", "scheduled", at(1)), wait=wait
    )


KNOWN = initial().switched("green", SWITCH, 2, known=["etl"])
LEFT = {"etl": at(0.5)}


def test_what_was_due_before_a_switch_stays_until_the_books_are_closed() -> None:
    assert judge("blue", KNOWN).mine
    assert not judge("green", KNOWN).mine


def test_what_the_old_side_left_is_the_new_owners_once_the_books_are_closed() -> None:
    closed = KNOWN.with_books("blue", LEFT, 3, closed=True)
    assert not judge("blue", closed).mine
    assert judge("green", closed).mine
    done = KNOWN.with_books("blue", {"etl": at(2)}, 3, closed=True)
    assert not judge("blue", done).mine
    assert judge("blue", done).refused, "blue has drained, so it had executed it, or passed over it"
    assert judge("green", done) == Verdict(False, judge("green", done).reason)


def test_what_was_settled_before_the_timeline_begins_is_nobodys() -> None:
    begun = KNOWN.with_books("blue", {}, 3, closed=True).folded(NOW)
    assert [entry.version for entry in begun.owners] == [2]
    for colour in COLOURS:
        verdict = judge(colour, begun)
        assert (verdict.mine, verdict.refused) == (False, False)
        assert verdict.reason.startswith("nobody owns what is due at 2025-11-23T10:01:00+00:00")


def test_a_copy_from_before_the_books_were_closed_does_not_decide_about_the_past() -> None:
    closed = KNOWN.with_books("blue", LEFT, 3, closed=True)
    assert not judge("blue", KNOWN, closed).mine


@pytest.mark.parametrize(
    ("dag_id", "began", "asked"),
    [
        ("etl", 1, [MAX_AGE]),
        ("new", None, [MAX_AGE, RECENT]),
        ("new", 1, [MAX_AGE, RECENT]),
        ("new", 30, [MAX_AGE, timedelta(seconds=30)]),
        ("new", 3600, [MAX_AGE]),
    ],
)
def test_a_dag_that_no_switch_has_known_is_judged_by_a_copy_not_older_than_its_run(
    dag_id: str, began: float | None, asked: list[timedelta]
) -> None:
    """Or by a recent one: a later switch then knows the DAG. `began` is in seconds before now."""
    source = Scripted(initial().switched("green", SWITCH, 2, known=["etl"]))
    started = None if began is None else NOW - timedelta(seconds=began)
    Gate(gate_settings("green"), source, lambda: NOW).verdict(  # type: ignore[arg-type]
        Run(dag_id, "r", "scheduled", NOW, started=started), wait=0
    )
    assert [within for _, within in source.asked] == asked


def test_while_books_are_open_the_past_is_judged_by_a_recent_copy() -> None:
    source = Scripted(KNOWN)
    verdict = Gate(gate_settings("green"), source, lambda: NOW).verdict(  # type: ignore[arg-type]
        Run("etl", "r", "scheduled", at(1), started=at(1)), wait=0
    )
    assert [within for _, within in source.asked] == [MAX_AGE, RECENT]
    assert verdict.reason.startswith("blue owns what is due")


def test_the_past_of_a_dag_that_a_switch_did_not_know_is_judged_by_a_copy_from_when_that_is_sure() -> None:
    source = Scripted(initial().switched("green", SWITCH, 2, known=["etl"]))
    Gate(gate_settings("green"), source, lambda: NOW).verdict(  # type: ignore[arg-type]
        Run("new", "r", "scheduled", T, started=T), wait=0
    )
    assert [instant for instant, _ in source.asked] == [T, SWITCH + CONFIRMED]


def test_what_is_being_passed_on_is_asked_for_until_the_wait_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("bluegreen.gate.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("bluegreen.gate.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    run = Run("etl", "r", "scheduled", at(1), started=at(1))
    closing = KNOWN.with_books("blue", LEFT, 3, closed=False)
    source = Scripted(closing)
    with pytest.raises(OwnershipUnknown, match="is being passed on"):
        Gate(gate_settings("green"), source, lambda: NOW).verdict(run, wait=3)  # type: ignore[arg-type]
    assert clock[0] == 103
    assert [within for _, within in source.asked] == [MAX_AGE, RECENT, RECENT, RECENT]
    source = Scripted(closing, closing, closing.with_books("blue", LEFT, 4, closed=True))
    assert Gate(gate_settings("green"), source, lambda: NOW).verdict(run, wait=3).mine  # type: ignore[arg-type]
    assert clock[0] == 105


class Scripted:
    """A store that answers with these timelines, one after the other, and with the last one from then on."""

    def __init__(self, *timelines: Timeline) -> None:
        self._timelines = list(timelines)
        self.asked: list[tuple[datetime, timedelta | None]] = []

    def timeline(self, instant: datetime, *, wait: float, within: timedelta | None = None) -> Timeline:
        self.asked.append((instant, within))
        return self._timelines.pop(0) if len(self._timelines) > 1 else self._timelines[0]


@pytest.mark.parametrize("colour", COLOURS)
def test_while_books_are_closing_nobody_executes_what_is_left(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bluegreen.gate.UNDECIDED_PAUSE", 0.01)
    closing = KNOWN.with_books("blue", LEFT, 3, closed=False)
    with pytest.raises(OwnershipUnknown, match="is being passed on to another environment"):
        judge(colour, closing, wait=0.05)
    closed = closing.with_books("blue", LEFT, 4, closed=True)
    assert judge(colour, *[closing] * 8, closed, wait=1).mine == (colour == "green")


def test_a_dag_that_the_switch_did_not_know_is_the_new_owners_with_all_its_past() -> None:
    unknown = initial().switched("green", SWITCH, 2, known=["another"])
    assert judge("green", unknown).mine
    assert not judge("blue", unknown).mine


# --- lives ---


def test_what_a_former_life_owned_is_not_executed_again() -> None:
    assert not judge("blue", KNOWN, life="blue-2").mine


def test_a_retry_of_what_a_former_life_owned_fails_with_the_command() -> None:
    chosen = gate_settings("blue", life="blue-2")
    successor = Gate(chosen, Sequence(KNOWN), lambda: NOW)  # type: ignore[arg-type]
    run = Run("etl", "r", "scheduled", at(1))
    mirror = successor.verdict(run, wait=0)
    assert (mirror.mine, mirror.refused) == (False, False)
    assert mirror.reason.startswith("a former blue owns")
    retry = successor.verdict(run, wait=0, retried=True)
    assert (retry.mine, retry.refused) == (False, True)
    assert retry.reason.startswith("r of etl belonged to an environment that no longer exists")


def test_what_is_cleared_in_a_replaced_environment_that_still_owns_the_work_fails_too() -> None:
    successor = Gate(gate_settings("green", life="green-2"), Sequence(KNOWN), lambda: NOW)  # type: ignore[arg-type]
    for due in (1, 30):
        with pytest.raises(OwnershipUnknown, match="was replaced by this one"):
            successor.verdict(Run("etl", "r", "scheduled", at(due), cleared=True), wait=0)


def test_a_replaced_environment_that_still_owns_the_work_fails_its_tasks_with_the_command() -> None:
    with pytest.raises(OwnershipUnknown, match=r"was replaced by this one.*mwaactl switch green"):
        judge("green", KNOWN, life="green-2")


# --- Airflow's DAG runs ---


def dag_run(**attributes: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{"dag_id": "etl", "run_id": "r", "run_type": "scheduled", "start_date": at(9)} | attributes
    )


@pytest.mark.parametrize(("after", "end"), [(5, 5), (5, 6), (5, None), (7, 5)])
def test_airflow_3_names_the_due_instant(after: float, end: float | None) -> None:
    """The earlier of the two: there is no interval with CronPartitionTimetable."""
    interval_end = None if end is None else at(end)
    run = describe(dag_run(run_after=at(after), data_interval_end=interval_end, clear_number=0))
    assert run == Run("etl", "r", "scheduled", at(5), started=at(9))


def test_in_airflow_2_the_end_of_the_data_interval_is_the_due_instant() -> None:
    assert describe(dag_run(data_interval_end=at(5), clear_number=None)).due == at(5)


@pytest.mark.parametrize(("end", "after"), [(4, 4), (4, 9), (5, 9)])
def test_a_run_that_may_start_late_belongs_to_one_side_also_between_airflow_2_and_3(
    end: float, after: float, tmp_path: Path
) -> None:
    """Seen: executed by blue 2.11.2 and green 3.3.1, as the switch lay between the two instants."""
    on_2, on_3 = dag_run(data_interval_end=at(end)), dag_run(data_interval_end=at(end), run_after=at(after))
    blue = gate("blue", tmp_path).verdict(describe(on_2), wait=0)
    green = gate("green", tmp_path).verdict(describe(on_3), wait=0)
    assert blue.mine != green.mine


def test_when_it_was_queued_again_is_when_it_was_cleared() -> None:
    known = {"run_after": at(5), "queued_at": at(7)}
    assert describe(dag_run(clear_number=1, **known)).cleared_at == at(7)
    assert describe(dag_run(clear_number=0, **known)).cleared_at is None
    assert describe(dag_run(clear_number=1, start_date=None, **known)).cleared_at == at(7)


def test_what_is_cleared_while_the_run_is_at_work_belongs_to_what_began_then(tmp_path: Path) -> None:
    """Airflow 3.2 and later count such a clear and note its time, but only the scheduler knows that."""
    drains = {"run_after": at(1), "clear_number": 1, "start_date": at(2)}
    for more in ({"queued_at": at(9)}, {}):
        assert executed_by(describe(dag_run(**drains, **more)), tmp_path) == ["blue"]


@pytest.mark.parametrize("by_a_schedule", [True, False])
def test_in_airflow_2_a_run_that_no_schedule_made_was_made_here_whatever_its_type(
    by_a_schedule: bool, tmp_path: Path
) -> None:
    run = describe(dag_run(data_interval_end=at(30), external_trigger=not by_a_schedule))
    assert run.made_here is not by_a_schedule
    assert executed_by(run, tmp_path) == (["green"] if by_a_schedule else ["blue", "green"])


def test_a_run_type_may_be_an_enum() -> None:
    assert describe(dag_run(run_type=SimpleNamespace(value="manual"), run_after=None)).kind == "manual"


def test_a_run_with_a_clear_number_was_cleared() -> None:
    assert describe(dag_run(run_after=at(5), clear_number=2)).cleared


@pytest.mark.parametrize(
    ("attributes", "produced"),
    [
        ({"consumed_asset_events": [SimpleNamespace(source_dag_id="producer")]}, True),
        (
            {
                "consumed_asset_events": [
                    SimpleNamespace(source_dag_id="producer"),
                    SimpleNamespace(source_dag_id=None, extra={"from_rest_api": True}),
                ]
            },
            True,  # otherwise, the producer's would be lost
        ),
        ({"consumed_asset_events": [SimpleNamespace(extra={"from_trigger": True})]}, True),
        ({"consumed_asset_events": [SimpleNamespace(extra={"from_rest_api": True})]}, False),
        ({"consumed_asset_events": [SimpleNamespace(extra=None)]}, False),
        ({"consumed_asset_events": []}, False),
        ({}, False),
    ],
)
def test_a_run_is_caused_here_if_a_task_or_a_watcher_sent_one_of_its_events(
    attributes: dict[str, Any], produced: bool
) -> None:
    assert describe(dag_run(run_type="asset_triggered", run_after=at(5), **attributes)).made_here is produced


def test_in_airflow_2_the_context_knows_the_events() -> None:
    events = {"s3://a": [SimpleNamespace(source_dag_id="producer")]}
    run = dag_run(run_type="dataset_triggered", data_interval_end=at(5))
    assert describe(run, {"triggering_dataset_events": events}).made_here
    assert not describe(run, {"triggering_dataset_events": {}}).made_here


# --- settings, and what DAG authors may ask ---


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    settings.load.cache_clear()
    for name, value in GATE_OPTIONS.items():
        monkeypatch.setenv(f"AIRFLOW__BLUEGREEN__{name}", value)
    for name in ("MAX_AGE_SECONDS", "WAIT_SECONDS"):
        monkeypatch.setenv(f"AIRFLOW__BLUEGREEN__{name}", "")
    return monkeypatch


def test_settings_come_from_airflows_configuration(options: pytest.MonkeyPatch) -> None:
    options.setenv("AIRFLOW__BLUEGREEN__WAIT_SECONDS", "2.5")
    options.setenv("AIRFLOW__BLUEGREEN__HOSTS", "7")
    assert settings.load() == gate_settings("green", wait=timedelta(seconds=2.5), hosts=7)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ENVIRONMENT", "", r"AIRFLOW__BLUEGREEN__ENVIRONMENT\) is not set"),
        ("LIFE", "", r"AIRFLOW__BLUEGREEN__LIFE\) is not set"),
        ("BUCKET", "", r"AIRFLOW__BLUEGREEN__BUCKET\) is not set"),
        ("ENVIRONMENT", "red", "is 'red', not blue or green"),
        ("PARAMETER", " ", r"AIRFLOW__BLUEGREEN__PARAMETER\) is not set"),
        (
            "WAIT_SECONDS",
            "soon",
            "bluegreen.wait_seconds must be a number of seconds from 0 to 86400, not 'soon'",
        ),
        ("WAIT_SECONDS", "-1", "bluegreen.wait_seconds must be"),
        ("MAX_AGE_SECONDS", "nan", "bluegreen.max_age_seconds must be"),
        ("HOSTS", "0", "bluegreen.hosts must be a whole number from 1 to 1000, not '0'"),
        ("HOSTS", "many", "bluegreen.hosts must be"),
    ],
)
def test_wrong_settings_are_named(name: str, value: str, complaint: str, options: pytest.MonkeyPatch) -> None:
    options.setenv(f"AIRFLOW__BLUEGREEN__{name}", value)
    with pytest.raises(SettingsError, match=complaint):
        settings.load()


def test_a_dag_author_can_ask_who_owns_the_work(options: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = Store(settings.load(), always(TIMELINE, 2, T), tmp_path)
    options.setattr(store, "store", lambda _: source)
    assert bluegreen.owner(instant=at(1)) == "blue"
    assert bluegreen.owner() == "green"
    assert bluegreen.is_active()
    assert not bluegreen.is_active("serial")
    with pytest.raises(ValueError, match="needs a time zone"):
        bluegreen.owner(instant=datetime(2025, 11, 23))  # noqa: DTZ001 - that is the mistake


def test_a_dag_file_that_imports_it_loads_nothing_of_aws() -> None:
    """Importing is free and asks nobody: only a call does."""
    program = "import sys; from bluegreen import is_active, owner; print('botocore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_past_of_a_new_dag_is_not_executed_with_a_copy_from_before_the_switch(tmp_path: Path) -> None:
    """The DAG appears on both sides (catchup) 30 s after a switch, which did not know it, took effect. A host
    of blue has a copy from 10 s before the switch, which is less than MAX_AGE old."""
    now, clock = SWITCH + timedelta(seconds=30), [(SWITCH - timedelta(seconds=10)).timestamp()]
    stored = [initial()]
    gates = {}
    for colour in COLOURS:
        chosen = gate_settings(colour)

        def read(known: Any) -> Any:
            return always(stored[0], stored[0].base_version + 1, T)(known)

        source = Store(chosen, read, tmp_path / colour, lambda: clock[0])
        gates[colour] = Gate(chosen, source, lambda: now)
    assert gates["blue"].verdict(Run("etl", "r", "scheduled", at(0)), wait=0).mine, "blue reads"
    stored[0] = initial().switched("green", SWITCH, 2, known=["etl"])
    clock[0] = now.timestamp()
    backlog = Run("new", "r", "scheduled", at(-600))
    assert [colour for colour in COLOURS if gates[colour].verdict(backlog, wait=0).mine] == ["green"]


def test_what_failed_until_a_replaced_owner_was_made_the_owner_is_not_skipped_in_silence(
    tmp_path: Path,
) -> None:
    """blue-2 replaced blue-1, which owned the work. A run due then failed on blue-2 and named the command
    `mwaactl switch blue`; its retry, after that command, skips."""
    chosen = gate_settings("blue", life="blue-2", max_age=timedelta(days=1))
    timeline = initial().seen_with({"blue": "blue-2"}).switched("blue", SWITCH, 2, known=["etl"])
    clock = NOW.timestamp
    failing = Gate(chosen, Store(chosen, always(initial(), 1, T), tmp_path / "1", clock), lambda: NOW)
    run = Run("etl", "r", "scheduled", at(4))
    with pytest.raises(OwnershipUnknown, match="mwaactl switch blue"):
        failing.verdict(run, wait=0)
    after = Gate(chosen, Store(chosen, always(timeline, 2, T), tmp_path / "2", clock), lambda: NOW)
    verdict = after.verdict(run, wait=0, retried=True)
    assert verdict.mine or verdict.refused


class Unasked:
    """A DAG run whose asset events must not be asked for: that takes a call of the database."""

    dag_id, run_id, start_date, end_date = "etl", "r", at(9), None

    def __init__(self, kind: str) -> None:
        self.run_type = kind

    @property
    def consumed_asset_events(self) -> list[Any]:
        raise AssertionError("asked")


@pytest.mark.parametrize("kind", ["scheduled", "manual", "backfill", "anything"])
def test_only_a_run_that_follows_assets_is_asked_for_its_events(kind: str) -> None:
    run = describe(Unasked(kind))
    assert (run.made_here, run.cleared) == (False, False)


def test_the_reason_tells_what_was_triggered_from_what_followed_an_asset(tmp_path: Path) -> None:
    reasons = [
        gate("green", tmp_path).verdict(Run("etl", "r", kind, at(1), made_here=True), wait=0).reason
        for kind in ("scheduled", "asset_triggered")
    ]
    assert reasons == [
        "it was triggered here, so it is executed here",
        "it was caused by what ran here, so it is executed here",
    ]
