"""Who owned what, from the parameter's history alone.

The rules of `docs/switching.md` written down a second time, on purpose: a mistake in `bluegreen.timeline`
must not hide itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Version:
    """One version of the parameter, as SSM keeps it."""

    number: int
    value: str
    modified: datetime
    description: str


@dataclass(frozen=True)
class Decision:
    """From `since` on, `owner` runs what is due: of one DAG, or of all (None)."""

    version: int
    dag: str | None
    owner: str
    since: datetime

    def __str__(self) -> str:
        return f"version {self.version}: {self.owner} from {self.since:%H:%M:%S.%f}" + (
            f" for {self.dag}" if self.dag else ""
        )


def decided(
    versions: Iterable[Version], lead: timedelta, fetch: Callable[[str], str] | None = None
) -> list[Decision]:
    """The decisions that count, oldest first: those of versions that were written upon the one before.

    `fetch` returns the content of an object that a value points to.
    """
    found: list[Decision] = []
    for version in sorted(versions, key=lambda v: v.number):
        content = json.loads(version.value)
        if content["base_version"] != version.number - 1:
            continue
        if fetch is not None and "object" in content:
            content |= json.loads(fetch(content["object"]))
        lines = [(None, content["owners"])]
        lines += [(dag, line) for names, line in content["dags"].items() for dag in names.split(",")]
        for dag, line in lines:
            for entry in line:
                owner, since = entry["owner"], datetime.fromisoformat(entry["since"])
                if entry["version"] != version.number:
                    continue  # decided by an older version, and carried along
                if since != EPOCH:  # a put may have come late: it counts from its arrival
                    since = max(since, version.modified + lead)
                found.append(Decision(version.number, dag, owner, since))
    return found


def deciding(decisions: Iterable[Decision], dag: str, due: datetime) -> Decision:
    """The decision by which `due` of `dag` has its owner: the newest that has begun; its own before all's."""
    begun = [d for d in decisions if d.since <= due and d.dag in (None, dag)]
    return max(begun, key=lambda d: (d.version, d.dag is not None))
