"""Blue/green for Airflow: each scheduled run is executed by the environment that owns its due instant.

For DAG authors: `bluegreen.owner()` and `bluegreen.is_active()` ask who owns the work. No DAG needs them to
run exactly once; they are for side effects outside of scheduled runs (a callback that reports, a manual run
that must not write).
"""

from __future__ import annotations

from datetime import UTC, datetime


def owner(dag_id: str | None = None, instant: datetime | None = None) -> str:
    """ "blue" or "green": who owns what is due at `instant` (aware; default now), for one DAG if named.

    Waits for the timeline as a task does, then raises bluegreen.store.OwnershipUnknown.
    """
    from bluegreen import settings, store  # here: a DAG file that imports this package is parsed often

    chosen = settings.load()
    moment = instant or datetime.now(UTC)
    timeline = store.store(chosen).timeline(moment, wait=chosen.wait.total_seconds())
    return timeline.owner(moment, dag_id)


def is_active(dag_id: str | None = None) -> bool:
    """Whether this environment owns what is due now, for one DAG if named."""
    from bluegreen import settings

    return owner(dag_id) == settings.load().environment
