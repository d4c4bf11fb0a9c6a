"""The ownership timeline: which environment owns a scheduled run, by the run's own due instant.

It is the value of one SSM parameter, written by `mwaactl` and read by every Airflow process; both use
this one definition. Standard library only. The whole contract is three rules.

1. *Whose instant.* Each entry is a decision, "from `since` on, `owner`", numbered by the version of the
   parameter that brought it. An instant belongs to the newest decision (highest version) whose `since`
   is not after it. Entries under `dags` are decisions about one DAG; of two in one version the DAG's own
   is the newer. So a DAG's own entry (a canary, a serial DAG kept back) holds until the next decision
   about that DAG *or about all*: a full switch moves every DAG and leaves none behind. Instants
   before the first common entry belong to its owner.
2. *Valid.* SSM numbers versions but cannot compare and set. A value is valid only if its `base_version`
   is the version just before its own. A writer that lost a race, or an old value put back, fails that
   test, and the newest valid version stands.
3. *Late writes.* A put may reach SSM later than planned. Readers let the decisions of the version they
   read begin no earlier than its LastModifiedDate plus the lead; the next writer starts from that
   reading and so records those instants.

In the value, DAGs with the same line share it: `"dags": {"a,b,c": [{"owner": ...}]}`. A value that would be
too long is written in the form of `bluegreen.dense`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from bluegreen import dense

Colour = Literal["blue", "green"]
COLOURS: Final[tuple[Colour, Colour]] = ("blue", "green")
MAX_CHARACTERS: Final = 4096  # of a standard SSM parameter
REMEMBERED: Final = timedelta(days=1)  # history that is never dropped to stay under MAX_CHARACTERS
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAG_ID: Final = re.compile(r"[\w.-]+")  # what Airflow allows: a comma can join ids

Record = tuple[str, int, datetime]
"""One version of the parameter as SSM returns it: value, version, LastModifiedDate."""


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
    """From `since` (aware, UTC) on, `owner` executes what is due; decided by version `version`."""

    owner: Colour
    since: datetime
    version: int


Decision = tuple[str | None, Entry]
"""An entry with the DAG that it is about, None for all."""


@dataclass(frozen=True)
class Timeline:
    """Decisions about all DAGs (`owners`) and about single ones (`dags`), each line ordered by version."""

    base_version: int
    owners: tuple[Entry, ...]
    dags: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    @classmethod
    def initial(cls, owner: Colour = "blue") -> Timeline:
        """The value of version 1: `owner` owns everything."""
        return cls(base_version=0, owners=(Entry(_colour(owner, "owner"), EPOCH, 1),))

    @classmethod
    def parse(cls, value: str) -> Timeline:
        """Read a parameter's value. Unknown keys are allowed: writers may be newer than readers.

        Raises TimelineError naming the place if the value is not a timeline.
        """
        try:
            raw = json.loads(value)
        except (TypeError, ValueError) as error:
            raise TimelineError(f"the ownership timeline is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise TimelineError(f"the ownership timeline must be a JSON object, not {_kind(raw)}")
        if dense.is_dense(raw):
            try:
                raw = dense.expand(raw)
            except dense.MalformedError as error:
                raise TimelineError(f"the ownership timeline cannot be read: {error}") from error
        base = _integer(raw.get("base_version"), "base_version", least=0)
        dags = raw.get("dags", {})
        if not isinstance(dags, dict):
            raise TimelineError(f"dags must be an object of DAG id to entries, not {_kind(dags)}")
        return cls(
            base_version=base,
            owners=_line(raw.get("owners"), "owners", base + 1),
            dags=_lines_of_dags(dags, base + 1),
        )

    def dump(self, now: datetime | None = None) -> str:
        """The parameter's value: compact ASCII JSON of at most 4096 characters, dense if it must be.

        If it is too long, the oldest changes of owner are dropped first, but none of the day before `now`
        (aware; None: this machine's time). Raises TimelineError if that is not enough.
        """
        timeline = self
        horizon = (datetime.now(UTC) if now is None else _aware(now, "now")) - REMEMBERED
        while len(value := timeline._json()) > MAX_CHARACTERS:
            shorter = _forget_oldest(timeline, horizon)
            if shorter is None:
                raise TimelineError(
                    f"the ownership timeline needs {len(value)} characters, SSM allows {MAX_CHARACTERS}: "
                    f"too many DAGs ({len(timeline.dags)}) have decisions of their own, or there were too "
                    f"many switches ({len(timeline.owners) - 1}); move fewer DAGs within a day"
                )
            timeline = shorter
        return value

    def _json(self) -> str:
        alike: dict[tuple[Entry, ...], list[str]] = {}
        for dag_id, line in sorted(self.dags.items()):
            alike.setdefault(line, []).append(dag_id)
        plain = {
            "base_version": self.base_version,
            "owners": [_plain(entry) for entry in self.owners],
            "dags": {",".join(ids): [_plain(entry) for entry in line] for line, ids in alike.items()},
        }
        value = _compact(plain)
        return value if len(value) <= MAX_CHARACTERS else _compact(dense.condense(plain))

    def owner(self, instant: datetime, dag_id: str | None = None) -> Colour:
        """The owner of what is due at `instant` (aware): for one DAG, or for those without own entries."""
        common = _newest(self.owners, instant)
        own = _newest(self.dags.get(dag_id, ()), instant) if dag_id is not None else None
        if own is not None and (common is None or own.version >= common.version):
            return own.owner
        return (common or self.owners[0]).owner

    def switched(self, target: str, since: datetime, version: int) -> Timeline:
        """Give all DAGs to `target` from `since` on, by a decision of `version`.

        Call this on `Reading.effective(lead)`. To hold single DAGs back, call `dag_moved` afterwards with the
        same `since` and `version`.
        """
        before = self._before(version)
        entry = Entry(_colour(target, "target"), _aware(since, "since"), version)
        return replace(before, owners=(*_older(before.owners, version), entry))

    def dag_moved(self, dag_id: str, target: str, since: datetime, version: int) -> Timeline:
        """Give one DAG to `target` from `since` on, until the next decision about it or about all."""
        before = self._before(version)
        entry = Entry(_colour(target, "target"), _aware(since, "since"), version)
        _checked_id(dag_id, "dag_id")
        line = (*_older(before.dags.get(dag_id, ()), version), entry)
        return replace(before, dags={**before.dags, dag_id: line})

    def _before(self, version: int) -> Timeline:
        """The basis for a writer of `version`: without superseded decisions, and with its `base_version`."""
        newest = max(entry.version for _, entry in _entries(self))
        if version < max(newest, self.base_version + 1):
            raise TimelineError(
                f"version {version} cannot follow a timeline that has decisions of version {newest} and base "
                f"{self.base_version}"
            )
        return replace(_without_superseded(self, version), base_version=version - 1)


@dataclass(frozen=True)
class Reading:
    """A valid timeline with its version and the time at which SSM stored it (LastModifiedDate)."""

    timeline: Timeline
    version: int
    modified: datetime

    def effective(self, lead: timedelta) -> Timeline:
        """The timeline as readers apply it: this version's decisions begin at `modified + lead` or later."""
        earliest = self.modified + lead

        def begin(line: Sequence[Entry]) -> tuple[Entry, ...]:
            return tuple(
                replace(entry, since=max(entry.since, earliest))
                if entry.version == self.version and not from_the_beginning(entry.since)
                else entry
                for entry in line
            )

        return replace(
            self.timeline,
            owners=begin(self.timeline.owners),
            dags={dag: begin(line) for dag, line in self.timeline.dags.items()},
        )


def valid(timeline: Timeline, version: int) -> bool:
    """Whether `timeline`, stored as version `version`, is based on the version just before."""
    return timeline.base_version == version - 1


def latest_valid(records: Iterable[Record]) -> Reading:
    """The newest valid version among `records` (any order, from GetParameter or GetParameterHistory).

    Raises TimelineError with the reason for each of the newest versions if none is valid.
    """
    reasons = []
    for value, version, modified in sorted(records, key=lambda record: record[1], reverse=True):
        try:
            timeline = Timeline.parse(value)
        except TimelineError as error:
            reasons.append(f"version {version}: {error}")
            continue
        if valid(timeline, version):
            return Reading(timeline, version, _aware(modified, "modified"))
        reasons.append(f"version {version} is based on version {timeline.base_version}, not {version - 1}")
    raise TimelineError(
        "no valid version of the ownership timeline: " + ("; ".join(reasons[:5]) or "no version at all")
    )


# --- reading a value ---


def _kind(value: object) -> str:
    return "missing" if value is None else f"{type(value).__name__} {value!r:.60}"


def _integer(value: object, where: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise TimelineError(f"{where} must be a whole number, {least} or more, not {_kind(value)}")
    return value


def _colour(value: object, where: str) -> Colour:
    for colour in COLOURS:
        if colour == value:
            return colour
    raise TimelineError(f"{where} must be one of {', '.join(COLOURS)}, not {_kind(value)}")


def _aware(value: datetime, where: str) -> datetime:
    if value.tzinfo is None:
        raise TimelineError(f"{where} needs a time zone: {value.isoformat()}")
    return value.astimezone(UTC)


def _instant(value: object, where: str) -> datetime:
    if not isinstance(value, str):
        raise TimelineError(f"{where} must be a time such as 2026-11-23T10:00:05Z, not {_kind(value)}")
    try:
        return _aware(datetime.fromisoformat(value), where)
    except TimelineError:
        raise
    except (ValueError, OverflowError) as error:
        raise TimelineError(
            f"{where} must be a time such as 2026-11-23T10:00:05Z, not {value!r:.60}"
        ) from error


def _line(value: object, where: str, newest: int) -> tuple[Entry, ...]:
    if not isinstance(value, list) or not value:
        raise TimelineError(f"{where} must be a list of at least one entry, not {_kind(value)}")
    entries: list[Entry] = []
    for index, raw in enumerate(value):
        place = f"{where}[{index}]"
        if not isinstance(raw, dict):
            raise TimelineError(f"{place} must be an object with owner, since and version, not {_kind(raw)}")
        version = _integer(raw.get("version"), f"{place}.version", least=1)
        if version > newest:
            raise TimelineError(
                f"{place}.version is {version}, but this value can only have decisions up to {newest}"
            )
        if entries and version <= entries[-1].version:
            raise TimelineError(
                f"{place}.version is {version}, but must be above the previous one, {entries[-1].version}"
            )
        owner, since = (
            _colour(raw.get("owner"), f"{place}.owner"),
            _instant(raw.get("since"), f"{place}.since"),
        )
        entries.append(Entry(owner, since, version))
    return tuple(entries)


def _lines_of_dags(value: Mapping[str, object], newest: int) -> dict[str, tuple[Entry, ...]]:
    """Each DAG's line; a key may join several ids by commas."""
    lines: dict[str, tuple[Entry, ...]] = {}
    for key, entries in value.items():
        where = f"dags[{key if len(key) <= 60 else key[:60] + '...'!r}]"
        line = _line(entries, where, newest)
        for dag_id in key.split(","):
            if _checked_id(dag_id, where) in lines:
                raise TimelineError(f"{where} names the DAG {dag_id}, which already has another line")
            lines[dag_id] = line
    return lines


def _checked_id(dag_id: str, where: str) -> str:
    if not DAG_ID.fullmatch(dag_id):
        raise TimelineError(f"{where}: {dag_id!r:.60} is not a valid DAG id")
    return dag_id


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _plain(entry: Entry) -> dict[str, Any]:
    since = entry.since.isoformat().replace("+00:00", "Z")
    return {"owner": entry.owner, "since": since, "version": entry.version}


# --- lines of decisions ---


def _newest(line: Sequence[Entry], instant: datetime) -> Entry | None:
    return next((entry for entry in reversed(line) if entry.since <= instant), None)


def _older(line: Sequence[Entry], version: int) -> tuple[Entry, ...]:
    return tuple(entry for entry in line if entry.version < version)


def _entries(timeline: Timeline) -> Iterator[Decision]:
    """All decisions, the common ones first."""
    for entry in timeline.owners:
        yield None, entry
    for dag, line in timeline.dags.items():
        for entry in line:
            yield dag, entry


def _kept(timeline: Timeline, keep: Callable[[str | None, Entry], bool]) -> Timeline:
    """The timeline with only the entries that `keep` selects."""
    dags = {dag: tuple(e for e in line if keep(dag, e)) for dag, line in timeline.dags.items()}
    return replace(
        timeline,
        owners=tuple(e for e in timeline.owners if keep(None, e)),
        dags={dag: line for dag, line in dags.items() if line},
    )


def _without(timeline: Timeline, dag_id: str | None, dropped: Entry) -> Timeline:
    return _kept(timeline, lambda dag, entry: (dag, entry) != (dag_id, dropped))


def _effects(timeline: Timeline) -> dict[Decision, datetime]:
    """The end of each decision's effect: until then, an owner would be another without the decision.

    A decision without any effect is missing; an endless effect ends at datetime.max.
    """
    effects: dict[Decision, datetime] = {}
    for dag_id in (None, *timeline.dags):
        line = [(about, entry) for about, entry in _entries(timeline) if about in (None, dag_id)]
        line.sort(key=lambda item: item[1].since)
        ends = [*(entry.since for _, entry in line[1:]), datetime.max.replace(tzinfo=UTC)]
        best: list[Decision] = []  # the newest two that have begun: the one in force, and its predecessor
        for item, end in zip(line, ends, strict=True):
            best = sorted([*best, item], key=lambda each: (-each[1].version, each[0] is None))[:2]
            otherwise = (best[1][1] if len(best) > 1 else timeline.owners[0]).owner
            if end > item[1].since and best[0][1].owner != otherwise:
                effects[best[0]] = max(end, effects.get(best[0], end))
    return effects


def _without_effect(timeline: Timeline) -> Decision | None:
    """The first decision without any effect; the first common one is always kept."""
    effects = _effects(timeline)
    return next(
        (item for item in _entries(timeline) if item[1] is not timeline.owners[0] and item not in effects),
        None,
    )


def _without_superseded(timeline: Timeline, version: int) -> Timeline:
    """Drop decisions older than `version` that have no effect, regardless of newer ones.

    A newer decision does not count here, because it may still begin later than planned (rule 3).
    """
    settled = _kept(timeline, lambda _, entry: entry.version < version)
    newer = [(dag, entry) for dag, entry in _entries(timeline) if entry.version >= version]
    if not settled.owners:
        return timeline
    while dropped := _without_effect(settled):
        settled = _without(settled, *dropped)
    dags = dict(settled.dags)
    for dag, entry in newer:
        if dag is not None:
            dags[dag] = (*dags.get(dag, ()), entry)
    return replace(settled, owners=(*settled.owners, *(e for dag, e in newer if dag is None)), dags=dags)


def _forget_oldest(timeline: Timeline, horizon: datetime) -> Timeline | None:
    """The timeline without the settled decision whose effect ended first, if that is before `horizon`.

    The first common entry stays: it keeps an environment that is created later from executing all history.
    """
    settled = _kept(timeline, lambda _, entry: entry.version <= timeline.base_version)
    if not settled.owners:
        return None
    effects = _effects(settled)
    ended = [
        (end, dag, entry)
        for dag, entry in _entries(settled)
        if entry is not settled.owners[0] and (end := effects.get((dag, entry), EPOCH)) <= horizon
    ]
    if not ended:
        return None
    _, dag_id, entry = min(ended, key=lambda item: item[0])
    return _without_superseded(_without(timeline, dag_id, entry), timeline.base_version + 1)
