"""Failed runs, shown on the target before their DAG runs there.

The target believes its mirrors, which are skipped and so count as successful: `depends_on_past` would go on
after a failure, and `prev_data_interval_end_success` would pass over the interval that failed. So before a
DAG moves, the mirrors of the runs that have failed on the source since its last success receive their final
states: then Airflow on the target waits, or looks back, as it would have on the source.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import takewhile

from bluegreen.timeline import Colour, Timeline

from mwaactl import clock
from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.json_model import iso
from mwaactl.switching.mirrors import PER_DAG, TICK, Attempts, copy_final_states, due_of

LOOK_BACK = timedelta(days=32)  # a DAG that runs every month may still depend on a run as old as this
RETRY = timedelta(seconds=30)  # after which what is blocked is tried again
AT_ONCE = 8  # concurrent calls for newest runs


class FailedPast:
    """Copies failures from `source` to `target`, and remembers what it copied and what it could not."""

    def __init__(self, source: AirflowApi, target: AirflowApi) -> None:
        self._source, self._target = source, target
        self._settled: dict[str, tuple[Run, datetime]] = {}  # by DAG: its newest failure, when it was copied
        self.attempts: Attempts = {}
        self.blocked: dict[str, str] = {}  # DAGs whose failed runs the target does not show, and why

    def settle(self, timeline: Timeline, colour: Colour, dag_ids: Collection[str]) -> bool:
        """Show on the target what failed on the source, `colour`, of these DAGs; the rest is `blocked`.

        Returns whether that took further calls: then what was observed before is out of date. It takes one
        call if nothing else has failed since the last time. Raises Unreachable if a side does not answer.
        """
        chosen = frozenset(dag_ids)
        newest = {
            run.dag_id: run
            for run in self._source.failed_runs(clock.now() - LOOK_BACK)
            if run.dag_id in chosen and timeline.owner(due_of(run), run.dag_id) == colour
        }
        for dag_id in chosen - newest.keys():
            self.blocked.pop(dag_id, None)
        fresh = {dag_id: run for dag_id, run in newest.items() if self._is_fresh(run)}
        if not fresh:
            return False
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="failed") as pool:
            lines = list(pool.map(lambda dag_id: self._source.newest_runs(dag_id, PER_DAG), fresh))
        failures = [
            run
            for line in lines
            for run in takewhile(lambda run: run.state != "success", line)
            if run.state == "failed" and timeline.owner(due_of(run), run.dag_id) == colour
        ]
        reasons = self._copy(failures, colour)
        self.blocked = {dag_id: why for dag_id, why in self.blocked.items() if dag_id not in fresh} | reasons
        self._settled |= {dag_id: (run, clock.now()) for dag_id, run in fresh.items()}
        return True

    def _is_fresh(self, run: Run) -> bool:
        """Whether it is another failure than the last one of the DAG, or time for another attempt."""
        before, when = self._settled.get(run.dag_id, (None, clock.now()))
        if before is None or (run.key, run.end) != (before.key, before.end):
            return True
        return run.dag_id in self.blocked and clock.now() - when >= RETRY

    def _copy(self, failures: Collection[Run], colour: Colour) -> dict[str, str]:
        """Copy these runs' states to their mirrors; return why that was not possible, by DAG."""
        if not failures:
            return {}
        keys = {run.key for run in failures}
        dues = [due_of(run) for run in failures]
        result = copy_final_states(
            self._source,
            self._target,
            source_colour=colour,
            since=min(dues),
            until=max(dues) + TICK,
            owned=lambda run: run.key in keys,
            dag_ids={run.dag_id for run in failures},
            attempts=self.attempts,
        )
        return {
            run.dag_id: f"its run due {iso(run.due)} failed, and {self._target.name} does not show that "
            f"({run.reason}): clear it here, or mark it as successful"
            for run in result.left
        }
