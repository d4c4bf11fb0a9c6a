"""Closing the books: recording that a side has drained, and what it left.

Until then what was due before the switch stays its own, so that it may finish it. Afterwards what it created
no run for (the past of a paused DAG) belongs to the new owner, and only then may the side be updated,
replaced or removed. Nothing may be executed twice on the way, so what is left changes hands in two writes:
first it is nobody's (*closing*), and when every process of the old side knows that, it is the new owner's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from bluegreen.settings import MAX_AGE, RECENT
from bluegreen.timeline import Colour, Entry, Timeline, other_colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run, TaskInstance
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
        return all(
            book.entry.closed
            for book in timeline.books(self._source)
            if not self._dags or book.dag_id in self._dags
        )

    def close(self, snapshot: Snapshot, dags: Mapping[str, Dag]) -> str | None:
        """Go one step on, from a snapshot and the DAGs of a drained source, read after it.

        Returns what it waits for, None once they are closed. Raises LostRace, Unfinished, Unreachable.
        """
        timeline, now = snapshot.timeline, aws_now(snapshot, self._ownership.lead)
        if self.closed(timeline):
            return None
        left = {dag_id: dag.next_due for dag_id, dag in dags.items() if dag.next_due is not None}
        closing = self._marked(snapshot, left, closed=False)
        if not any(book.entry.left for book in closing.books(self._source)):
            self._write(snapshot, self._marked(snapshot, left, closed=True))
            return None
        if _decided(closing, self._source) != _decided(timeline, self._source):
            self._write(snapshot, closing)
            self._closing_since = self._closing_since or now
            return self._waiting(now, closing)
        self._closing_since = self._closing_since or now
        if waiting := self._waiting(now, timeline):
            return waiting
        self._write(snapshot, self._marked(snapshot, left, closed=True))
        return None

    def _waiting(self, now: datetime, timeline: Timeline) -> str | None:
        """What is left to wait for: some process of the source may still hold an older copy."""
        begun = max(book.entry.since for book in timeline.books(self._source))
        known = max(begun + MAX_AGE, (self._closing_since or now) + RECENT + timeline.lead)
        if now >= known:
            return None
        return f"until every process of {self._source} knows: {(known - now).total_seconds():.0f} s"

    def _marked(self, snapshot: Snapshot, left: Mapping[str, datetime], *, closed: bool) -> Timeline:
        return snapshot.timeline.with_books(
            self._source, left, snapshot.top + 1, closed=closed, dags=self._dags
        )

    def _write(self, snapshot: Snapshot, timeline: Timeline) -> None:
        state = "closed" if self.closed(timeline) else "closing"
        self._ownership.write(snapshot, timeline, f"mwaactl: {self._source}'s books are {state}")

    def execute_left(self, timeline: Timeline, api: AirflowApi) -> int:
        """Clear the target's mirrors of what was left, which it owns now; return their number.

        Its scheduler has created and skipped them before the books were closed. Raises Unreachable.
        """
        candidates: list[Run] = []
        for book in timeline.books(self._source):
            left = book.entry.left if book.entry.closed else None
            if left:
                candidates += [
                    run
                    for run in api.scheduled_runs(min(left.values()), book.entry.since, set(left))
                    if run.due is not None
                    and run.due >= left[run.dag_id]
                    and timeline.owner(run.due, run.dag_id) == self._target
                    and run.state == "success"
                    and not was_rerun(run)
                ]
        tasks = api.task_instances(candidates)
        skipped = [run for run in candidates if tasks[run.key] and not any(map(_done, tasks[run.key]))]
        for run in skipped:
            clear_run(api, run, self._target, f"{self._source} had left it")
        return len(skipped)


def _done(task: TaskInstance) -> bool:
    return task.started or task.state not in ("skipped", "removed")


def _decided(timeline: Timeline, source: Colour) -> list[Entry]:
    return [book.entry for book in timeline.books(source)]
