"""Any number of writers, interleaved at every call to AWS, leave one line of ownership for every reader."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from bluegreen.timeline import Colour, Timeline, valid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwaactl import clock as mwaactl_clock
from mwaactl.airflow.models import Dag, Run
from mwaactl.errors import ControlError, LostRace, Unfinished, Unreachable
from mwaactl.ownership.parameter import aws_now
from mwaactl.ownership.reading import newest_owner
from mwaactl.switching.held_dags import Activity, Watch
from mwaactl.switching.plan import SwitchPlan
from mwaactl.switching.write import SwitchResult, carry_out
from tests.fakes.airflow.api import api_of
from tests.fakes.aws.clients import LEAD, FakeClients, deployment, fresh_clients, standing
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP
from tests.fakes.clock import Clock
from tests.fakes.timeline import parsed

LEAD_TIME = timedelta(seconds=LEAD)


@dataclass
class Writer:
    """An operator's command in a thread; it stops before each call to AWS until it is its turn."""

    target: Colour
    dags: tuple[str, ...]  # that move alone; none: all
    skew: timedelta  # this machine's clock minus AWS's
    busy: bool = False  # whether the DAG weekly, which must not overlap itself, has an unfinished run
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    waiting: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    result: SwitchResult | None = None
    error: ControlError | None = None
    crash: BaseException | None = None


class Watched(Watch):
    """The side that the work leaves, with nothing but the DAG weekly."""

    def __init__(self, busy: bool) -> None:
        api, _ = api_of({"/pools": {"pools": [], "total_entries": 0}, "/dags/weekly/tasks": {"tasks": []}}, 3)
        super().__init__(api, api)
        self._busy = busy

    def ready(self, *_: Any) -> Activity:
        return self.look()

    def look(self) -> Activity:
        weekly = Dag(dag_id="weekly", paused=False, max_active_runs=1)
        run = Run(dag_id="weekly", run_id="r", type="manual", state="running", due=None, start=None, end=None)
        return Activity({"weekly": weekly}, {"weekly": (run,)} if self._busy else {})


class Stage:
    """Runs the writers one call at a time."""

    def __init__(self, writers: list[Writer], puts: list[str]) -> None:
        self.writers, self.local = writers, threading.local()
        self.aws: FakeClients = fresh_clients(clock=Clock())
        self.aws.ssm.puts = [*puts]
        self.aws.ssm.before = self._wait
        self.aws.ssm.user = lambda: f"writer {self.writers.index(self.local.writer)}"

    def now(self) -> datetime:
        writer: Writer | None = getattr(self.local, "writer", None)
        return self.aws.ssm.clock.now + (writer.skew if writer else timedelta(0))

    def _wait(self, operation: str) -> None:
        writer: Writer | None = getattr(self.local, "writer", None)
        if writer is not None:
            writer.waiting.set()
            assert writer.turn.acquire(timeout=10)

    def start(self, writer: Writer) -> threading.Thread:
        def run() -> None:
            self.local.writer = writer
            try:
                writer.result = carry_out(self._plan(writer))
            except ControlError as error:
                writer.error = error
            except BaseException as error:  # noqa: BLE001 - shown by the test, which runs in another thread
                writer.crash = error
            finally:
                writer.done = True
                writer.waiting.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert writer.waiting.wait(10)
        return thread

    def _plan(self, writer: Writer) -> SwitchPlan:
        stack = deployment(self.aws)
        before = stack.ownership.read()
        return SwitchPlan(
            deployment=stack,
            before=before,
            target=writer.target,
            lead=LEAD_TIME,
            checks=(),
            notes=(),
            now=aws_now(before, LEAD_TIME),
            dags=writer.dags,
            watch=Watched(writer.busy),
        )

    def step(self, writer: Writer) -> bool:
        """Let the writer make one call; True when its command has ended."""
        writer.waiting.clear()
        writer.turn.release()
        assert writer.waiting.wait(10)
        return writer.done

    def deliver(self) -> bool:
        """Let a late put arrive; True, since there may be no second one."""
        self.aws.ssm.deliver()
        return True


WRITERS = st.lists(
    st.tuples(
        st.sampled_from(["blue", "green"]),
        st.sampled_from([(), (), ("daily",), ("daily", "weekly")]),
        st.floats(-LEAD / 2, LEAD / 2),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
PUTS = st.lists(st.sampled_from(["stored", "stored", "unanswered", "late"]), max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writers=WRITERS, puts=PUTS, choose=st.data())
def test_any_interleaving_of_writers_leaves_one_line_of_ownership(
    writers: list[tuple[Colour, tuple[str, ...], float, bool]], puts: list[str], choose: st.DataObject
) -> None:
    # A microsecond apart: two writers with the very same decision at the very same time are not told apart.
    skews = [timedelta(seconds=skew, microseconds=number) for number, (*_, skew, _) in enumerate(writers)]
    made = [
        Writer(target, dags, skew, busy) for (target, dags, _, busy), skew in zip(writers, skews, strict=True)
    ]
    stage = Stage(made, puts)
    ssm = stage.aws.ssm
    readings: list[tuple[datetime, Timeline]] = [(ssm.clock.now, standing(stage.aws))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mwaactl_clock, "now", stage.now)
        patch.setattr(mwaactl_clock, "sleep", lambda seconds: None)
        threads = [stage.start(writer) for writer in stage.writers]
        while True:
            moves: list[Callable[[], bool]] = [
                partial(stage.step, writer) for writer in stage.writers if not writer.done
            ]
            if ssm.late:
                moves.append(stage.deliver)
            if not moves:
                break
            ssm.clock.forward(choose.draw(st.sampled_from([0.0, 0.5, 4.0, 30.0]), "time passes"))
            who = moves[choose.draw(st.integers(0, len(moves) - 1), "who")]
            for _ in range(choose.draw(st.sampled_from([1, 2, 3, 12]), "steps")):  # others pause
                if who():
                    break
            readings.append((ssm.clock.now, standing(stage.aws)))
        for thread in threads:
            thread.join(10)

    for writer in stage.writers:
        assert writer.crash is None
        assert writer.error is None or isinstance(writer.error, LostRace | Unfinished | Unreachable)

    # What a reader was ever told about an instant that had come by then is what every later reader is told.
    lines = [line for _, timeline in readings for line in (timeline.owners, *timeline.dags.values())]
    marks = {entry.since for line in lines for entry in line} | {at for at, _ in readings}
    instants = sorted(mark + timedelta(milliseconds=ms) for mark in marks for ms in (-1, 0, 1))
    final = readings[-1][1]
    for at, timeline in readings:
        for instant in (instant for instant in instants if instant <= at):
            for dag_id in (None, "daily", "weekly"):
                assert timeline.owner(instant, dag_id) == final.owner(instant, dag_id)

    # Success means that the decision counts, and nothing else does.
    authors = {record["Version"]: record["LastModifiedUser"] for record in ssm.stored[OWNERSHIP]}
    versions = {record["Version"]: parsed(record["Value"]) for record in ssm.stored[OWNERSHIP]}
    counted = {version for version, timeline in versions.items() if valid(timeline, version)}
    for number, writer in enumerate(stage.writers):
        if writer.result is not None and writer.result.changed:
            assert writer.result.version in counted
            assert authors[writer.result.version] == f"writer {number}"
            if writer.result.version == max(counted):
                entries = [entry for line in (final.owners, *final.dags.values()) for entry in line]
                since = {entry.since for entry in entries if entry.version == writer.result.version}
                assert since == {writer.result.owns_from}
                held = {one.dag_id for one in writer.result.held}
                concerned: set[str | None] = {*writer.dags} or {None, *final.dags}
                for line in concerned - held:
                    assert newest_owner(final, line) == writer.target
                for dag_id in held:
                    assert newest_owner(final, dag_id) != writer.target
    assert {entry.version for line in (final.owners, *final.dags.values()) for entry in line} <= counted

    # With every outcome known, the plain parameter agrees in the end.
    if all(not isinstance(writer.error, Unfinished) for writer in stage.writers):
        assert ssm.values(ACTIVE)[-1] == newest_owner(final)
