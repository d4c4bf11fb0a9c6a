"""What must not be divided between the sides: a DAG from its own unfinished runs, and DAGs from each other.

A DAG is *serial* if Airflow does not let it overlap itself. A DAG *looks at* others if a sensor of it waits
for their runs: on the side where these are mirrors, it would see them end before their originals have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Pool, Task
from mwaactl.airflow.rest import NotFound, Refused
from mwaactl.checks.evidence import AT_ONCE, named_dependencies, naming
from mwaactl.errors import Unreachable

SENSED = "external_dag_id"  # the template field in which a sensor names the DAG that it waits for
MARKER = "ExternalTaskMarker"  # has that field, but names a DAG that waits for its own


@dataclass(frozen=True)
class Traits:
    """What the definition of a DAG says about other runs of it, and about other DAGs."""

    serial: bool  # it must not overlap itself
    past: bool = False  # what it does depends on its previous run
    looks_at: frozenset[str] = frozenset()  # the DAGs that its sensors wait for
    narrow_pools: frozenset[str] = frozenset()  # pools in which only one of its tasks has room


class KnownTraits:
    """The traits of one environment's DAGs, each read once. Its methods raise Unreachable.

    `other` is asked which DAGs a sensor names if its recent runs here do not tell: mirrors name none.
    """

    def __init__(self, api: AirflowApi, other: AirflowApi, *, across: bool = True) -> None:
        self._apis, self._across = (api, other), across
        self._known: dict[str, Traits] = {}
        self._pools: Mapping[str, Pool] | None = None

    def __getitem__(self, dag_id: str) -> Traits:
        """The traits of a DAG that was learned; of another, those of a DAG that was removed: serial."""
        return self._known.get(dag_id, Traits(serial=True))

    def learn(self, dags: Iterable[Dag]) -> None:
        """Read what is not known yet: one call for each DAG, a few more for one with sensors."""
        unknown = [dag for dag in dags if dag.dag_id not in self._known]
        if not unknown:
            return
        if self._pools is None:
            self._pools = self._read_pools()
        pools = self._pools
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="traits") as pool:
            reading = {pool.submit(self._read, dag, pools): dag.dag_id for dag in unknown}
            try:
                for answer in as_completed(reading):
                    self._known[reading[answer]] = answer.result()
            except Unreachable:
                pool.shutdown(cancel_futures=True)  # the others would only wait for the same time-out
                raise

    def _read_pools(self) -> Mapping[str, Pool]:
        try:
            return self._apis[0].pools()
        except Refused:  # the caller's role in Airflow may not see them
            return {}

    def _read(self, dag: Dag, pools: Mapping[str, Pool]) -> Traits:
        try:
            tasks = self._apis[0].tasks(dag.dag_id)
            looks_at = self._looks_at(dag.dag_id, tasks) if self._across else frozenset()
        except NotFound:  # the DAG is being removed: hold it while it is busy
            return Traits(serial=True)
        return traits_of(dag, tasks, pools, looks_at)

    def _looks_at(self, dag_id: str, tasks: Iterable[Task]) -> frozenset[str]:
        fields = naming([task for task in tasks if task.operator != MARKER])
        sensors = {task_id: field for task_id, field in fields.items() if field == SENSED}
        if not sensors:
            return frozenset()
        here, there = self._apis
        named = {found.other for found in named_dependencies(here, dag_id, sensors)}
        if None in named:  # a sensor that no recent run here has rendered
            with suppress(Unreachable):
                named |= {found.other for found in named_dependencies(there, dag_id, sensors)}
        return frozenset(name for name in named if name is not None)


def traits_of(dag: Dag, tasks: Iterable[Task], pools: Mapping[str, Pool], looks_at: frozenset[str]) -> Traits:
    """The traits that a definition has; `looks_at`: the DAGs that its sensors wait for."""
    every = tuple(tasks)
    narrow = frozenset(
        pool.name for task in every if (pool := pools.get(task.pool or "")) is not None and _fills(task, pool)
    )
    past = any(task.depends_on_past or task.wait_for_downstream for task in every)
    return Traits(dag.alone or past or bool(narrow), past, looks_at, narrow)


def _fills(task: Task, pool: Pool) -> bool:
    """Whether two such tasks do not fit into the pool at once (a pool of -1 slots has no limit)."""
    return 0 <= pool.slots < 2 * task.pool_slots
