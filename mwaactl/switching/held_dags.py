"""DAGs that must not overlap themselves (`max_active_runs=1`, `depends_on_past`, `wait_for_downstream`).

Such a DAG changes sides only while it is idle: the side that it leaves has no unfinished run of it, and will
create none that is due before the other side owns it. Until then it is held where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from mwaactl.airflow.client import AirflowApi, NotFound
from mwaactl.airflow.models import Dag, Run, Task
from mwaactl.checks.outcome import Sides
from mwaactl.checks.serial import concerned, source_answered
from mwaactl.errors import Unreachable
from mwaactl.json_model import Model, iso
from mwaactl.ownership.parameter import ARRIVES_WITHIN

# A slow write takes effect later than planned, a lead after its arrival: the old side still owns the runs due
# until then.
MARGIN = ARRIVES_WITHIN
SOON = timedelta(minutes=1)  # the tasks of DAGs due within this are read before the operator is asked
AT_ONCE = 8  # concurrent calls for tasks


class HeldDag(Model):
    """A DAG that stays on the old side for now."""

    dag_id: str
    reason: str


def is_serial(dag: Dag, tasks: Callable[[str], tuple[Task, ...]]) -> bool:
    """Whether the DAG must not overlap itself; `tasks` returns a DAG's tasks and is called only if needed."""
    return dag.max_active_runs == 1 or any(
        task.depends_on_past or task.wait_for_downstream for task in tasks(dag.dag_id)
    )


@dataclass(frozen=True)
class Activity:
    """One environment at one moment: its DAGs by id, and its unfinished runs of any type by DAG id."""

    dags: Mapping[str, Dag]
    unfinished: Mapping[str, tuple[Run, ...]]
    unclear: frozenset[str] = frozenset()  # DAGs whose next run the environment does not report

    def busy(self, dag_id: str, until: datetime) -> str | None:
        """The reason why the DAG is not idle up to `until`; None if it is."""
        if runs := self.unfinished.get(dag_id):
            first = min(runs, key=lambda run: (run.due or until, run.run_id))
            unfinished = f" and {len(runs) - 1} more are" if len(runs) > 1 else " is"
            paused = dag_id in self.dags and self.dags[dag_id].paused
            return f"{first.run_id}{unfinished} unfinished" + (", and the DAG is paused" if paused else "")
        if dag_id in self.unclear:
            return "Airflow has not planned its next run yet"
        due = self.next_due(dag_id)
        return f"its next run is due {iso(due)}" if due is not None and due < until else None

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
        if dag.next_due is None
        and dag.schedule is not None
        and not (dag.by_assets or dag.paused or dag.dag_id in by_dag)
    ]
    known = others() if silent else {}
    unclear = frozenset(dag_id for dag_id in silent if dag_id in known and known[dag_id].next_due is not None)
    return Activity(dags, {dag_id: tuple(runs) for dag_id, runs in by_dag.items()}, unclear)


class Watch:
    """Observes one environment, and remembers which of its DAGs are serial. Its methods raise Unreachable.

    Where this environment reports no next run, it asks the other one.
    """

    def __init__(self, api: AirflowApi, other: AirflowApi) -> None:
        self.api, self._other = api, other
        self._by_tasks: dict[str, bool] = {}

    def look(self) -> Activity:
        """The present activity. Runs are read after the DAGs, so one created in between is not missed."""
        dags = self.api.dags()
        return activity(dags, self.api.unfinished_runs(), self._other.dags)

    def serial(self, dags: Iterable[Dag]) -> frozenset[str]:
        """The ids of the serial ones among `dags`; one call for each that is not known yet."""
        chosen = tuple(dags)
        unknown = [dag for dag in chosen if dag.max_active_runs != 1 and dag.dag_id not in self._by_tasks]
        if unknown:
            with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="serial") as pool:
                ids = [dag.dag_id for dag in unknown]
                self._by_tasks |= zip(ids, pool.map(self._is_serial, unknown), strict=True)
        return frozenset(
            dag.dag_id for dag in chosen if dag.max_active_runs == 1 or self._by_tasks[dag.dag_id]
        )

    def _is_serial(self, dag: Dag) -> bool:
        try:
            return is_serial(dag, self.api.tasks)
        except NotFound:  # the DAG is being removed: hold it while it is busy
            return True

    def held(self, activity: Activity, dag_ids: Iterable[str], until: datetime) -> tuple[HeldDag, ...]:
        """Those of `dag_ids` that are serial and not idle up to `until`."""
        busy = {dag_id: why for dag_id in dag_ids if (why := activity.busy(dag_id, until)) is not None}
        serial = self.serial(activity.dags[dag_id] for dag_id in busy if dag_id in activity.dags)
        return tuple(
            HeldDag(dag_id=dag_id, reason=busy[dag_id])
            for dag_id in sorted(busy)
            # A removed DAG with unfinished runs may have been serial.
            if dag_id in serial or dag_id not in activity.dags
        )


def known_by_tasks(sides: Sides, source: Watch | None, target: AirflowApi, likely: Iterable[str]) -> Sides:
    """`sides` with the DAGs that are serial because of their tasks.

    On the source, only the tasks of DAGs that are `likely` to be busy are read. If the source did not answer,
    the target's are, unless `max_active_runs` already shows that one of its DAGs is serial.
    """
    dags = concerned(sides)
    try:
        if source_answered(sides) and source is not None:
            serial = source.serial(dags[dag_id] for dag_id in likely if dag_id in dags)
        elif sides.target.dags is not None:
            active = [dag for dag in dags.values() if not dag.paused]
            serial = Watch(target, target).serial(
                [dag for dag in active if dag.max_active_runs == 1] or active
            )
        else:
            return sides
    except Unreachable:
        return sides
    return sides.model_copy(update={"serial": serial})
