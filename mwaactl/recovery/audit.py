"""The audit: both sides' scheduled runs joined by (DAG, due instant), against who owned the instant.

found = audit(deployment, since=now - timedelta(hours=24), until=now)
if found.findings:
    found = backfill(deployment, found)

It sees instants for which at least one side made a run. What neither made is nobody's to see.
With `lineage`, the lineage log stands in for a side that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run, TaskInstance
from mwaactl.airflow.notes import has_copied_states, was_rerun
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.ownership.parameter import aws_now
from mwaactl.recovery import rerun
from mwaactl.recovery.completed_by_lineage import LineageLog

Kind = Literal["both", "nobody", "wrong side"]
Key = tuple[str, datetime]  # DAG id and due instant


class Finding(Model):
    """A run that was not executed exactly once, by the owner of its instant."""

    kind: Kind
    dag_id: str
    due: Instant
    owner: Colour  # of the instant
    runs: dict[Colour, str]  # the states of the runs that there are
    detail: str
    backfill_on: Colour | None = None  # where --backfill lets it be executed; None: it does not


class Failure(Model):
    """A run that could not be backfilled."""

    dag_id: str
    due: Instant
    reason: str


class Audit(Model):
    """What was found among the runs due in [since, until)."""

    stack: str
    since: Instant
    until: Instant
    instants: int  # (DAG, due instant) for which a side made a run
    unfinished: int  # of them: not executed yet, or not to the end
    failed: int  # of them: executed by their owner, and failed there
    unknown: int  # of them: their owner does not answer, and the lineage log has nothing of them
    by_lineage: dict[Colour, str]  # sides whose runs are taken from the log, and why
    findings: tuple[Finding, ...]
    backfilled: tuple[Finding, ...] = ()
    not_backfilled: tuple[Failure, ...] = ()

    @property
    def open(self) -> tuple[Finding, ...]:
        """The findings that nothing was done about."""
        return tuple(one for one in self.findings if one not in self.backfilled)


@dataclass(frozen=True)
class _Side:
    api: AirflowApi
    dags: Mapping[str, Dag]
    runs: Mapping[Key, Run]
    tasks: Mapping[tuple[str, str], list[TaskInstance]]
    busy: frozenset[str]  # DAGs with an unfinished run
    by_lineage: bool = False  # only runs that were worked on, and of them only the states

    def executed(self, run: Run) -> bool:
        """Whether the run was worked on here, although it was not this side's.

        The states of a mirror that was made true prove nothing; that its tasks were rendered does.
        """
        if self.by_lineage:
            return True
        tasks = [one for one in self.tasks[run.key] if one.worked]
        return any(one.rendered for one in tasks) if has_copied_states(run) else bool(tasks)

    def passed_over(self, run: Run) -> bool:
        """Whether a run that was this side's ended without that any task was tried."""
        tasks = self.tasks.get(run.key, [])
        untried = all(one.state in ("skipped", "removed") and not one.started for one in tasks)
        decided = has_copied_states(run) or was_rerun(run)
        return run.state == "success" and bool(tasks) and untried and not decided

    def is_past(self, dag_id: str, due: datetime) -> bool:
        """Whether the scheduler will make no run for this instant any more."""
        dag = self.dags.get(dag_id)
        if dag is None:
            return True
        if dag.next_due is None:  # the schedule is over; or max_active_runs is reached (Airflow before 3.3)
            return dag_id not in self.busy
        return dag.next_due > due


def audit(
    deployment: Deployment,
    *,
    since: datetime,
    until: datetime,
    lineage: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Look for scheduled runs due in [since, until) that were not executed exactly once by their owner.

    Raises Unreachable if either side's REST API does not answer: half an audit would say nothing. `lineage`:
    if only one does not, its runs are taken from the lineage log; `progress` is told how much of it is read.
    """
    return _Comparison(deployment, since, until, lineage, progress).audit()


def backfill(
    deployment: Deployment,
    found: Audit,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Let the owner of now execute what nobody executed, as far as `found` says that it can.

    It looks again first and does only what is still so; what it made is found again and not made twice.
    """
    wanted = {(one.dag_id, one.due) for one in found.findings if one.backfill_on is not None}
    look = _Comparison(deployment, found.since, found.until)
    fresh = look.audit()
    done: list[Finding] = []
    failed: list[Failure] = []
    chosen = [one for one in fresh.findings if one.backfill_on and (one.dag_id, one.due) in wanted]
    for count, one in enumerate(chosen, 1):
        try:
            look.execute(one)
        except Unreachable as error:
            failed.append(Failure(dag_id=one.dag_id, due=one.due, reason=str(error)))
        else:
            done.append(one)
        if progress is not None:
            progress(count, len(chosen))
    return fresh.model_copy(update={"backfilled": tuple(done), "not_backfilled": tuple(failed)})


class _Comparison:
    """One look at both sides."""

    def __init__(
        self,
        deployment: Deployment,
        since: datetime,
        until: datetime,
        lineage: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        snapshot = deployment.ownership.read()
        self._stack, self._since, self._until = deployment.stack, since, until
        self._timeline, self._now = snapshot.timeline, aws_now(snapshot, deployment.stack.lead)
        apis = deployment.airflows
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="audit") as pool:
            looks = {colour: pool.submit(self._side, one) for colour, one in apis.items()}
        silent = {colour: error for colour, look in looks.items() if (error := look.exception())}
        self._sides: dict[Colour, _Side] = {c: look.result() for c, look in looks.items() if c not in silent}
        self._silent: dict[Colour, str] = {}
        for colour, error in silent.items():
            if not (lineage and self._sides and isinstance(error, Unreachable)):
                raise error
            log = LineageLog(deployment, colour, progress)
            self._sides[colour] = self._by_lineage(apis[colour], log, colour)
            self._silent[colour] = str(error)

    def _side(self, one: AirflowApi) -> _Side:
        busy = frozenset(run.dag_id for run in one.unfinished_runs())
        dags = one.dags()  # before the runs: a run that its scheduler is past must be among them
        runs = one.scheduled_runs(self._since, self._until)
        tasks = one.task_instances([run for run in runs if run.finished])
        by_due = {(run.dag_id, run.due): run for run in runs if run.due is not None}
        return _Side(one, dags, by_due, tasks, busy)

    def _by_lineage(self, one: AirflowApi, log: LineageLog, colour: Colour) -> _Side:
        other = self._stack.other(colour)
        if other and other.lineage_namespace == self._stack.require(colour).lineage_namespace:
            raise Unreachable(
                f"{one.name} does not answer, and the lineage log cannot stand in for it: both environments "
                f"share the namespace {other.lineage_namespace}, so it does not tell who executed a run"
            )
        runs = {
            key: Run(dag_id=key[0], run_id="", type="scheduled", state=said, due=key[1], start=None, end=None)
            for key, said in log.states(self._since, self._until).items()
        }
        return _Side(one, {}, runs, {}, frozenset(), by_lineage=True)

    def audit(self) -> Audit:
        keys = sorted({key for side in self._sides.values() for key in side.runs}, key=lambda key: key[::-1])
        unfinished = failed = unknown = 0
        findings: list[Finding] = []
        for key in keys:
            owner = self._timeline.owner(key[1], key[0])
            verdict = self._judge(key, owner)
            if verdict == "unfinished":
                unfinished += 1
            elif verdict == "failed":
                failed += 1
            elif verdict == "unknown":
                unknown += 1
            elif verdict is not None:
                findings.append(verdict)
        return Audit(
            stack=self._stack.stack,
            since=self._since,
            until=self._until,
            instants=len(keys),
            unfinished=unfinished,
            failed=failed,
            unknown=unknown,
            by_lineage=self._silent,
            findings=tuple(findings),
        )

    def _judge(self, key: Key, owner: Colour) -> Finding | Literal["unfinished", "failed", "unknown"] | None:
        runs = {colour: run for colour, side in self._sides.items() if (run := side.runs.get(key))}
        if any(not run.finished for run in runs.values()):
            return "unfinished"
        mine = runs.get(owner)
        others = [c for c, run in runs.items() if c != owner and self._sides[c].executed(run)]
        if mine is not None and not has_copied_states(mine) and not self._sides[owner].passed_over(mine):
            if others:
                return self._finding(
                    "both", key, owner, runs, f"{owner} owned it, {others[0]} worked on it too"
                )
            return "failed" if mine.state == "failed" else None
        if mine is not None and has_copied_states(mine) and others:
            return None  # known to have been executed there, by an operator's decision
        if any(was_rerun(runs[colour]) for colour in others):  # an earlier backfill
            return "failed" if all(runs[colour].state == "failed" for colour in others) else None
        if others:
            return self._finding("wrong side", key, owner, runs, f"{owner} owned it, {others[0]} executed it")
        return self._unexecuted(key, owner, runs)

    def _unexecuted(
        self, key: Key, owner: Colour, runs: Mapping[Colour, Run]
    ) -> Finding | Literal["unfinished", "unknown"] | None:
        dag_id, due = key
        mine, side = runs.get(owner), self._sides.get(owner)
        if side is not None and side.by_lineage:
            return "unknown"
        if mine is not None:
            why = f"all its tasks were skipped on {owner}, which owned it"
        elif side is None or dag_id not in side.dags:
            why = f"{owner} owned it and has no such DAG"
        elif side.is_past(dag_id, due):
            why = f"{owner} owned it and never made it"
        elif side.dags[dag_id].paused:
            why = f"{owner} owns it, where the DAG is paused"
        else:
            return "unfinished"
        instead = self._instead(dag_id, runs.values())
        if instead is not None:
            return None if instead.finished else "unfinished"
        target, obstacle = self._backfill_on(key, runs)
        return self._finding("nobody", key, owner, runs, f"{why}{obstacle}", target)

    def _instead(self, dag_id: str, runs: Iterable[Run]) -> Run | None:
        """The run that an earlier backfill made, on whichever side."""
        for run in runs:
            for side in self._sides.values():
                if dag_id in side.dags and (found := rerun.made(side.api, run)) and was_rerun(found):
                    return found
        return None

    def _backfill_on(self, key: Key, runs: Mapping[Colour, Run]) -> tuple[Colour | None, str]:
        """Where the run can be executed now; else why not."""
        dag_id, due = key
        if self._silent:
            return None, f"; {', '.join(self._silent)} does not answer, the lineage log has nothing of it"
        for colour, side in self._sides.items():
            if colour not in runs and not side.is_past(dag_id, due):
                return None, f"; {colour}'s scheduler has not come past it: unpause the DAG there, or wait"
        now = self._timeline.owner(self._now, dag_id)
        there = self._sides.get(now)
        if there is None or dag_id not in there.dags:
            return None, f"; {now} owns the DAG now and does not have it"
        if there.dags[dag_id].paused:
            return None, f"; it is paused on {now}, which owns it now"
        return now, ""

    def execute(self, one: Finding) -> None:
        """Let the owner of now execute what a finding tells of."""
        if one.backfill_on is None:
            return
        key, side, why = (one.dag_id, one.due), self._sides[one.backfill_on], "nobody executed it"
        run = side.runs.get(key)
        if run is not None:
            rerun.run_again(side.api, run, one.backfill_on, why)
            return
        model = next(found for other in self._sides.values() if (found := other.runs.get(key)))
        rerun.make(side.api, model, one.backfill_on, why)

    @staticmethod
    def _finding(
        kind: Kind,
        key: Key,
        owner: Colour,
        runs: Mapping[Colour, Run],
        detail: str,
        backfill_on: Colour | None = None,
    ) -> Finding:
        again = next((run.note for run in runs.values() if was_rerun(run)), None)
        return Finding(
            kind=kind,
            dag_id=key[0],
            due=key[1],
            owner=owner,
            runs={colour: run.state for colour, run in runs.items()},
            detail=f"{detail} ({again})" if again else detail,
            backfill_on=backfill_on,
        )
