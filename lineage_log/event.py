"""One event of the lineage log: its text, and the fields that determine its delivery."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

LARGEST = 8 * 1024 * 1024  # bytes, unpacked
BEGINNINGS = ("START", "RUNNING")  # kinds that leave a run running; the others follow them


class UnreadableError(ValueError):
    """An object in the log is not an event; the message says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `packed`: its compressed content in the log. `lane`: events of one lane keep their order."""

    key: str
    packed: bytes
    lane: str
    run: str | None
    namespace: str
    kind: str | None = None  # START, COMPLETE, ...
    has_valid_time: bool = True  # Marquez answers 500 to an event with an invalid eventTime

    @classmethod
    def parse(cls, key: str, packed: bytes) -> Self:
        """Parse an object's content. Raises UnreadableError."""
        text = unpacked(packed)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"not JSON: {error}") from error
        fields = content if isinstance(content, dict) else {}
        # A run belongs to one job, so the order within a job is also the order within each of its runs.
        owner = _dict(fields, "job") or _dict(fields, "dataset")
        namespace, name = str(owner.get("namespace", "")), str(owner.get("name", ""))
        run, kind = _dict(fields, "run").get("runId"), fields.get("eventType")
        return cls(
            key=key,
            packed=packed,
            lane=f"{namespace}\n{name}",
            run=None if run is None else str(run),
            namespace=namespace,
            kind=None if kind is None else str(kind),
            has_valid_time=parsed_instant(fields.get("eventTime")) is not None,
        )

    @property
    def begins(self) -> bool:
        """Whether it reports that its run has begun or still runs."""
        return self.kind in BEGINNINGS

    @property
    def text(self) -> bytes:
        return unpacked(self.packed)


def unpacked(raw: bytes) -> bytes:
    """The JSON text of an object's content. Raises UnreadableError."""
    if not raw.startswith(b"\x1f\x8b"):
        text = raw  # uncompressed, such as one written by hand
    else:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                text = packed.read(LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(f"not a complete gzip file: {error}") from error
    if len(text) > LARGEST:
        raise UnreadableError(f"larger than {LARGEST} bytes")
    return text


def parsed_instant(text: Any) -> datetime | None:
    """Parse a time; None if it is not a time or has no zone."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return instant.astimezone(UTC) if instant.tzinfo else None


def _dict(content: dict[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}
