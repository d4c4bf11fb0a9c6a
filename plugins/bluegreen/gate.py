"""Whether a run is this environment's own, and why. Knows Airflow's DAG runs only by their attributes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bluegreen.settings import Settings
from bluegreen.store import OwnershipUnknown, Store
from bluegreen.timeline import Claim, Entry

# Runs that a person or a program creates in one environment only: they run there. A type that is not listed
# here is judged by its due instant, so that a new type of run is never executed twice.
CREATED_HERE = frozenset(
    {"manual", "operator_triggered", "backfill", "asset_materialization", "dataset_materialization"}
)
UNDECIDED_PAUSE = 1.0  # seconds between two looks at what is being passed on
FOLLOWS_PRODUCER = frozenset({"asset_triggered", "dataset_triggered"})


class Verdict(NamedTuple):
    """Whether this environment executes the run, and a readable reason."""

    mine: bool
    reason: str


@dataclass(frozen=True)
class Run:
    """What the gate needs to know about a DAG run."""

    dag_id: str
    run_id: str
    kind: str
    due: datetime | None
    started: datetime | None = None
    cleared: bool = False
    produced_here: bool = False


def describe(dag_run: Any, context: Mapping[str, Any] | None = None) -> Run:
    """Describe any version's DagRun, the ORM's or the task runner's; tasks pass their template context."""
    kind = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    return Run(
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        kind=kind,
        # Airflow 2 has no run_after; the end of the data interval is the same instant
        due=getattr(dag_run, "run_after", None) or getattr(dag_run, "data_interval_end", None),
        started=getattr(dag_run, "start_date", None),
        cleared=(getattr(dag_run, "clear_number", 0) or 0) > 0,
        produced_here=kind in FOLLOWS_PRODUCER and _produced_here(_asset_events(dag_run, context or {})),
    )


def _asset_events(dag_run: Any, context: Mapping[str, Any]) -> Iterable[Any]:
    triggering = context.get("triggering_dataset_events")
    if triggering is not None:  # Airflow 2, whose DagRun has no database session of its own in a task
        return [event for events in triggering.values() for event in events]
    return getattr(dag_run, "consumed_asset_events", None) or ()


def _produced_here(events: Iterable[Any]) -> bool:
    """Whether all events come from tasks: these have passed the gate, so what they trigger belongs here.

    That also holds while a producer drains here after a switch. Events from outside (REST API, watchers) have
    no source and may reach both environments.
    """
    sources = [getattr(event, "source_dag_id", None) for event in events]
    return bool(sources) and all(sources)


class Gate:
    """Judges runs by the ownership timeline."""

    def __init__(
        self, settings: Settings, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.settings = settings
        self._store = store
        self._clock = clock

    def verdict(self, run: Run, *, wait: float, retried: bool = False) -> Verdict:
        """Judge a run, waiting up to `wait` seconds for the timeline.

        Raises OwnershipUnknown if it cannot be read by then. Cleared and retried runs read it again, because
        a failover may have changed the owner of past instants.
        """
        if run.kind in CREATED_HERE:
            return Verdict(True, f"{run.kind} runs are executed where they were created")
        if run.produced_here:
            return Verdict(True, "the tasks that triggered it ran here")
        here = self.settings.environment
        instant = run.due or run.started or self._clock()
        if run.cleared:
            # an operator has cleared it: the owner at the time of its new start decides, so that a later
            # switch does not stop it halfway
            instant = max(run.started or self._clock(), instant)
        claim = self._claim(run, instant, wait, afresh=run.cleared or retried)
        if claim.entry is not None and claim.entry.owned_by == (here, self.settings.life):
            return Verdict(True, f"{here} owns {instant.isoformat()}")
        if run.cleared:
            return Verdict(
                False,
                f"{run.run_id} of {run.dag_id} was cleared on {here}, but {_named(claim)} owns the work now "
                f"(since before {instant.isoformat()}): clear it on {_named(claim)}",
            )
        return Verdict(False, f"{_named(claim)} owns what is due at {instant.isoformat()}; this is {here}")

    def _claim(self, run: Run, instant: datetime, wait: float, *, afresh: bool) -> Claim:
        """Whose the instant is. While books are open, that may change: then it is read again."""
        deadline = time.monotonic() + wait
        timeline = self._store.timeline(instant, wait=wait, afresh=afresh)
        claim = timeline.claim(instant, run.dag_id)
        if not claim.settled and not afresh:
            timeline = self._store.timeline(instant, wait=wait, afresh=True)
            claim = timeline.claim(instant, run.dag_id)
        while claim.undecided:
            if time.monotonic() + UNDECIDED_PAUSE > deadline:
                raise OwnershipUnknown(
                    f"what is due at {instant.isoformat()} is being passed on to another environment. To "
                    "complete that: mwaactl switch --wait, with the present owner"
                )
            time.sleep(UNDECIDED_PAUSE)
            timeline = self._store.timeline(instant, wait=wait, afresh=True)
            claim = timeline.claim(instant, run.dag_id)
        self._not_replaced(timeline.newest(run.dag_id))
        return claim

    def _not_replaced(self, newest: Entry) -> None:
        """Raise OwnershipUnknown if the work is owned by a former environment with this one's colour."""
        here = self.settings
        if newest.owner == here.environment and newest.life != here.life:
            raise OwnershipUnknown(
                f"{here.environment} owns the work, but that environment was replaced by this one. To let "
                f"this one own it: mwaactl switch {here.environment}"
            )


def _named(claim: Claim) -> str:
    """The owner, for a person."""
    return claim.entry.owner if claim.entry is not None else "nobody"
