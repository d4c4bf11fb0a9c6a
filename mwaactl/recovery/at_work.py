"""What the old side had at work when it died, beside the runs of the failover's window, and the fate of each.

A scheduled run is executed again in its mirror on the target, or in a run that is created there for the same
interval. A run that no schedule made is created there with the same configuration, or is triggered again by
what is executed again. What cannot be started that way is left to the operator, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Asset, Dag, Run
from mwaactl.airflow.notes import has_copied_states, was_rerun
from mwaactl.airflow.rerun import created_run, was_taken_over
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.recovery.completed_runs import WindowReport, Witness

Fate = Literal["rerun", "follows", "taken over", "by hand"]
"""follows: the target triggers it by what it executes. taken over: the target runs it, or has run it."""

ON_REQUEST = ("manual", "operator_triggered", "asset_materialization", "dataset_materialization")
BY_ASSETS = ("asset_triggered", "dataset_triggered")
REDACTED = "***"  # what the lineage has in place of a secret


class AtWork(Model):
    """A run that was unfinished on the old side, and its fate."""

    dag_id: str
    run_id: str
    type: str
    due: Instant | None
    fate: Fate
    detail: str = ""  # why, or what to do


class AtWorkReport(Model):
    """The unfinished runs of the old side, in the order in which they are executed again."""

    runs: tuple[AtWork, ...] = ()
    known_by: str | None = None  # the witness; None: nothing reports what was at work
    notes: tuple[str, ...] = ()

    def having(self, fate: Fate) -> tuple[AtWork, ...]:
        return tuple(run for run in self.runs if run.fate == fate)


@dataclass(frozen=True)
class Unfinished:
    """The old side's unfinished runs, and their mirrors on the target, both by the key of the former."""

    report: AtWorkReport
    runs: Mapping[tuple[str, str], Run]
    mirrors: Mapping[tuple[str, str], Run]


def report_at_work(
    api: AirflowApi,
    witnesses: Sequence[Witness],
    window: WindowReport,
    window_begin: datetime,
    since: datetime,
    concerned: Callable[[Run], bool],
) -> Unfinished:
    """The fate of each run that the old side had at work since then; those of the window are left out.

    `concerned`: which scheduled runs are to be taken over. From `window_begin` on, the target executes what
    it creates itself. Raises Unreachable if the target does not answer.
    """
    known_by, runs = _unfinished(witnesses, since)
    keys = {(run.dag_id, run.due) for run in window.runs}
    scheduled = [
        run
        for run in runs
        if run.type == "scheduled" and concerned(run) and (run.dag_id, run.due) not in keys
    ]
    target = _Target(api, scheduled, window_begin)
    reports = [(run, target.of_schedule(run)) for run in sorted(scheduled, key=_order)]
    executed = {run.dag_id for run in window.runs if run.fate != "completed"}
    executed |= {run.dag_id for run, (fate, _) in reports if fate != "by hand"}
    reports += _of_requests(target, [run for run in runs if run.type != "scheduled"], executed)
    report = AtWorkReport(
        runs=tuple(
            AtWork(dag_id=run.dag_id, run_id=run.run_id, type=run.type, due=run.due, fate=fate, detail=detail)
            for run, (fate, detail) in reports
        ),
        known_by=known_by,
        notes=_silent_consumers(target, witnesses, window, {run.dag_id for run in runs} | executed),
    )
    return Unfinished(report, {run.key: run for run in runs}, target.mirrors)


def _of_requests(
    target: _Target, runs: Iterable[Run], executed: set[str]
) -> list[tuple[Run, tuple[Fate, str]]]:
    """The fates of runs that no schedule made; adds to `executed`, the DAGs that the target executes."""
    decided: list[tuple[Run, tuple[Fate, str]]] = []
    pending = sorted(runs, key=lambda run: (_rank(run), _order(run)))
    while pending:
        waiting: list[tuple[Run, tuple[Fate, str]]] = []  # for a producer that may follow another one
        for run in pending:
            fate, detail = target.of_request(run, executed)
            if fate == "by hand" and run.type in BY_ASSETS:
                waiting.append((run, (fate, detail)))
                continue
            decided.append((run, (fate, detail)))
            if fate != "by hand":
                executed.add(run.dag_id)
        if len(waiting) == len(pending):
            return decided + waiting
        pending = [run for run, _ in waiting]
    return decided


def _unfinished(witnesses: Sequence[Witness], since: datetime) -> tuple[str | None, tuple[Run, ...]]:
    """What was at work, by the witness that knows most, and its name."""
    known_by: str | None = None
    runs: tuple[Run, ...] = ()
    for witness in sorted(witnesses, key=lambda witness: not witness.exhaustive):
        try:
            runs = witness.unfinished(since)
        except Unreachable:
            continue
        return witness.name, runs
    return known_by, runs


def _order(run: Run) -> tuple[str, str]:
    due = run.due or run.start
    return due.isoformat() if due else "", run.dag_id


def _rank(run: Run) -> int:
    """The rank of its trigger: what is started by hand, what tasks started, what assets started."""
    if run.type in BY_ASSETS:
        return 2
    return int(_by_operator(run))


def _by_operator(run: Run) -> bool:
    return run.type == "operator_triggered" or run.triggered_by == "operator"


class _Target:
    """What can be started on the target. It reads there only what the runs need."""

    def __init__(self, api: AirflowApi, scheduled: Collection[Run], owns_from: datetime) -> None:
        self._api, self.name, self._owns_from = api, api.name, owns_from
        self._dags: Mapping[str, Dag] | None = None
        self._assets: tuple[Asset, ...] | None = None
        self._triggers: dict[str, bool] = {}
        self.mirrors = self._find_mirrors(scheduled)
        finished = [mirror for mirror in self.mirrors.values() if mirror.finished]
        self._tasks = api.task_instances(finished)

    def _find_mirrors(self, scheduled: Collection[Run]) -> dict[tuple[str, str], Run]:
        dues = [run.due for run in scheduled if run.due is not None]
        if not dues:
            return {}
        end = max(dues) + timedelta(milliseconds=1)
        here = self._api.scheduled_runs(min(dues), end, {run.dag_id for run in scheduled})
        by_due = {(run.dag_id, run.due): run for run in here}
        return {run.key: by_due[run.dag_id, run.due] for run in scheduled if (run.dag_id, run.due) in by_due}

    def of_schedule(self, run: Run) -> tuple[Fate, str]:
        mirror = self.mirrors.get(run.key)
        if mirror is None:
            return self._in_a_new_run(run)
        if was_rerun(mirror) or has_copied_states(mirror):
            return "taken over", ""
        if not mirror.finished:
            return "by hand", f"its mirror on {self.name} is still {mirror.state}: repeat the command"
        if any(task.worked for task in self._tasks[mirror.key]):
            return "taken over", ""
        return "rerun", ""

    def of_request(self, run: Run, executed: Collection[str]) -> tuple[Fate, str]:
        """The fate of a run that no schedule made; `executed`: DAGs that the target executes (again)."""
        if was_taken_over(self._api, run):
            return "taken over", ""
        if run.type in BY_ASSETS:
            return self._by_assets(run, executed)
        if run.type not in ON_REQUEST:
            return "by hand", f"start the {run.type} again on {self.name}"
        others = set(executed) - {run.dag_id}
        if _by_operator(run) and (parents := sorted(filter(self._triggers_others, others))):
            return "follows", f"if {' or '.join(parents)} triggers it"
        return self._in_a_new_run(run)

    def _in_a_new_run(self, run: Run) -> tuple[Fate, str]:
        if self._dags is None:
            self._dags = self._api.dags()
        dag = self._dags.get(run.dag_id)
        if dag is None:
            return "by hand", f"{self.name} has no such DAG: deploy it there, then repeat the command"
        if (
            run.type == "scheduled"
            and run.due
            and dag.next_due
            and dag.next_due <= run.due >= self._owns_from
        ):
            return "follows", f"once {self.name}'s scheduler reaches it"
        if REDACTED in str(run.conf):
            return "by hand", f"its configuration contains a secret: {self._start(run)}"
        if created_run(self._api, run) is not None:
            return "taken over", ""
        return "rerun", ""

    def _by_assets(self, run: Run, executed: Collection[str]) -> tuple[Fate, str]:
        wanted = [asset for asset in self.assets if run.dag_id in asset.consumers]
        again = [sorted(set(asset.producers) & set(executed)) for asset in wanted]
        if wanted and all(again):
            names = sorted({name for producers in again for name in producers})
            return "follows", f"once {', '.join(names)} has run again"
        return "by hand", (
            f"its producers have completed, so nothing triggers it again: {self._start(run)} (it then has no "
            "triggering events)"
        )

    def _start(self, run: Run) -> str:
        return f"trigger it on {self.name} with the run id {AirflowApi.manual_id(run)}"

    @property
    def assets(self) -> tuple[Asset, ...]:
        if self._assets is None:
            self._assets = self._api.assets()
        return self._assets

    def _triggers_others(self, dag_id: str) -> bool:
        """Whether a DAG has a task that triggers runs."""
        if dag_id not in self._triggers:
            tasks = self._api.tasks(dag_id)
            self._triggers[dag_id] = any("TriggerDagRun" in task.operator for task in tasks)
        return self._triggers[dag_id]


def _silent_consumers(
    target: _Target, witnesses: Iterable[Witness], window: WindowReport, known: Collection[str]
) -> tuple[str, ...]:
    """A note on each DAG that a completed run should have triggered, and that nobody saw start after it."""
    completed: dict[str, datetime] = {}
    for run in window.having("completed"):
        completed[run.dag_id] = max(run.due, completed.get(run.dag_id, run.due))
    if not completed:
        return ()
    triggers: dict[str, set[str]] = {}
    for asset in target.assets:
        for consumer in set(asset.consumers) - set(known):
            triggers.setdefault(consumer, set()).update(set(asset.producers) & completed.keys())
    return tuple(
        f"{', '.join(sorted(producers))} completed, and nothing shows that {consumer}, which its assets "
        f"trigger, has started after that: see whether it has to be started on {target.name}"
        for consumer, producers in sorted(triggers.items())
        if producers and not _has_started(witnesses, consumer, max(completed[name] for name in producers))
    )


def _has_started(witnesses: Iterable[Witness], dag_id: str, since: datetime) -> bool:
    for witness in witnesses:
        try:
            if witness.has_started(dag_id, since):
                return True
        except Unreachable:
            continue
    return False
