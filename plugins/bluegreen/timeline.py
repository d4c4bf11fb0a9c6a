"""The ownership timeline: which environment owns a scheduled run, by the run's own due instant.

It is the value of one SSM parameter, written by `mwaactl` and read by every Airflow process; both use
this one definition. Standard library only. The whole contract is five rules.

1. *Whose instant.* Each entry is a decision, "from `since` on, `owner`", numbered by the version of the
   parameter that brought it. An instant belongs to the newest decision (highest version) whose `since`
   is not after it. Entries under `dags` are decisions about one DAG; of two in one version the DAG's own
   is the newer. So a DAG's own entry (a canary, a serial DAG kept back) holds until the next decision
   about that DAG *or about all*: a full switch moves every DAG and leaves none behind.
2. *Whose past.* A decision takes over from the previous owner, whose *books* are open until it has drained:
   till then what was due before `since` stays its own. When it has drained, its books are *closed*. What it
   had executed, or passed over, is settled, and nobody executes it; what it had `left` (the runs of a paused
   DAG from an instant on) belongs to the new owner. While they are *closing*, what is left belongs to nobody
   yet. A DAG that the switch did not know, because it was added later, belongs to the new owner with all its
   past.
3. *Lives.* An entry names the `life` of its owner: an identifier that is born with an environment and
   replaced with it. What belonged to a former life is nobody's: its successor executes none of it.
4. *Valid.* SSM numbers versions but cannot compare and set. A value is valid only if its `base_version`
   is the version just before its own. A writer that lost a race, or an old value put back, fails that
   test, and the newest valid version stands. A value that passes and cannot be read is no lost race but
   unreadable: then there is no verdict at all.
5. *Late writes.* A put may reach SSM later than planned. Readers let the decisions of the version they
   read begin no earlier than its LastModifiedDate plus the `lead` that the value states; the next writer
   starts from that reading and so records those instants.

`bluegreen.document` defines how a timeline is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Final, Literal, NamedTuple

Colour = Literal["blue", "green"]
COLOURS: Final[tuple[Colour, Colour]] = ("blue", "green")
REMEMBERED: Final = timedelta(days=7)  # settled decisions are kept this long, for the audit
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LEAD: Final = timedelta(seconds=5)  # the least, and the default
# After a decision begins: in this time its writer looks for DAGs that have appeared while it was made.
CONFIRMED: Final = timedelta(seconds=30)
DAG_ID: Final = re.compile(r"[\w.-]+")  # what Airflow allows: a comma can join ids


def other_colour(colour: Colour) -> Colour:
    """The environment on the other side of a switch."""
    return "green" if colour == "blue" else "blue"


def due_instant(run_after: datetime | None, interval_end: datetime | None) -> datetime | None:
    """The instant whose owner executes a scheduled run: the earlier of the two that there are.

    Airflow 2 does not keep a run's `run_after`, and Airflow 3 has runs without a data interval. A timetable
    that lets a run start later than its interval's end has the same instant on both.
    """
    return min((instant for instant in (run_after, interval_end) if instant is not None), default=None)


def from_the_beginning(since: datetime) -> bool:
    """Whether an entry has always been in force, as the initial owner's has."""
    return since <= EPOCH


class TimelineError(ValueError):
    """A timeline that cannot be read, written or trusted; the message says what is wrong and where."""


@dataclass(frozen=True)
class Entry:
    """From `since` (aware, UTC) on, `owner` executes what is due; decided by version `version`.

    `left` is None while the previous owner's books are open. Else it has, by DAG, the due instant from which
    on that owner created no more of the runs due before `since`; if `closed`, these are this owner's.
    `blind`: the switch could not see which DAGs there are, so it counts as knowing every DAG, except
    those that a later one, which could, did not know.
    """

    owner: Colour
    life: str
    since: datetime
    version: int
    left: Mapping[str, datetime] | None = field(default=None, hash=False)
    closed: bool = False
    blind: bool = False

    @property
    def owned_by(self) -> tuple[Colour, str]:
        """The environment: its colour and its life."""
        return self.owner, self.life


class Book(NamedTuple):
    """Work that a decision took from another environment: one DAG's, or that of all without own decisions.

    `previous` is the decision that held until then; `own`: whether `entry` is about that DAG alone. The book
    is open unless `entry.closed`.
    """

    dag_id: str | None
    entry: Entry
    previous: Entry
    own: bool


class Claim(NamedTuple):
    """Whose one instant of one DAG is.

    `entry` None: nobody's, since it was settled before the timeline begins. Unless `settled`, open books may
    yet pass it on, so a reader needs a recent copy. `undecided`: it is being passed on at the moment. `over`:
    by the books its owner, `entry`, has done with it. `confirmed`: it is `entry`'s since that decision did
    not know the DAG; a reader needs a copy that is not older, because the DAG may have appeared meanwhile.
    """

    entry: Entry | None
    settled: bool = True
    undecided: bool = False
    over: bool = False
    confirmed: datetime | None = None


@dataclass(frozen=True)
class Timeline:
    """Decisions about all DAGs (`owners`) and about single ones (`dags`), each line ordered by version.

    `known` has each DAG's id with the version of the first switch that knew it. `lives` are the environments
    that exist now; the reader sets them (`seen_with`), the value does not contain them.
    """

    base_version: int
    owners: tuple[Entry, ...]
    dags: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    known: Mapping[str, int] = field(default_factory=dict)
    lead: timedelta = LEAD
    lives: Mapping[Colour, str] = field(default_factory=dict, compare=False)

    @classmethod
    def initial(cls, owner: Colour, life: str, lead: timedelta = LEAD) -> Timeline:
        """The value of version 1: `owner` owns everything, its past included."""
        return cls(base_version=0, owners=(Entry(owner, life, EPOCH, 1),), lead=lead)

    def seen_with(self, lives: Mapping[Colour, str]) -> Timeline:
        """The timeline for a reader who knows which environments exist: their lives by colour."""
        return replace(self, lives=lives)

    # --- reading ---

    def line(self, dag_id: str | None = None) -> tuple[Entry, ...]:
        """The decisions about one DAG, or about those without own ones, that have an effect.

        Both their versions and their instants ascend.
        """
        own = self.dags.get(dag_id, ()) if dag_id is not None else ()
        line: list[Entry] = []
        # a stable sort: of two in one version, the DAG's own is the newer
        for entry in sorted((*self.owners, *own), key=lambda each: each.version):
            while line and line[-1].since >= entry.since:
                line.pop()
            line.append(entry)
        return tuple(line)

    def newest(self, dag_id: str | None = None) -> Entry:
        """The decision that holds once all have taken effect."""
        return self.line(dag_id)[-1]

    def in_force(self, instant: datetime, dag_id: str | None = None) -> Entry:
        """The decision by which the work was done at `instant`, whoever got the rest of it later."""
        line = self.line(dag_id)
        return next((entry for entry in reversed(line) if entry.since <= instant), line[0])

    def claim(self, instant: datetime, dag_id: str | None = None) -> Claim:
        """Whose `instant` (aware) is: of one DAG, or of those without decisions of their own."""
        line = self.line(dag_id)
        begun = sum(entry.since <= instant for entry in line)
        holder = line[begun - 1] if begun else None
        if holder is None and line[0].left is None:
            holder, begun = line[0], 1  # all of the past is the first owner's
        confirmed = None
        for entry in line[begun:]:
            knew = self._knew(entry, dag_id)
            if not knew:
                confirmed = entry.since + CONFIRMED
            if not knew or (holder is not None and holder.owned_by == entry.owned_by):
                holder = entry
            elif entry.left is None:
                return Claim(holder, settled=False, confirmed=confirmed)
            elif (left := entry.left.get(dag_id or "")) is None or instant < left:
                return Claim(holder, settled=entry.closed, over=True, confirmed=confirmed)
            elif not entry.closed:
                return Claim(holder, undecided=True)
            else:
                holder, confirmed = entry, None
        return Claim(holder, confirmed=confirmed)

    def owner(self, instant: datetime, dag_id: str | None = None) -> Colour | None:
        """The owner of what is due at `instant` (aware); None: nobody, or an environment that is gone."""
        entry = self.claim(instant, dag_id).entry
        return entry.owner if entry is not None and self.lives_on(entry) else None

    def lives_on(self, entry: Entry) -> bool:
        """Whether the environment that an entry names still exists (True if `lives` are not known)."""
        return not self.lives or self.lives.get(entry.owner) == entry.life

    def books(self, colour: Colour) -> Iterator[Book]:
        """What was taken from this colour, whatever its life."""
        common = set(pairwise(self.line()))
        for dag_id in (None, *self.dags):
            own = self.dags.get(dag_id, ()) if dag_id is not None else ()
            for previous, entry in pairwise(self.line(dag_id)):
                takes = previous.owner == colour and previous.owned_by != entry.owned_by
                if takes and (dag_id is None or (previous, entry) not in common):
                    yield Book(dag_id, entry, previous, entry in own)

    def open_books(self, colour: Colour) -> bool:
        """Whether this colour has yet to drain, or its drain has yet to be recorded."""
        return any(not book.entry.closed for book in self.books(colour))

    def drains(self, colour: Colour) -> tuple[Book, ...]:
        """The open books of work that this colour does not own any more."""
        return tuple(
            book
            for book in self.books(colour)
            if not book.entry.closed and self.newest(book.dag_id).owner != colour
        )

    def closed_by(self, colour: Colour, *, but: str | None = None) -> str | None:
        """The arguments of `mwaactl switch ... --wait` that end this colour's drain; None if it has none.

        They name the present owner and, if only these were taken from it, the DAGs. What was decided about
        the DAG `but` alone does not count.
        """
        drains = self.drains(colour)
        open_ones = [book.dag_id for book in drains if not (book.own and book.dag_id == but)]
        if not open_ones:
            return None
        common = self.newest().owner
        apart = {
            dag_id: owner
            for dag_id in open_ones
            if dag_id is not None and (owner := self.newest(dag_id).owner) != common
        }
        if len(apart) < len(open_ones):
            return common  # it follows all DAGs
        owner = next(iter(apart.values()))
        return " ".join([owner, *(f"--dag {dag_id}" for dag_id in sorted(apart))])

    def _knew(self, entry: Entry, dag_id: str | None) -> bool:
        if dag_id is None:
            return True
        known = self.known.get(dag_id, inf)
        seeing = (each.version for each in self.owners if not each.blind and each.version > entry.version)
        return known <= entry.version or (entry.blind and not any(version < known for version in seeing))

    # --- writing; start from `Reading.effective()` ---

    def switched(
        self, target: Colour, since: datetime, version: int, *, known: Iterable[str] | None = None
    ) -> Timeline:
        """Give all DAGs to `target` from `since` on, by a decision of `version`.

        `known` are the DAGs that exist; None if they cannot be seen. To hold single DAGs back, call
        `dag_moved` afterwards with the same `since` and `version`.
        """
        before = self._based(version)._with_closing_books_opened()
        entry = Entry(target, self._life(target), aware(since, "since"), version, blind=known is None)
        before = before._knowing(known or (), version)
        return replace(before, owners=(*before.owners, entry))

    def dag_moved(self, dag_id: str, target: Colour, since: datetime, version: int) -> Timeline:
        """Give one DAG to `target` from `since` on, until the next decision about it or about all."""
        return self.dags_moved((dag_id,), target, since, version)

    def dags_moved(self, dag_ids: Iterable[str], target: Colour, since: datetime, version: int) -> Timeline:
        """As `dag_moved`, for all of these at once: one by one, hundreds would take seconds."""
        before = self._based(version)._with_closing_books_opened()
        entry = Entry(target, self._life(target), aware(since, "since"), version)
        moved = {checked_id(dag_id, "dag_id"): (*before.dags.get(dag_id, ()), entry) for dag_id in dag_ids}
        return replace(before._knowing(moved, version), dags={**before.dags, **moved})

    def with_books(
        self,
        source: Colour,
        left: Mapping[str, datetime] | None,
        version: int,
        *,
        closed: bool,
        dags: Collection[str] = (),
    ) -> Timeline:
        """Close the books of `source` (`closed`), or let them be closing; of these `dags` only, if any.

        `left`: by DAG, the instant from which on its present life created no runs; None opens books that were
        closing. Of a former life nothing is left: nobody knows what it had executed.
        """
        before, life = self._based(version), self.lives.get(source)
        books = [
            book
            for book in before.books(source)
            if not book.entry.closed and (not dags or (book.own and book.dag_id in dags))
        ]
        # One mapping for all, since there may be many decisions: what is due later is never looked up in it.
        newest = max((book.entry.since for book in books), default=EPOCH)
        every = {name: instant for name, instant in (left or {}).items() if instant < newest}
        marked: dict[tuple[str | None, Entry], Entry] = {}
        for dag_id, entry, previous, own in books:
            kept: Mapping[str, datetime] = every if previous.life == life else {}
            if own:
                kept = {name: instant for name, instant in kept.items() if name == dag_id}
            key = (dag_id if own else None, entry)
            if key not in marked or kept:
                marked[key] = replace(entry, left=None if left is None else kept, closed=closed)
        return _changed(before, lambda dag_id, entry: marked.get((dag_id, entry), entry))

    def knowing(self, dag_ids: Iterable[str], decided: int, version: int) -> Timeline:
        """The decision of version `decided` knew these DAGs, too."""
        return self._based(version)._knowing(dag_ids, decided)

    def _based(self, version: int) -> Timeline:
        """The basis for a writer of `version`: without superseded decisions, and with its `base_version`."""
        if version <= self.base_version:
            raise TimelineError(f"version {version} cannot follow version {self.base_version}")
        # A decision of this version supersedes nothing: it may still begin later than planned (rule 5).
        settled = _changed(self, lambda _, entry: entry if entry.version < version else None)
        lines = {dag_id: set(settled.line(dag_id)) for dag_id in (None, *settled.dags)}
        kept = _changed(
            self, lambda dag_id, entry: entry if entry.version == version or entry in lines[dag_id] else None
        )
        return replace(kept, base_version=version - 1)

    def _with_closing_books_opened(self) -> Timeline:
        """After another decision nobody may be there to close them, and what is left would wait for ever."""
        return _changed(self, lambda _, entry: entry if entry.closed else replace(entry, left=None))

    def _life(self, colour: Colour) -> str:
        if colour not in self.lives:
            raise TimelineError(f"there is no {colour} environment that could own anything")
        return self.lives[colour]

    def _knowing(self, dag_ids: Iterable[str], version: int) -> Timeline:
        """With `version` as the first that knew these DAGs, unless an older one did."""
        new = {
            checked_id(dag_id, "known"): version
            for dag_id in dag_ids
            if self.known.get(dag_id, inf) > version
        }
        return replace(self, known={**self.known, **new}) if new else self

    def folded(self, horizon: datetime) -> Timeline:
        """The timeline without what was settled before `horizon`: no owner of an open instant changes.

        It then begins with a decision whose predecessors' books are all closed. What was due before that is
        nobody's, apart from what was left to it.
        """
        settled = [
            entry
            for previous, entry in pairwise(self.line())
            if entry.closed and entry.since <= horizon and previous.owned_by != entry.owned_by
        ]
        if settled:  # most writers need not look at the books
            books = (book for colour in COLOURS for book in self.books(colour))
            oldest = min((book.entry.version for book in books if not book.entry.closed), default=inf)
            settled = [entry for entry in settled if entry.version < oldest]
        if not settled:
            return self
        first = settled[-1]
        until = _changed(self, lambda _, entry: entry if entry.version <= first.version else None)
        kept = _changed(self, lambda _, entry: entry if entry.version >= first.version else None)
        begins = {name: kept.line(name)[0] for name in kept.dags}
        if any(entry.version > first.version for entry in begins.values()):
            return self
        left = {}
        for name in {name for _, entry in _entries(until) for name in (*(entry.left or ()), *until.dags)}:
            begin = until._left_to(first, name)
            if begin is not None:
                left[name] = begin
        dags = dict(kept.dags)
        for name, own in begins.items():
            if own != first:  # kept back by the same decision: only what it began with is its own
                begin = until._left_to(own, name)
                begun = replace(own, left={} if begin is None else {name: begin}, closed=True)
                dags[name] = tuple(begun if entry is own else entry for entry in kept.dags[name])
        return replace(kept, owners=(replace(first, left=left), *kept.owners[1:]), dags=dags)

    def _left_to(self, first: Entry, dag_id: str) -> datetime | None:
        """The instant from which on what was due before `first` is left to it; None: nothing is."""
        line = self.line(dag_id)
        begins = (entry.left[dag_id] for entry in line if entry.left and dag_id in entry.left)
        marks = {EPOCH, *(entry.since for entry in line), *begins}
        # What belongs to an entry has no gaps: each decision before took all from some instant on.
        own = (mark for mark in marks if mark < first.since and self.claim(mark, dag_id).entry == first)
        return min(own, default=None)


@dataclass(frozen=True)
class Reading:
    """A valid timeline with its version and the time at which SSM stored it (LastModifiedDate)."""

    timeline: Timeline
    version: int
    modified: datetime

    def effective(self) -> Timeline:
        """The timeline as readers apply it: this version's decisions begin at `modified + lead` or later."""
        earliest = self.modified + self.timeline.lead
        return _changed(
            self.timeline,
            lambda _, entry: (
                replace(entry, since=max(entry.since, earliest))
                if entry.version == self.version and not from_the_beginning(entry.since)
                else entry
            ),
        )


def valid(timeline: Timeline, version: int) -> bool:
    """Whether `timeline`, stored as version `version`, is based on the version just before."""
    return timeline.base_version == version - 1


def aware(value: datetime, where: str) -> datetime:
    """The instant in UTC. Raises TimelineError if it has no time zone."""
    if value.tzinfo is None:
        raise TimelineError(f"{where} needs a time zone: {value.isoformat()}")
    return value.astimezone(UTC)


def checked_id(dag_id: str, where: str) -> str:
    """The DAG's id. Raises TimelineError if Airflow would not allow it."""
    if not DAG_ID.fullmatch(dag_id):
        raise TimelineError(f"{where}: {dag_id!r:.60} is not a valid DAG id")
    return dag_id


# --- lines of decisions ---


def _entries(timeline: Timeline) -> Iterator[tuple[str | None, Entry]]:
    """All decisions with the DAG that each is about (None: all), the common ones first."""
    for entry in timeline.owners:
        yield None, entry
    for dag_id, line in timeline.dags.items():
        for entry in line:
            yield dag_id, entry


def _changed(timeline: Timeline, change: Callable[[str | None, Entry], Entry | None]) -> Timeline:
    """The timeline with each entry as `change` returns it; None drops it."""

    def line(dag_id: str | None, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        return tuple(new for entry in entries if (new := change(dag_id, entry)) is not None)

    dags = {dag_id: line(dag_id, entries) for dag_id, entries in timeline.dags.items()}
    return replace(
        timeline,
        owners=line(None, timeline.owners),
        dags={dag_id: entries for dag_id, entries in dags.items() if entries},
    )
