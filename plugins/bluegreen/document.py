"""How the ownership timeline is written: the value of the SSM parameter, and what it may point to.

    {"format": 1, "reader": 1, "base_version": 6, "lead": 5,
     "owners": [{"owner": "blue", "life": "9f2c", "since": "1970-01-01T00:00:00Z", "version": 1}, ...],
     "dags": {"etl_daily,report": [...]}, "known": {"2": "etl_daily,report"}}

DAGs with the same line share it, and those that became known in the same version share that. An entry with
`"left": 0` refers to the first mapping of `"left": [{"etl_daily": "2026-11-23T09:00:00Z"}]`. What does not
fit into the 4,096 characters of a parameter stands in an immutable object in S3, named by its content's hash:

    {"format": 1, "reader": 1, "base_version": 6, "lead": 5, "object": "<sha256>"}

`format` is the writer's, `reader` the oldest that may take the value. `base_version` has its meaning in every
format, so that each reader can tell a lost race from a value that it cannot read. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from bluegreen.timeline import (
    COLOURS,
    REMEMBERED,
    Colour,
    Entry,
    Reading,
    Timeline,
    TimelineError,
    aware,
    checked_id,
)

FORMAT: Final = 1
MAX_CHARACTERS: Final = 4096  # of a standard SSM parameter
MAX_CONTENT: Final = 1_000_000  # characters of an object; beyond, settled decisions are forgotten earlier

Record = tuple[str, int, datetime]
"""One version of the parameter as SSM returns it: value, version, LastModifiedDate."""

Fetch = Callable[[str], str]
"""Returns the content of the object that is named by this hash."""


class UnreadableError(TimelineError):
    """A valid value that this reader cannot read: there is no verdict, and nothing may be written."""


class Document(NamedTuple):
    """What a writer stores: first the `content`, if there is one, under its `name`, then the `value`."""

    value: str
    content: str | None = None

    @property
    def name(self) -> str:
        """The content's hash."""
        return content_hash(self.content or "")


def content_hash(content: str) -> str:
    """The name of an object with this content."""
    return hashlib.sha256(content.encode()).hexdigest()


def object_key(name: str) -> str:
    """The S3 key of an object, in the lineage log's bucket."""
    return f"ownership/{name}.json"


def standing(records: Iterable[Record]) -> Record:
    """The newest valid one among `records` (any order, from GetParameter or GetParameterHistory).

    Raises TimelineError with the reason for each of the newest versions if none is valid.
    """
    reasons = []
    for record in sorted(records, key=lambda each: each[1], reverse=True):
        value, version, _ = record
        try:
            base = _base(_object(value, "the ownership timeline"))
        except TimelineError as error:
            reasons.append(f"version {version}: {error}")
            continue
        if base == version - 1:
            return record
        reasons.append(f"version {version} is based on version {base}, not {version - 1}")
    raise TimelineError(
        "no valid version of the ownership timeline: " + ("; ".join(reasons[:5]) or "no version at all")
    )


def latest_valid(records: Iterable[Record], fetch: Fetch | None = None) -> Reading:
    """What the newest valid record says. Raises as `standing` and `fetch` do, and UnreadableError."""
    value, version, modified = standing(records)
    try:
        return Reading(parse(value, fetch), version, aware(modified, "modified"))
    except TimelineError as error:
        raise UnreadableError(f"version {version} cannot be read: {error}") from error


def parse(value: str, fetch: Fetch | None = None) -> Timeline:
    """Read a parameter's value. Raises TimelineError naming the place if it is not a timeline."""
    head = _object(value, "the ownership timeline")
    base = _base(head)
    reader = _integer(head.get("reader"), "reader", least=1)
    if reader > FORMAT:
        raise TimelineError(
            f"it was written by a newer version of this project, in format {head.get('format')}, for readers "
            f"of format {reader} or newer; this one reads format {FORMAT}"
        )
    content = head
    if (name := head.get("object")) is not None:
        if fetch is None or not isinstance(name, str):
            raise TimelineError(f"its content stands in the object {name!r:.80}, which cannot be read here")
        content = _object(fetch(name), f"the object {name}")
    newest = base + 1
    dags = _mapping(content.get("dags", {}), "dags")
    left = _left(content.get("left", []))
    return Timeline(
        base_version=base,
        owners=_line(content.get("owners"), "owners", newest, left),
        dags=dict(_shared(dags, "dags", lambda line, where: _line(line, where, newest, left))),
        known=_known(_mapping(content.get("known", {}), "known"), newest),
        lead=_seconds(head.get("lead"), "lead"),
    )


def dump(timeline: Timeline, now: datetime) -> Document:
    """The document of a timeline. Decisions that were settled a week before `now` are forgotten.

    They are forgotten earlier if there are very many; a decision whose books are open never is.
    """
    for remembered in (REMEMBERED, timedelta(days=1), timedelta(hours=1), timedelta(0)):
        folded = timeline.folded(aware(now, "now") - remembered)
        content = _content(folded)
        if len(content) <= MAX_CONTENT:
            break
    head = {
        "format": FORMAT,
        "reader": FORMAT,
        "base_version": timeline.base_version,
        "lead": timeline.lead.total_seconds(),
    }
    value = f"{_compact(head)[:-1]},{content[1:]}"
    if len(value) <= MAX_CHARACTERS:
        return Document(value)
    return Document(_compact({**head, "object": content_hash(content)}), content)


# --- writing ---


def _content(timeline: Timeline) -> str:
    left = _Left()
    owners = [_plain(entry, left) for entry in timeline.owners]
    lines: dict[str, list[str]] = {}
    for dag_id, line in sorted(timeline.dags.items()):
        lines.setdefault(_compact([_plain(entry, left) for entry in line]), []).append(dag_id)
    known: dict[int, list[str]] = {}
    for dag_id, version in sorted(timeline.known.items()):
        known.setdefault(version, []).append(dag_id)
    return _compact(
        {
            "owners": owners,
            "dags": {",".join(ids): json.loads(line) for line, ids in lines.items()},
            "known": {str(version): ",".join(ids) for version, ids in known.items()},
            "left": left.mappings,
        }
    )


class _Left:
    """The mappings of what was left, each once: many entries have the same."""

    def __init__(self) -> None:
        self.mappings: list[dict[str, str]] = []
        self._places: dict[int, int] = {}  # by the identity of a mapping

    def place(self, left: Mapping[str, datetime]) -> int:
        if id(left) not in self._places:
            plain = {dag_id: _text(instant) for dag_id, instant in sorted(left.items())}
            if plain not in self.mappings:
                self.mappings.append(plain)
            self._places[id(left)] = self.mappings.index(plain)
        return self._places[id(left)]


def _plain(entry: Entry, left: _Left) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "owner": entry.owner,
        "life": entry.life,
        "since": _text(entry.since),
        "version": entry.version,
    }
    if entry.blind:
        plain["blind"] = True
    if entry.left is not None:
        plain["left"] = left.place(entry.left)
        plain["closed"] = entry.closed
    return plain


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


# --- reading ---


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise TimelineError(f"{what} is not JSON: {error}") from error
    return _mapping(raw, what)


def _base(head: Mapping[str, Any]) -> int:
    return _integer(head.get("base_version"), "base_version", least=0)


def _kind(value: object) -> str:
    return "missing" if value is None else f"{type(value).__name__} {value!r:.60}"


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TimelineError(f"{where} must be a JSON object, not {_kind(value)}")
    return value


def _integer(value: object, where: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise TimelineError(f"{where} must be a whole number, {least} or more, not {_kind(value)}")
    return value


def _seconds(value: object, where: str) -> timedelta:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 86400:
        raise TimelineError(f"{where} must be a number of seconds from 0 to 86400, not {_kind(value)}")
    return timedelta(seconds=value)


def _colour(value: object, where: str) -> Colour:
    for colour in COLOURS:
        if colour == value:
            return colour
    raise TimelineError(f"{where} must be one of {', '.join(COLOURS)}, not {_kind(value)}")


def _string(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise TimelineError(f"{where} must be a text, not {_kind(value)}")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise TimelineError(f"{where} must be true or false, not {_kind(value)}")
    return value


def _instant(value: object, where: str) -> datetime:
    complaint = f"{where} must be a time such as 2026-11-23T10:00:05Z, not {_kind(value)}"
    if not isinstance(value, str):
        raise TimelineError(complaint)
    try:
        return aware(datetime.fromisoformat(value), where)
    except TimelineError:
        raise
    except (ValueError, OverflowError) as error:
        raise TimelineError(complaint) from error


def _left(value: object) -> list[dict[str, datetime]]:
    if not isinstance(value, list):
        raise TimelineError(f"left must be a list, not {_kind(value)}")
    return [
        {
            checked_id(dag_id, f"left[{index}]"): _instant(instant, f"left[{index}][{dag_id!r:.60}]")
            for dag_id, instant in _mapping(raw, f"left[{index}]").items()
        }
        for index, raw in enumerate(value)
    ]


def _line(value: object, where: str, newest: int, left: Sequence[dict[str, datetime]]) -> tuple[Entry, ...]:
    if not isinstance(value, list) or not value:
        raise TimelineError(f"{where} must be a list of at least one entry, not {_kind(value)}")
    entries: list[Entry] = []
    for index, raw in enumerate(value):
        entry = _entry(_mapping(raw, f"{where}[{index}]"), f"{where}[{index}]", left)
        if entry.version > newest:
            raise TimelineError(
                f"{where}[{index}].version is {entry.version}, but this value can only have decisions up to "
                f"{newest}"
            )
        if entries and entry.version <= entries[-1].version:
            raise TimelineError(
                f"{where}[{index}].version is {entry.version}, but must be above the previous one, "
                f"{entries[-1].version}"
            )
        entries.append(entry)
    return tuple(entries)


def _entry(raw: Mapping[str, Any], where: str, left: Sequence[dict[str, datetime]]) -> Entry:
    place = raw.get("left")
    if place is not None and _integer(place, f"{where}.left", least=0) >= len(left):
        raise TimelineError(f"{where}.left is {place}, but there are only {len(left)} such mappings")
    closed = _flag(raw.get("closed", False), f"{where}.closed")
    if closed and place is None:
        raise TimelineError(f"{where} is closed, but has no left")
    return Entry(
        owner=_colour(raw.get("owner"), f"{where}.owner"),
        life=_string(raw.get("life"), f"{where}.life"),
        since=_instant(raw.get("since"), f"{where}.since"),
        version=_integer(raw.get("version"), f"{where}.version", least=1),
        left=None if place is None else left[place],
        closed=closed,
        blind=_flag(raw.get("blind", False), f"{where}.blind"),
    )


def _known(value: Mapping[str, Any], newest: int) -> dict[str, int]:
    known: dict[str, int] = {}
    for version, ids in value.items():
        where = f"known[{version!r:.20}]"
        number = _integer(
            int(version) if version.isascii() and version.isdigit() else version, where, least=1
        )
        if number > newest:
            raise TimelineError(f"{where} is above {newest}, the version of this value")
        for dag_id in _string(ids, where).split(","):
            known[checked_id(dag_id, where)] = number
    return known


def _shared(
    value: Mapping[str, Any], where: str, read: Callable[[object, str], tuple[Entry, ...]]
) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    """Each DAG's line; a key may join several ids by commas."""
    names: set[str] = set()
    for key, raw in value.items():
        place = f"{where}[{key if len(key) <= 60 else key[:60] + '...'!r}]"
        line = read(raw, place)
        for dag_id in key.split(","):
            if checked_id(dag_id, place) in names:
                raise TimelineError(f"{place} names the DAG {dag_id}, which already has another line")
            names.add(dag_id)
            yield dag_id, line
