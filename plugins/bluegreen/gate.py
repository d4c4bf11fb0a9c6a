"""Whether a run is this environment's own, and why. Knows Airflow's DAG runs only by their attributes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bluegreen.settings import RECENT, Settings
from bluegreen.store import OwnershipUnknown, Store
from bluegreen.timeline import Claim, Entry, Timeline, due_instant

# Runs that a person or a program creates in one environment only: they run there. A type that is not listed
# here is judged by its due instant, so that a new type of run is never executed twice.
CREATED_HERE = frozenset(
    {"manual", "operator_triggered", "backfill", "asset_materialization", "dataset_materialization"}
)
UNDECIDED_PAUSE = 1.0  # seconds between two looks at what is being passed on
FOLLOWS_PRODUCER = frozenset({"asset_triggered", "dataset_triggered"})


class Verdict(NamedTuple):
    """Whether this environment executes the run, and a readable reason.

    `refused`: a person asked for the run here, so its tasks must fail instead of being skipped in silence.
    """

    mine: bool
    reason: str
    refused: bool = False


@dataclass(frozen=True)
class Run:
    """What the gate needs to know about a DAG run.

    `started` is reset when the run is cleared. `cleared_at`: the instant of the last clear, None if unknown.
    `made_here`: no schedule and no event that also reaches the other environment made it.
    """

    dag_id: str
    run_id: str
    kind: str
    due: datetime | None
    started: datetime | None = None
    cleared: bool = False
    cleared_at: datetime | None = None
    made_here: bool = False


def describe(dag_run: Any, context: Mapping[str, Any] | None = None) -> Run:
    """Describe any version's DagRun, the ORM's or the task runner's; tasks pass their template context."""
    kind = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    cleared = (getattr(dag_run, "clear_number", 0) or 0) > 0
    started, queued = getattr(dag_run, "start_date", None), getattr(dag_run, "queued_at", None)
    return Run(
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        kind=kind,
        due=due_instant(getattr(dag_run, "run_after", None), getattr(dag_run, "data_interval_end", None)),
        started=started,
        cleared=cleared,
        # Airflow queues a run again when it is cleared. Tasks of Airflow 3 are not told when; there,
        # `keep_time_of_clear` leaves it in start_date if it matters. A part that is cleared while the run is
        # at work (Airflow 3.2 and later count that) belongs to what began then.
        cleared_at=min(queued, started or queued) if cleared and queued else None,
        made_here=_made_here(dag_run, kind, context or {}),
    )


def _made_here(dag_run: Any, kind: str, context: Mapping[str, Any]) -> bool:
    if kind == "scheduled":
        # Airflow 2 takes the type from the id, also of a run that TriggerDagRunOperator or a person makes
        return bool(getattr(dag_run, "external_trigger", False))
    return kind in FOLLOWS_PRODUCER and any(map(_produced_here, _asset_events(dag_run, context)))


def _asset_events(dag_run: Any, context: Mapping[str, Any]) -> Iterable[Any]:
    triggering = context.get("triggering_dataset_events")
    if triggering is not None:  # Airflow 2, whose DagRun has no database session of its own in a task
        return [event for events in triggering.values() for event in events]
    return getattr(dag_run, "consumed_asset_events", None) or ()


def _produced_here(event: Any) -> bool:
    """Whether an event exists in this environment only: a task, or a watcher, that passed the gate sent it.

    That also holds while a producer drains here after a switch. Other events come from outside (REST API) and
    may reach both environments. A run with an event of each kind follows the one that is only here, which
    would be lost otherwise.
    """
    extra = getattr(event, "extra", None)
    from_watcher = isinstance(extra, dict) and extra.get("from_trigger")
    return bool(getattr(event, "source_dag_id", None) or from_watcher)


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
        if run.made_here:
            reason = "was triggered here" if run.kind == "scheduled" else "was caused by what ran here"
            return Verdict(True, f"it {reason}, so it is executed here")
        if run.cleared:
            return self._verdict_on_cleared(run, wait)
        here = self.settings.environment
        instant = run.due or run.started or self._clock()
        claim = self._claim(run, instant, wait, afresh=retried)
        if claim.entry is not None and self._is_us(claim.entry):
            return self._over(run) if claim.over else Verdict(True, f"{here} owns {instant.isoformat()}")
        former = claim.entry is not None and claim.entry.owner == here
        if former and retried:
            # It failed since the environment that owned it had been replaced: nobody else executes it.
            return Verdict(
                False,
                f"{run.run_id} of {run.dag_id} belonged to an environment that no longer exists, so it fails "
                "here. To run it, clear it on the environment that owns the work now",
                refused=True,
            )
        owner = f"a former {here}" if former else _named(claim)
        return Verdict(False, f"{owner} owns what is due at {instant.isoformat()}; this is {here}")

    def _verdict_on_cleared(self, run: Run, wait: float) -> Verdict:
        """Judge by the owner at the instant of the clear, whoever owns the work when the run starts again."""
        here, now = self.settings.environment, self._clock()
        asked = run.cleared_at or run.started or now
        instant = max(asked, run.due or asked)
        timeline = self._store.timeline(instant, wait=wait, within=RECENT)
        self._not_replaced(timeline.newest(run.dag_id))
        then = timeline.in_force(instant, run.dag_id)
        if self._is_us(then):
            return Verdict(True, f"{here} owned the work when it was cleared, at {asked.isoformat()}")
        owner_now = timeline.in_force(now, run.dag_id).owner
        due = f", due at {run.due.isoformat()}," if run.due else ""
        again = f"clear it on {owner_now}"
        again += " once more" if owner_now == here else ", which owns the work now"
        return Verdict(
            False,
            f"{run.run_id} of {run.dag_id}{due} was cleared on {here}, but {then.owner} owned the work at "
            f"{asked.isoformat()}, so it fails here. To run it again, {again}",
            refused=True,
        )

    def keep_time_of_clear(self, dag_run: Any) -> bool:
        """Date a cleared run that starts again back to its clear, if the owner has changed in between.

        Called in the scheduler with the ORM's DagRun; returns whether it was changed. Tasks of Airflow 3 know
        the run's start only. In general the start must stay: dagrun_timeout counts from it.
        Raises OwnershipUnknown.
        """
        run = describe(dag_run)
        if run.kind in CREATED_HERE or run.made_here or not (run.cleared_at and run.started):
            return False
        timeline = self._store.timeline(run.started, wait=0)  # it starts now: no older copy is valid
        then, now = (timeline.in_force(each, run.dag_id) for each in (run.cleared_at, run.started))
        if then.owned_by == now.owned_by:
            return False
        dag_run.start_date = run.cleared_at
        return True

    def _claim(self, run: Run, instant: datetime, wait: float, *, afresh: bool) -> Claim:
        """Whose the instant is, by a copy of the timeline that is recent enough for that."""

        def read(within: timedelta, valid_at: datetime) -> tuple[Timeline, Claim]:
            timeline = self._store.timeline(valid_at, wait=wait, within=within)
            return timeline, timeline.claim(instant, run.dag_id)

        deadline = time.monotonic() + wait
        # A switch knows each DAG that had a run when it was written.
        known_since = max(RECENT, self._clock() - run.started) if run.started else RECENT
        within, valid_at = RECENT if afresh else self.settings.max_age, instant
        while True:
            timeline, claim = read(within, valid_at)
            age = RECENT if not claim.settled else within if run.dag_id in timeline.known else known_since
            needed = min(within, age), max(valid_at, claim.confirmed or valid_at)
            if needed == (within, valid_at):
                break
            within, valid_at = needed
        while claim.undecided:
            if time.monotonic() + UNDECIDED_PAUSE > deadline:
                raise OwnershipUnknown(
                    f"what is due at {instant.isoformat()} is being passed on to another environment. To "
                    "complete that: mwaactl switch --wait, with the present owner"
                )
            time.sleep(UNDECIDED_PAUSE)
            timeline, claim = read(RECENT, instant)
        self._not_replaced(timeline.newest(run.dag_id))
        return claim

    def _over(self, run: Run) -> Verdict:
        """The verdict on what is this environment's own, although its books say that it has done with it."""
        here = self.settings.environment
        return Verdict(
            False,
            f"{here} owned {run.run_id} of {run.dag_id}, but its books were closed after a switch or a "
            "failover, so another environment may have executed it: it fails here. To run it again, clear it "
            "on the environment that owns the work now",
            refused=True,
        )

    def _is_us(self, entry: Entry) -> bool:
        return entry.owned_by == (self.settings.environment, self.settings.life)

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
