"""Closing the books: recording that a side has drained, and what it left.

Until then what was due before the switch stays its own, so that it may finish it. Afterwards what it created
no run for (the past of a paused DAG) belongs to the new owner, and only then may the side be updated,
replaced or removed. Nothing may be executed twice on the way, so what is left changes hands in two writes:
first it is nobody's (*closing*), and when every process of the old side knows that, it is the new owner's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from bluegreen.settings import MAX_AGE, RECENT
from bluegreen.timeline import Book, Colour, Timeline, other_colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run
from mwaactl.airflow.notes import was_rerun
from mwaactl.airflow.rerun import clear_run
from mwaactl.ownership.parameter import Ownership, Snapshot, aws_now


class Books:
    """Closes the books of the other side than `target`: of these DAGs, or of all of them (none named)."""

    def __init__(self, ownership: Ownership, target: Colour, dags: tuple[str, ...] = ()) -> None:
        self._ownership, self._target, self._dags = ownership, target, dags
        self._source = other_colour(target)
        self._closing_since: datetime | None = None  # when this command first saw them closing

    def closed(self, timeline: Timeline) -> bool:
        """Whether there is nothing to close."""
        return all(book.entry.closed for book in self._books(timeline))

    def step(self, snapshot: Snapshot, dags: Mapping[str, Dag], *, drained: bool) -> timedelta | None:
        """Go one step on, from a snapshot and the source's DAGs, read after it.

        Returns for how long to wait at least; None if there is nothing to do before the source is drained, or
        when the books are closed. Raises LostRace, Unfinished, Unreachable.
        """
        timeline = snapshot.timeline
        begun = any(book.entry.left is not None and not book.entry.closed for book in self._books(timeline))
        if self.closed(timeline) or not (begun or drained):
            return None
        if not drained:
            # A DAG was unpaused meanwhile, and its runs on both sides wait: they are the source's again.
            self._write(snapshot, self._marked(snapshot, None, closed=False), "open again")
            return None
        left = not_created(dags)
        closing = self._marked(snapshot, left, closed=False)
        leaves = any(book.entry.left for book in self._books(closing))
        if leaves and self._books(closing) != self._books(timeline):
            self._closing_since = None  # from now on: others may have opened them again in the meantime
            self._write(snapshot, closing, "closing")
            return self._wait(snapshot, closing)
        wait = self._wait(snapshot, timeline) if leaves else timedelta(0)
        if wait <= timedelta(0):
            self._write(snapshot, self._marked(snapshot, left, closed=True), "closed")
            return None
        return wait

    def _wait(self, snapshot: Snapshot, timeline: Timeline) -> timedelta:
        """Until no process of the source can hold a copy in which what is left is still its own."""
        now = aws_now(snapshot, self._ownership.lead)
        self._closing_since = self._closing_since or now
        begun = max(book.entry.since for book in self._books(timeline))
        return max(begun + MAX_AGE, self._closing_since + RECENT + timeline.lead) - now

    def _books(self, timeline: Timeline) -> tuple[Book, ...]:
        books = timeline.books(self._source)
        return tuple(book for book in books if not self._dags or (book.own and book.dag_id in self._dags))

    def _marked(self, snapshot: Snapshot, left: Mapping[str, datetime] | None, *, closed: bool) -> Timeline:
        version = snapshot.top + 1
        return snapshot.timeline.with_books(self._source, left, version, closed=closed, dags=self._dags)

    def _write(self, snapshot: Snapshot, timeline: Timeline, state: str) -> None:
        self._ownership.write(snapshot, timeline, f"mwaactl: {self._source}'s books are {state}")

    def execute_left(self, timeline: Timeline, api: AirflowApi) -> int:
        """Clear the target's mirrors of what was left, which it owns now; return their number.

        Its scheduler has created and skipped them before the books were closed. Raises Unreachable.
        """
        found: dict[tuple[str, str], Run] = {}  # the books of one DAG and of all may name the same run
        entries = {id(book.entry): book.entry for book in self._books(timeline)}
        if not self._dags:  # a decision that is a week old begins the timeline: no book of it is left
            entries[id(timeline.owners[0])] = timeline.owners[0]
        for entry in entries.values():
            if left := entry.left:
                found |= {
                    run.key: run
                    for run in api.scheduled_runs(min(left.values()), entry.since, set(left))
                    if run.due is not None
                    and run.due >= left[run.dag_id]
                    and timeline.owner(run.due, run.dag_id) == self._target
                    and run.state == "success"
                    and not was_rerun(run)
                }
        candidates = list(found.values())
        tasks = api.task_instances(candidates)
        skipped = [run for run in candidates if tasks[run.key] and all(t.passed_over for t in tasks[run.key])]
        for run in skipped:
            clear_run(api, run, self._target, f"{self._source} had left it")
        return len(skipped)


def not_created(dags: Mapping[str, Dag]) -> dict[str, datetime]:
    """By DAG, the instant from which on its environment has created no runs."""
    return {dag_id: dag.next_due for dag_id, dag in dags.items() if dag.next_due is not None}
