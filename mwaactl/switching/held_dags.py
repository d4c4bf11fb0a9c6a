"""The DAGs that a switch holds back: what must not overlap itself, and what must not be divided.

A serial DAG (`switching.traits`) changes sides only while it is idle: the side that it leaves has no
unfinished run of it, and will create none that is due before the other side owns it. DAGs of which one looks
at runs of the other, or that share a pool with room for one task, change sides together, and what is looked
at must be idle too. Until then they are held where they are. A paused one that has runs to catch up on moves
last, when nothing else is left: unpaused before, it does so on one side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bluegreen.timeline import Colour, Timeline

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run
from mwaactl.checks.outcome import Sides
from mwaactl.checks.serial import concerned
from mwaactl.errors import Unreachable
from mwaactl.json_model import Model, iso
from mwaactl.ownership.parameter import ARRIVES_WITHIN
from mwaactl.switching.past import FailedPast
from mwaactl.switching.traits import KnownTraits

# A slow write takes effect later than planned, a lead after its arrival: the old side still owns the runs due
# until then.
MARGIN = ARRIVES_WITHIN
# A DAG that is due within this is likely to be busy once the operator has answered.
SOON = timedelta(minutes=1)
CROSS_DAG = "cross-dag"  # the check that is overridden to divide DAGs of which one looks at the other
LOOKS = 3  # until nothing has failed in between


class HeldDag(Model):
    """A DAG that stays on the old side for now."""

    dag_id: str
    reason: str


@dataclass(frozen=True)
class Activity:
    """One environment at one moment: its DAGs by id, and its unfinished runs of any type by DAG id."""

    dags: Mapping[str, Dag]
    unfinished: Mapping[str, tuple[Run, ...]]
    unclear: frozenset[str] = frozenset()  # DAGs whose next run the environment does not report

    def busy(self, dag_id: str, until: datetime) -> str | None:
        """The reason why the DAG is not idle up to `until`; None if it is."""
        why = self._busy(dag_id, until)
        dag = self.dags.get(dag_id)
        if why is None or dag is None or not dag.endless:
            return why
        return (
            f"{why}; @continuous is never idle: --dag {dag_id} --force serial-dags moves it, overlapping once"
        )

    def _busy(self, dag_id: str, until: datetime) -> str | None:
        if runs := self.unfinished.get(dag_id):
            first = min(runs, key=lambda run: (run.due or until, run.run_id))
            unfinished = f" and {len(runs) - 1} more are" if len(runs) > 1 else " is"
            paused = dag_id in self.dags and self.dags[dag_id].paused
            return f"{first.run_id}{unfinished} unfinished" + (", and the DAG is paused" if paused else "")
        if dag_id in self.unclear:
            return "Airflow has not planned its next run yet"
        due = self.next_due(dag_id)
        return f"its next run is due {iso(due)}" if due is not None and due < until else None

    def behind(self, dag_id: str, until: datetime) -> str | None:
        """The reason why a paused DAG is not idle: once it is unpaused, it has runs to catch up on.

        Only of a DAG whose settings let it do one thing at a time: all others would take a call each.
        """
        dag = self.dags.get(dag_id)
        if dag is None or not (dag.paused and dag.alone) or dag.next_due is None or dag.next_due >= until:
            return None
        return f"it is paused, and its runs since {iso(dag.next_due)} are still to be created"

    def may_run(self, dag_id: str, until: datetime) -> bool:
        """Whether anything of the DAG can run: it exists and is not paused, or is not idle up to `until`."""
        dag = self.dags.get(dag_id)
        return (dag is not None and not dag.paused) or self.busy(dag_id, until) is not None

    def next_due(self, dag_id: str) -> datetime | None:
        """The due instant of the next run that the scheduler will create; None: no such run, or unclear."""
        dag = self.dags.get(dag_id)
        return None if dag is None or dag.paused else dag.next_due


def activity(
    dags: Mapping[str, Dag], unfinished: Iterable[Run], others: Callable[[], Mapping[str, Dag]]
) -> Activity:
    """The activity of one environment, from its DAGs and its unfinished runs.

    While a DAG is at its `max_active_runs`, and for some time after a manual run, Airflow reports no next
    run, as it does for a DAG that has none. In that case only, `others` is called for the DAGs of the other
    environment: if it reports a next run, the DAG is `unclear`.
    """
    by_dag: dict[str, list[Run]] = {}
    for run in unfinished:
        by_dag.setdefault(run.dag_id, []).append(run)
    silent = [
        dag.dag_id
        for dag in dags.values()
        if dag.next_due is None and dag.by_time and not (dag.paused or dag.dag_id in by_dag)
    ]
    known = others() if silent else {}
    unclear = frozenset(dag_id for dag_id in silent if dag_id in known and known[dag_id].next_due is not None)
    return Activity(dags, {dag_id: tuple(runs) for dag_id, runs in by_dag.items()}, unclear)


class Watch:
    """Observes one environment, and remembers the traits of its DAGs. Its methods raise Unreachable.

    Where this environment reports no next run, it asks the other one. `hold` are DAGs that count as serial
    because the operator says so. Without `across`, DAGs that look at others may leave them behind.
    """

    def __init__(
        self, api: AirflowApi, other: AirflowApi, *, hold: Iterable[str] = (), across: bool = True
    ) -> None:
        self.api, self.other = api, other
        self.hold = frozenset(hold)
        self.past = FailedPast(api, other)
        self._traits = KnownTraits(api, other, across=across)

    def look(self) -> Activity:
        """The present activity. Runs are read after the DAGs, so one created in between is not missed."""
        dags = self.api.dags()
        return activity(dags, self.api.unfinished_runs(), self.other.dags)

    def ready(
        self,
        timeline: Timeline,
        colour: Colour,
        moving: Callable[[Activity], Iterable[str]],
        until: datetime,
    ) -> Activity:
        """The present activity of this environment, `colour`, once all is known for a decision.

        `moving` returns the DAGs that would change sides. What failed of those that can is shown on the other
        side; then nothing else is asked before the decision.
        """
        for _ in range(LOOKS):
            activity = self.look()
            dag_ids = set(moving(activity))
            dag_ids -= {dag.dag_id for dag in self.held(activity, dag_ids, until, past=False)}
            if not self.past.settle(timeline, colour, dag_ids):
                break
        return activity

    def serial(self, dags: Iterable[Dag]) -> frozenset[str]:
        """The ids of the serial ones among `dags`."""
        chosen = tuple(dags)
        self._traits.learn(chosen)
        return frozenset(dag.dag_id for dag in chosen if self._is_serial(dag.dag_id))

    def _is_serial(self, dag_id: str) -> bool:
        return dag_id in self.hold or self._traits[dag_id].serial

    def held(
        self,
        activity: Activity,
        dag_ids: Iterable[str],
        until: datetime,
        *,
        kept: frozenset[str] = frozenset(),
        past: bool = True,
        behind: bool = True,
    ) -> tuple[HeldDag, ...]:
        """Those of `dag_ids` that must not change sides at `until`, with the reasons.

        `kept` are the DAGs that the switch itself held (`held_by_switch`): one that nothing in its definition
        holds was held by the operator, and still is. Without `past`, no failure that the other side does not
        show holds a DAG; without `behind`, nothing that a paused DAG has yet to catch up on does.
        """
        chosen = tuple(dict.fromkeys(dag_ids))
        busy = {dag_id: why for dag_id in chosen if (why := activity.busy(dag_id, until)) is not None}
        active = [dag_id for dag_id in chosen if dag_id in activity.dags and activity.may_run(dag_id, until)]
        self._traits.learn(activity.dags[dag_id] for dag_id in active)
        links = self._links(active)
        linked = {dag_id for link in links for dag_id in link}
        reasons = {
            dag_id: why
            for dag_id, why in busy.items()
            if self._is_serial(dag_id) or (dag_id in kept and dag_id not in linked)
        }
        for dag_id in chosen:
            if past and dag_id in self.past.blocked and self._traits[dag_id].past:
                reasons.setdefault(dag_id, self.past.blocked[dag_id])
        for dag_id in chosen if behind else ():
            if (why := activity.behind(dag_id, until)) is not None:
                reasons.setdefault(dag_id, why)
        for dag_id, other in links:
            if other in self._traits[dag_id].looks_at:
                reasons |= _looking(activity, dag_id, other, busy, chosen)
        return tuple(
            HeldDag(dag_id=dag_id, reason=why)
            for dag_id, why in sorted(_together(reasons, links, set(chosen)))
        )

    def _links(self, dag_ids: Iterable[str]) -> list[tuple[str, str]]:
        """Pairs of DAGs that must not be divided: one looks at the other, or both need a narrow pool."""
        links: list[tuple[str, str]] = []
        first: dict[str, str] = {}  # by narrow pool, the first DAG that needs it
        for dag_id in dag_ids:
            traits = self._traits[dag_id]
            links += [(dag_id, other) for other in sorted(traits.looks_at)]
            links += [
                (dag_id, first[pool])
                for pool in traits.narrow_pools
                if first.setdefault(pool, dag_id) != dag_id
            ]
        return links


def _looking(
    activity: Activity, dag_id: str, other: str, busy: Mapping[str, str], moving: Iterable[str]
) -> dict[str, str]:
    """Why `dag_id`, which looks at `other`, and `other` must stay; empty if they need not."""
    if other in moving:
        return (
            {dag_id: f"it waits for runs of {other}: {busy[other]}", other: busy[other]}
            if other in busy
            else {}
        )
    if runs := activity.unfinished.get(other):
        return {dag_id: f"it waits for runs of {other}: {runs[0].run_id} is unfinished"}
    return {}


def _together(
    reasons: Mapping[str, str], links: Iterable[tuple[str, str]], moving: set[str]
) -> list[tuple[str, str]]:
    """The moving DAGs that must stay: those with a reason, and all that must not be divided from them."""
    neighbours: dict[str, set[str]] = {}
    for one, other in (link for link in links if moving.issuperset(link)):
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    result = dict(reasons)
    for first in sorted(reasons):
        queue = [first]
        for dag_id in queue:  # grows meanwhile
            queue += (joined := neighbours.get(dag_id, set()) - result.keys())
            result |= dict.fromkeys(joined, f"it goes together with {first}: {reasons[first]}")
    return list(result.items())


def held_by_switch(timeline: Timeline) -> frozenset[str]:
    """The DAGs that the newest switch held back: by entries of its own version."""
    newest = timeline.owners[-1]
    return frozenset(
        dag_id
        for dag_id, line in timeline.dags.items()
        if line[-1].version == newest.version and line[-1].owner != newest.owner
    )


def known_by_tasks(sides: Sides, source: Watch | None, target: AirflowApi, likely: Iterable[str]) -> Sides:
    """`sides` with the DAGs that are serial because of their tasks.

    On the source, the tasks of the `likely` DAGs are read. If the source did not answer (None), the target's
    are, unless its settings already show that one of its DAGs is serial.
    """
    dags = concerned(sides)
    try:
        if source is not None:
            serial = source.serial(dags[dag_id] for dag_id in likely if dag_id in dags)
        else:
            active = [dag for dag in dags.values() if not dag.paused]
            serial = Watch(target, target, across=False).serial(
                [dag for dag in active if dag.alone] or active
            )
    except Unreachable:
        return sides
    return sides.model_copy(update={"serial": serial})
