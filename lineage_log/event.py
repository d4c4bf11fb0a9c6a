"""One event of the lineage log: what decides where it goes, and its text."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

LARGEST = 8 * 1024 * 1024  # bytes, unpacked


class UnreadableError(ValueError):
    """An object of the log that is not an event; says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """`packed`: as it lies in the log, which is a tenth of its text. `lane`: what must keep its order."""

    key: str
    packed: bytes
    lane: str
    run: str | None
    namespace: str
    kind: str | None = None  # START, COMPLETE, ...
    timed: bool = True  # its eventTime is a time: at another one Marquez fails, with 500

    @classmethod
    def read(cls, key: str, packed: bytes) -> Self:
        """Raises UnreadableError."""
        text = unpacked(packed)
        try:
            told = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"not a JSON text: {error}") from error
        # A run belongs to one job, so that a job's order is also that of each of its runs.
        owner = _dict(told, "job") or _dict(told, "dataset")
        run = _dict(told, "run").get("runId")
        namespace, name = str(owner.get("namespace", "")), str(owner.get("name", ""))
        kind = told.get("eventType") if isinstance(told, dict) else None
        return cls(
            key,
            packed,
            f"{namespace}\n{name}",
            None if run is None else str(run),
            namespace,
            None if kind is None else str(kind),
            parsed_instant(told.get("eventTime") if isinstance(told, dict) else None) is not None,
        )

    @property
    def text(self) -> bytes:
        return unpacked(self.packed)


def unpacked(raw: bytes) -> bytes:
    """The JSON text of an object's content. Raises UnreadableError."""
    if not raw.startswith(b"\x1f\x8b"):
        text = raw  # written by hand, without compression
    else:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                text = packed.read(LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(f"not a whole gzip file: {error}") from error
    if len(text) > LARGEST:
        raise UnreadableError(f"larger than {LARGEST} bytes")
    return text


def parsed_instant(text: Any) -> datetime | None:
    """None for what is no time, or one without a zone."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return instant.astimezone(UTC) if instant.tzinfo else None


def _dict(told: Any, name: str) -> dict[str, Any]:
    found = told.get(name) if isinstance(told, dict) else None
    return found if isinstance(found, dict) else {}
