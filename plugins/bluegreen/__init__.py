"""Blue/green for Airflow: each scheduled run is executed by the environment that owns its due instant.

For DAG authors: `bluegreen.owner()` and `bluegreen.is_active()` return who owns the work. No DAG needs them
to run exactly once; they are for side effects outside scheduled runs (a callback that reports, a manual run
that must not write). Call them only in tasks and callbacks: at the top level of a DAG file they would run at
each parse.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["is_active", "owner"]


def owner(dag_id: str | None = None, instant: datetime | None = None) -> str:
    """ "blue" or "green": the owner of what is due at `instant` (aware; default now), for one DAG if named.

    Waits for the timeline as a task does, 60 s by default, then raises bluegreen.store.OwnershipUnknown.
    Raises ValueError for an instant without a time zone, bluegreen.settings.SettingsError without settings.
    """
    from bluegreen import settings, store  # late: a DAG file that imports this package is parsed often

    chosen = settings.load()
    moment = instant or datetime.now(UTC)
    if moment.tzinfo is None:
        raise ValueError(f"the instant needs a time zone: {moment.isoformat()}")
    timeline = store.store(chosen).timeline(moment, wait=chosen.wait.total_seconds())
    entry = timeline.claim(moment, dag_id).entry
    return entry.owner if entry is not None else "nobody"


def is_active(dag_id: str | None = None) -> bool:
    """Whether this environment owns what is due now, for one DAG if named. Raises as `owner` does."""
    from bluegreen import settings

    return owner(dag_id) == settings.load().environment
