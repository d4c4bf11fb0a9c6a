"""Final states during a drain: each mirror receives them as soon as its own original has ended.

Originals are on either side: work that was switched to and back leaves mirrors on both. What ends on the
source while it is watched is copied first. A *survey* lists both sides and finds the rest: what ended before,
and what an earlier switch left. Mirrors tell by their notes what they have received.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import chain
from typing import NamedTuple

from bluegreen.timeline import Colour, Timeline, from_the_beginning, other_colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.airflow.notes import copied_note
from mwaactl.ownership.reading import turn
from mwaactl.switching.mirrors import (
    PER_DAG,
    TICK,
    Attempts,
    MirrorResult,
    UncopiedRun,
    copy_final_states,
    due_of,
    is_right,
    newest,
)

WINDOW = timedelta(days=1)  # before a switch: mirrors of runs due earlier are left unchanged
NEAR = timedelta(hours=1)  # runs due within this are listed together


class Original(NamedTuple):
    """A scheduled run on the side that executed it. Its id may be another one on the other side."""

    colour: Colour
    dag_id: str
    due: datetime


class _Span(NamedTuple):
    """What is due in [since, until), of these DAGs (none named: of all)."""

    since: datetime
    until: datetime
    dag_ids: frozenset[str]


class FinalStates:
    """Copies the final states of both sides' originals to the other side. Its methods raise Unreachable.

    `apis` are both sides' Airflows; `concerns` selects the DAGs. `attempts` at a side's originals
    may be shared with others who copy.
    """

    def __init__(
        self,
        apis: Mapping[Colour, AirflowApi],
        concerns: Callable[[str], bool],
        attempts: Mapping[Colour, Attempts],
    ) -> None:
        self._apis, self._concerns = apis, concerns
        self._waiting: dict[Original, None] = {}  # in order: the next ones first
        self._right: set[Original] = set()
        self._left: dict[Original, UncopiedRun] = {}
        self._attempts: dict[Colour, Attempts] = {colour: attempts.get(colour, {}) for colour in apis}
        self._copied = self._already = 0

    @property
    def waiting(self) -> int:
        """How many originals have ended and are yet to be copied."""
        return len(self._waiting)

    @property
    def retry(self) -> bool:
        """Whether a mirror was left that another attempt may put right."""
        return any(not run.final for run in self._left.values())

    @property
    def result(self) -> MirrorResult:
        left = tuple(sorted(self._left.values(), key=lambda run: (run.dag_id, run.due)))
        return MirrorResult(copied=self._copied, already=self._already, left=left)

    def ended(self, colour: Colour, runs: Iterable[Run]) -> None:
        """Note runs that have just ended on the side that executed them: they are copied next."""
        found = [Original(colour, run.dag_id, run.due) for run in runs if run.type == "scheduled" and run.due]
        self._right -= set(found)
        self._waiting = {**dict.fromkeys(found), **self._waiting}

    def survey(self, timeline: Timeline, target: Colour, dags: Collection[str], now: datetime) -> bool:
        """List both sides' runs around the switch of `dags` (none named: of all) to `target`; note what has
        ended and is not copied yet. The newest PER_DAG of each side and DAG count.

        False if the switch has not taken effect, and nothing was listed.
        """
        if not any(timeline.owner(now, line) == target for line in dags or (None,)):
            return False  # the turn before may have begun months ago
        begin = cache(lambda line: turn(timeline, now, line).since)
        spans = _spans(timeline, target, dags, now, begin)
        listed = {
            colour: list(chain.from_iterable(api.scheduled_runs(*span) for span in spans))
            for colour, api in self._apis.items()
        }

        def ends(colour: Colour, dag_id: str) -> datetime:
            return begin(dag_id) if colour == target else now

        ended: list[tuple[Original, Run]] = []
        for colour, runs in listed.items():
            own = (
                run
                for run in runs
                if run.finished and self._concerns(run.dag_id) and due_of(run) < ends(colour, run.dag_id)
                if timeline.owner(due_of(run), run.dag_id) == colour
            )
            ended += [(Original(colour, run.dag_id, due_of(run)), run) for run in newest(own, PER_DAG)]
        ended.sort(key=lambda pair: pair[0].due, reverse=True)
        mirrors = {(colour, run.dag_id, run.due): run for colour, runs in listed.items() for run in runs}
        for original, run in ended:
            if original in self._right or original in self._waiting:
                continue
            mirror = mirrors.get((other_colour(original.colour), run.dag_id, run.due))
            if mirror is not None and is_right(run, mirror, copied_note(original.colour)):
                self._already += 1
                self._settled(original)
            elif not (previous := self._left.get(original)) or not previous.final:
                self._waiting[original] = None
        return bool(spans)

    def copy(self, timeline: Timeline, most: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Copy the next `most` that wait. `progress` is called with the number done and the total."""
        chosen = list(self._waiting)[:most]
        done = 0
        for group in _near_each_other(chosen):
            report = partial(_report, progress, done, len(chosen)) if progress is not None else None
            self._copy_group(timeline, group, report)
            done += len(group)

    def _copy_group(
        self, timeline: Timeline, group: Sequence[Original], progress: Callable[[int, int], None] | None
    ) -> None:
        colour, wanted = group[0].colour, set(group)

        def owned(run: Run) -> bool:
            due = due_of(run)
            return Original(colour, run.dag_id, due) in wanted and timeline.owner(due, run.dag_id) == colour

        result = copy_final_states(
            self._apis[colour],
            self._apis[other_colour(colour)],
            source_colour=colour,
            since=min(original.due for original in group),
            until=max(original.due for original in group) + TICK,
            owned=owned,
            dag_ids={original.dag_id for original in group},
            progress=progress,
            per_dag=None,
            attempts=self._attempts[colour],
        )
        self._note(colour, wanted, result)

    def _note(self, colour: Colour, wanted: set[Original], result: MirrorResult) -> None:
        left = {Original(colour, run.dag_id, run.due): run for run in result.left}
        self._copied += result.copied
        self._already += result.already
        for original in wanted:
            if original not in left:
                self._settled(original)
        self._left |= left
        self._waiting = {original: None for original in self._waiting if original not in wanted}

    def _settled(self, original: Original) -> None:
        self._right.add(original)
        self._left.pop(original, None)


def _spans(
    timeline: Timeline,
    target: Colour,
    dags: Collection[str],
    now: datetime,
    begin: Callable[[str | None], datetime],
) -> list[_Span]:
    """Where runs may be that the other side executed around the switch; `begin` is when a line's turn began.

    What the target has executed since then is left alone: nothing on the other side looks at it any more. Of
    a DAG that was held, what the other side executed after the switch counts, however long that took.
    """
    lines: Collection[str | None] = dags or (None, *timeline.dags)
    common = begin(None) if timeline.owner(now) == target else None
    if common is not None and from_the_beginning(common):
        common = None  # no switch: a DAG whose turn began later was moved alone
    held = frozenset(
        line
        for line in lines
        if line and (timeline.owner(now, line) != target or (common and begin(line) > common))
    )
    switched = max((begin(line) for line in lines if line not in held), default=common)
    if switched is None or from_the_beginning(switched):
        return []
    before = _Span(switched - WINDOW, switched, frozenset(dags))
    return [before, _Span(switched, now, held)] if held else [before]


def _report(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _near_each_other(originals: Iterable[Original]) -> Iterator[list[Original]]:
    """Groups of one side's originals that are due near each other, the newest first: few calls list them."""
    group: list[Original] = []
    for original in sorted(originals, key=lambda original: (original.colour, original.due), reverse=True):
        if group and (original.colour != group[0].colour or group[0].due - original.due > NEAR):
            yield group
            group = []
        group.append(original)
    if group:
        yield group
