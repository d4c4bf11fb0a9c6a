"""The watch over the first DAGs on their new side, and the verdict on all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from bluegreen.timeline import Colour, Timeline

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run
from mwaactl.canary.judgement import HISTORY, DagVerdict, SeenRun, judge, not_created, seen
from mwaactl.checks.evidence import proof_by_probe
from mwaactl.checks.observation import Observation, observe
from mwaactl.checks.outcome import listed
from mwaactl.deployment import Deployment
from mwaactl.json_model import Instant, Model


class Soak(Model):
    """What was seen of these DAGs on `target` since they are its own. `problems`: of that side as a whole."""

    target: Colour
    since: Instant
    until: Instant
    dags: tuple[DagVerdict, ...]
    problems: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """Whether it is time to give them back, however long the soak still is."""
        return bool(self.problems) or any(dag.result == "bad" for dag in self.dags)

    @property
    def unseen(self) -> bool:
        """Whether nothing was seen at all."""
        return all(dag.result == "unseen" for dag in self.dags)

    def __str__(self) -> str:
        """Why it is bad, or what was seen."""
        bad = [f"{dag.dag_id}: {'; '.join(dag.reasons)}" for dag in self.dags if dag.result == "bad"]
        if bad or self.problems:
            return "; ".join([*self.problems, *bad])
        if self.unseen:
            return f"none of them has ended a run on {self.target} yet"
        runs = sum(dag.runs for dag in self.dags)
        return f"{runs} runs on {self.target}, as good as before"


NEEDED = ("dags", "in_flight", "import_errors")  # of an observation, to judge the side
MOST = 1000  # runs that are looked through for a DAG's history
History = Mapping[str, Sequence[SeenRun]]  # by DAG


def history(
    deployment: Deployment, source: Colour, dags: Collection[str], timeline: Timeline, now: datetime
) -> History:
    """By DAG, its newest finished runs that `source` owned, at most HISTORY. Raises Unreachable.

    The same whenever it is asked: what is due since the DAG is the other side's is not looked at. A DAG that
    was over there for a long time before may have less.
    """
    api = deployment.airflow(source)
    runs: list[Run] = []
    for dag_id in dags:
        until = timeline.newest(dag_id).since
        own = (
            run
            for run in islice(api.runs_before(dag_id, until), MOST)
            if run.finished and run.due is not None and timeline.owner(run.due, dag_id) == source
        )
        runs += islice(own, HISTORY)
    return dict.fromkeys(dags, ()) | _judged(api, runs, now)


def look(
    deployment: Deployment,
    target: Colour,
    before: History,
    timeline: Timeline,
    now: datetime,
) -> Soak:
    """The verdict as of now (AWS's clock) on DAGs that `target` owns by the timeline. Raises Unreachable.

    `before`: these DAGs with their history.
    """
    since = {dag_id: timeline.newest(dag_id).since for dag_id in before}
    api = deployment.airflow(target)
    here = api.scheduled_runs(min(since.values()), now, before.keys())
    runs = _judged(api, [run for run in here if run.due and run.due >= since[run.dag_id]], now)
    side = observe(deployment, (target,))[target]
    verdicts = []
    for dag_id in sorted(before):
        dag, created = (side.dags or {}).get(dag_id), runs.get(dag_id, [])
        missing = [not_created(due, since[dag_id], now) for due in _overdue(dag, side, now)]
        delay = dag.delay if dag is not None else timedelta()
        verdicts.append(judge(dag_id, before[dag_id], [*created, *missing], delay))
    problems = tuple(_problems(side, before.keys(), deployment, timeline, now))
    return Soak(target=target, since=min(since.values()), until=now, dags=tuple(verdicts), problems=problems)


def _overdue(dag: Dag | None, side: Observation, now: datetime) -> Iterator[datetime]:
    """The due instant of the next run of a DAG, if its scheduler should have created it by now.

    Not at `max_active_runs`: what is at work then keeps it from being created, and is judged itself.
    """
    if dag is None or dag.paused or dag.next_due is None or (dag.next_run_after or dag.next_due) > now:
        return
    at_work = sum(run.dag_id == dag.dag_id for run in side.in_flight or ())
    if not at_work or (dag.max_active_runs is not None and at_work < dag.max_active_runs):
        yield dag.next_due


def _judged(api: AirflowApi, runs: Collection[Run], now: datetime) -> dict[str, list[SeenRun]]:
    tasks = api.task_instances(runs) if runs else {}
    by_dag: dict[str, list[SeenRun]] = {}
    for run in runs:
        by_dag.setdefault(run.dag_id, []).append(seen(run, tasks.get(run.key, ()), now))
    return by_dag


def _problems(
    side: Observation, dags: Collection[str], deployment: Deployment, timeline: Timeline, now: datetime
) -> Iterator[str]:
    """What is wrong with the side as a whole. What cannot be known there counts as wrong."""
    if side.status != "AVAILABLE":
        yield f"{side.name} is {side.status or side.not_checked.get('status', 'unknown')}"
    if side.scheduler != "healthy":
        yield f"its scheduler is {side.scheduler or 'unknown'}"
    for field in NEEDED:
        if field in side.not_checked:
            yield f"its {field.replace('_', ' ')} are not known: {side.not_checked[field]}"
    if side.dags is not None and (gone := sorted(set(dags) - side.dags.keys())):
        yield f"it has no DAG {listed(gone)} any more"
    for error in side.import_errors or ():
        yield f"{error.file} cannot be imported there: {error.message}"
    proof = proof_by_probe(side, timeline, now, deployment.stack.probe_period)
    if not proof.proven:
        yield f"its gate is not proven: {proof.wrong or proof.missing}"
