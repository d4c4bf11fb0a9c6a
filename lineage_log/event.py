"""One event of the lineage log: its text, and the fields that determine its delivery."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import threading
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

LARGEST = 8 * 1024 * 1024  # bytes, unpacked
MOST_VALUES = 1_000_000  # and structures in an event: each takes 100 bytes and more when it is parsed
ENDS = ("COMPLETE", "FAIL", "ABORT")  # kinds that end a run; to Marquez, all others leave it running
_parsing = threading.Lock()  # a parsed event can be many times as large: there is one at a time
_HEX = re.compile("[0-9a-fA-F]{1,15}")


class UnreadableError(ValueError):
    """An object in the log is not an event; the message says why."""


class TooLargeError(UnreadableError):
    """It has more than `LARGEST` bytes, packed or unpacked."""

    def __init__(self) -> None:
        super().__init__(f"larger than {LARGEST} bytes")


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `packed`: its compressed content in the log. `lane`: events of one lane keep their order.

    `size`: bytes that it takes while it is posted, packed and unpacked.
    """

    key: str
    packed: bytes
    size: int
    lane: str
    run: str | None
    namespace: str
    kind: str | None = None  # START, COMPLETE, ...
    instant: datetime | None = None  # its eventTime; Marquez answers 500 to an event with an invalid one
    parent_run: str | None = None  # in Marquez, which creates it from this event if there is none
    writes: frozenset[str] = frozenset()  # what the event changes in Marquez: its lane and its outputs
    reads: frozenset[str] = frozenset()  # what it refers to: its parent's lane and its inputs

    @classmethod
    def parse(cls, key: str, packed: bytes) -> Self:
        """Parse an object's content. Raises UnreadableError."""
        with _parsing:
            return cls._parsed(key, packed, unpacked(packed))

    @classmethod
    def _parsed(cls, key: str, packed: bytes, text: bytes) -> Self:
        if sum(map(text.count, (b",", b":", b"{", b"["))) > MOST_VALUES:
            raise UnreadableError(f"more than {MOST_VALUES} values and structures")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"not JSON: {error}") from error
        fields = content if isinstance(content, dict) else {}
        # A run belongs to one job, so the order within a job is also the order within each of its runs.
        owner = _dict(fields, "job") or _dict(fields, "dataset")
        lane = _lane(owner)
        run, kind = _dict(fields, "run").get("runId"), fields.get("eventType")
        facet = _dict(_dict(_dict(fields, "run"), "facets"), "parent")
        parent, parent_run = _dict(facet, "job"), _dict(facet, "run").get("runId")
        return cls(
            key=key,
            packed=packed,
            size=len(packed) + len(text),
            lane=lane,
            run=None if run is None else str(run),
            namespace=str(owner.get("namespace", "")),
            kind=None if kind is None else str(kind),
            instant=parsed_instant(fields.get("eventTime")),
            parent_run=None if parent_run is None else marquez_run_id(str(parent_run)),
            writes=frozenset([lane, *_datasets(fields, "outputs")]),
            reads=frozenset([*_datasets(fields, "inputs"), *([_lane(parent)] if parent else ())]),
        )

    @property
    def begins(self) -> bool:
        """Whether it reports that its run has begun or still runs."""
        return self.kind is not None and self.kind.upper() not in ENDS

    @property
    def run_in_marquez(self) -> str | None:
        """The id by which Marquez knows the run."""
        return None if self.run is None else marquez_run_id(self.run)

    @property
    def text(self) -> bytes:
        return unpacked(self.packed)


def unpacked(raw: bytes) -> bytes:
    """The JSON text of an object's content. Raises UnreadableError."""
    if len(raw) > LARGEST:
        raise TooLargeError
    if not raw.startswith(b"\x1f\x8b"):
        text = raw  # uncompressed, such as one written by hand
    else:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                text = packed.read(LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(f"not a complete gzip file: {error}") from error
    if len(text) > LARGEST:
        raise TooLargeError
    return text


def parsed_instant(text: Any) -> datetime | None:
    """Parse a time; None if it is not a time or has no zone."""
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def marquez_run_id(text: str) -> str:
    """The UUID by which Marquez knows a run: its id as Java reads it, or else the hash of the id."""
    parts = text.split("-")
    if len(text) <= 36 and len(parts) == 5 and all(_HEX.fullmatch(part) for part in parts):
        widths = (8, 4, 4, 4, 12)
        return "-".join(f"{part.lower():0>{n}}"[-n:] for part, n in zip(parts, widths, strict=True))
    digest = hashlib.md5(text.encode(errors="replace"), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest, version=3))


def _lane(owner: dict[str, Any]) -> str:
    return f"{owner.get('namespace', '')}\n{owner.get('name', '')}"


def _datasets(fields: dict[str, Any], name: str) -> list[str]:
    datasets = fields.get(name)
    if not isinstance(datasets, list):
        return []
    return ["dataset\n" + _lane(each) for each in datasets if isinstance(each, dict)]


def _dict(content: dict[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}
