"""A model of the whole life of two environments: each (DAG, instant) is executed once over all lives.

Modelled: two sides whose schedulers create each DAG's runs in order (catchup=True), mirrors included; DAGs
that come, go, pause and have a backlog; runs that take time; environments that are removed, added and
replaced, with an empty database; switches, also of single DAGs and with DAGs held back, that are waited for
or not; books that are closed as `mwaactl` does, in two writes, with anything happening in between. Readers
are up to date: `test_timeline_model` has the copies that are not. An environment is touched only where the
guard allows it.

Never twice, at any time; and once, when in the end all is unpaused and drained, of each DAG whose file was
never taken away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from bluegreen import document
from bluegreen.document import dump
from bluegreen.timeline import COLOURS, Colour, Timeline, other_colour
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fakes.timeline import parsed

START = datetime(2026, 11, 1, tzinfo=UTC)
PERIODS = {"a": 2, "b": 3, "c": 5}  # steps between two instants of a DAG
SERIAL = "b"  # it must not overlap itself
BACKLOG = 12  # steps before its first appearance that a DAG catches up
DAG = st.sampled_from(sorted(PERIODS))
COLOUR = st.sampled_from(COLOURS)


def at(step: int) -> datetime:
    return START + timedelta(minutes=step)


@dataclass
class Side:
    """One life of an environment: its database."""

    colour: Colour
    life: str
    made: dict[str, int] = field(default_factory=dict)  # the last instant of each DAG that it created
    running: dict[tuple[str, int], int] = field(default_factory=dict)  # steps of work left
    skipped: set[tuple[str, int]] = field(default_factory=set)
    undecided: set[tuple[str, int]] = field(default_factory=set)


class Lives(RuleBasedStateMachine):
    """Keeps the ledger of executions, and compares it with the instants that there were."""

    @initialize(appear=st.sets(DAG, min_size=1), paused=st.sets(DAG))
    def deploy(self, appear: set[str], paused: set[str]) -> None:
        self.now, self.births = BACKLOG, 0
        self.sides: dict[Colour, Side] = {}
        self.starts: dict[str, int] = {}  # the DAGs that have a file, and the first instant of each
        self.paused: set[str] = set()
        self.executed: dict[tuple[str, int], str] = {}
        self.closing_waits = 0
        self.interrupted: set[str] = set()  # DAGs whose file was taken away: with it, part of their past
        self.create("blue")
        self.version = 1
        self.timeline = Timeline.initial("blue", self.sides["blue"].life)
        self.create("green")
        for dag in sorted(appear):
            self.a_dag_appears(dag)
        self.paused = paused

    def create(self, colour: Colour) -> None:
        self.births += 1
        self.sides[colour] = Side(colour, f"{colour}-{self.births}")

    def seen(self) -> Timeline:
        return self.timeline.seen_with({colour: side.life for colour, side in self.sides.items()})

    def write(self, timeline: Timeline) -> None:
        """Through a document: what is forgotten is part of the model."""
        document = dump(timeline, at(self.now))
        contents = {document.name: document.content or ""}
        self.timeline = parsed(document.value, contents.__getitem__)
        self.version += 1

    @property
    def owner(self) -> Colour:
        return self.timeline.newest().owner

    # --- DAGs ---

    @rule(dag=DAG)
    def a_dag_appears(self, dag: str) -> None:
        self.starts.setdefault(dag, max(0, self.now - BACKLOG) // PERIODS[dag] * PERIODS[dag])

    @rule(dag=DAG)
    def a_dag_disappears(self, dag: str) -> None:
        if dag in self.starts and not any(d == dag for side in self.sides.values() for d, _ in side.running):
            self.interrupted.add(dag)
            self.starts = {d: start for d, start in self.starts.items() if d != dag}

    @rule(dag=DAG)
    def a_dag_is_paused_or_not(self, dag: str) -> None:
        self.paused ^= {dag}

    # --- schedulers and workers ---

    def next_due(self, side: Side, dag: str) -> int:
        return (
            max(side.made.get(dag, -1) + PERIODS[dag], self.starts[dag])
            if dag in side.made
            else self.starts[dag]
        )

    def schedule(self, side: Side, runs: int, seconds: int) -> None:
        """Create up to `runs` runs of each DAG, as far as they are due."""
        for dag in self.starts:
            for _ in range(runs):
                due = self.next_due(side, dag)
                serial_busy = dag == SERIAL and any(
                    d == dag for d, _ in {**side.running, **dict.fromkeys(side.undecided, 0)}
                )
                if dag in self.paused or due > self.now or serial_busy:
                    break
                side.made[dag] = due
                self.judge(side, (dag, due), seconds)

    def judge(self, side: Side, run: tuple[str, int], seconds: int) -> None:
        claim = self.timeline.claim(at(run[1]), run[0])
        side.undecided.discard(run)
        if claim.undecided:
            side.undecided.add(run)
        elif not claim.over and claim.entry is not None and claim.entry.owned_by == (side.colour, side.life):
            self.execute(side, run, seconds)
        else:
            side.skipped.add(run)

    def execute(self, side: Side, run: tuple[str, int], seconds: int) -> None:
        account = f"{side.life} at {self.now}"
        assert run not in self.executed, f"{run}: {account}, but already {self.executed[run]}"
        self.executed[run] = account
        side.running[run] = seconds

    @rule(steps=st.integers(1, 6), runs=st.integers(1, 4), seconds=st.integers(0, 4), busy=COLOUR)
    def time_passes(self, steps: int, runs: int, seconds: int, busy: Colour) -> None:
        for _ in range(steps):
            self.now += 1
            self.closing_waits = max(0, self.closing_waits - 1)
            for colour, side in self.sides.items():
                side.running = {run: left - 1 for run, left in side.running.items() if left > 0}
                for run in sorted(side.undecided):
                    self.judge(side, run, seconds)
                self.schedule(side, runs, seconds if colour == busy else 0)

    @rule(steps=st.integers(1, 9))
    def an_idle_time_passes(self, steps: int) -> None:
        self.time_passes(steps=steps, runs=4, seconds=0, busy="blue")

    # --- operators ---

    def busy(self, side: Side, dag: str) -> bool:
        """Whether a serial DAG must stay where it is."""
        if any(d == dag for d, _ in (*side.running, *side.undecided)):
            return True
        return dag in self.starts and dag not in self.paused and self.next_due(side, dag) <= self.now + 1

    def everything(self) -> set[str]:
        """The DAGs that a side has or had."""
        return {dag for side in self.sides.values() for dag in side.made} | set(self.starts)

    @precondition(lambda self: len(self.sides) == 2)
    @rule()
    def switch(self) -> None:
        target = other_colour(self.owner)
        since, version = at(self.now) + timedelta(seconds=30), self.version + 1
        decided = self.seen().switched(target, since, version, known=self.everything())
        if (
            SERIAL in self.starts
            and self.timeline.newest(SERIAL).owner != target
            and self.busy(self.sides[self.owner], SERIAL)
        ):
            decided = decided.dag_moved(SERIAL, self.owner, since, version)
        self.write(decided)

    @precondition(lambda self: len(self.sides) == 2)
    @rule(dag=DAG)
    def move_one(self, dag: str) -> None:
        """A canary, its way back, or a held DAG that follows."""
        owner = self.timeline.newest(dag).owner
        if (
            dag not in self.starts
            or owner not in self.sides
            or (dag == SERIAL and self.busy(self.sides[owner], dag))
        ):
            return
        since = at(self.now) + timedelta(seconds=30)
        self.write(self.seen().dag_moved(dag, other_colour(owner), since, self.version + 1))

    # --- closing the books ---

    def drained(self, source: Side) -> bool:
        timeline = self.seen()
        newest = timeline.newest().since
        apart = [dag for dag in self.starts if timeline.newest(dag).owner == source.colour]
        behind = [d for d in self.starts if d not in self.paused and at(self.next_due(source, d)) < newest]
        return not (source.running or source.undecided or apart or behind or newest > at(self.now))

    def left(self, source: Side) -> dict[str, datetime]:
        return {dag: at(self.next_due(source, dag)) for dag in self.starts}

    @precondition(lambda self: len(self.sides) == 2)
    @rule(waits=st.integers(1, 4))
    def wait_until_drained(self, waits: int) -> None:
        for _ in range(waits):
            self.close_books()
            self.time_passes(steps=2, runs=4, seconds=0, busy="blue")

    @precondition(lambda self: len(self.sides) == 2)
    @rule()
    def close_books(self) -> None:
        """One step of `mwaactl switch --wait`: closing first, then closed, if nothing has changed."""
        source = self.sides[other_colour(self.owner)]
        timeline = self.seen()
        begun = any(b.entry.left is not None and not b.entry.closed for b in timeline.books(source.colour))
        if not timeline.open_books(source.colour) or not (self.drained(source) or begun):
            return
        left, version = self.left(source), self.version + 1
        closing = timeline.with_books(source.colour, left, version, closed=False)
        leaves = any(book.entry.left for book in closing.books(source.colour))
        if not self.drained(source):
            self.write(timeline.with_books(source.colour, None, version, closed=False))
        elif leaves and list(closing.books(source.colour)) != list(timeline.books(source.colour)):
            self.write(closing)
            self.closing_waits = 1
        elif not (leaves and self.closing_waits):
            self.write(timeline.with_books(source.colour, left, version, closed=True))
            self.execute_left(source.colour)

    def execute_left(self, source: Colour) -> None:
        target = self.sides[other_colour(source)]
        # a decision that is old enough begins the timeline, so it is in no book
        entries = [self.timeline.owners[0], *(book.entry for book in self.seen().books(source))]
        for run in sorted(target.skipped):
            claim = self.timeline.claim(at(run[1]), run[0])
            left = any(
                entry.left and run[0] in entry.left and at(run[1]) >= entry.left[run[0]] for entry in entries
            )
            if left and claim.entry is not None and claim.entry.owned_by == (target.colour, target.life):
                target.skipped.discard(run)
                self.execute(target, run, 0)

    # --- environments ---

    @rule(colour=COLOUR)
    def an_environment_is_replaced(self, colour: Colour) -> None:
        """As far as the guard allows."""
        if colour in self.sides and self.may_go(colour):
            self.create(colour)

    @rule(colour=COLOUR)
    def an_environment_is_removed_or_added(self, colour: Colour) -> None:
        if colour not in self.sides:
            self.create(colour)
        elif self.may_go(colour):
            del self.sides[colour]

    def may_go(self, colour: Colour) -> bool:
        timeline = self.seen()
        owners = {timeline.newest(dag).owner for dag in (None, *timeline.dags)}
        return colour not in owners and not timeline.open_books(colour)

    # --- the end ---

    def teardown(self) -> None:
        self.paused = set()
        for _ in range(400):
            self.an_idle_time_passes(steps=6)
            for dag in sorted(self.starts):
                if self.timeline.newest(dag).owner != self.owner:
                    self.move_one(dag)
            if len(self.sides) == 2:
                self.close_books()
            behind = [
                d
                for side in self.sides.values()
                for d in self.starts
                if self.next_due(side, d) < self.now - 9
            ]
            if not behind and not any(self.seen().open_books(colour) for colour in self.sides):
                break
        self.an_idle_time_passes(steps=9)
        for dag in self.starts.keys() - self.interrupted:
            due = range(self.starts[dag], self.now - 9, PERIODS[dag])
            assert [each for each in due if (dag, each) not in self.executed] == [], dag


def test_each_instant_is_executed_once_over_all_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "REMEMBERED", timedelta(minutes=8))
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
