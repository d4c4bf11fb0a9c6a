"""The last step of a failover: on the target, execute what the old side is not known to have completed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from bluegreen.timeline import Colour, other_colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.airflow.rerun import Progress, clear_run, create_run
from mwaactl.checks.outcome import listed
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso
from mwaactl.recovery.at_work import AtWork, Unfinished, report_at_work
from mwaactl.recovery.completed_runs import DueRun, WindowReport, Witness, report_window
from mwaactl.switching.mirrors import MirrorResult, UncopiedRun, copy_final_states


class Taken(NamedTuple):
    """What was done on the target."""

    window: WindowReport
    unfinished: Unfinished
    mirrored: MirrorResult | None
    rerun: tuple[DueRun, ...]
    rerun_at_work: tuple[AtWork, ...]
    left: tuple[UncopiedRun, ...]  # what is left to do; empty: the old side has nothing open any more
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TakeOver:
    """The runs to take over: those due in [since, until), and those at work since `at_work_since`."""

    source_api: AirflowApi
    target_api: AirflowApi
    target: Colour
    witnesses: Sequence[Witness]
    since: datetime
    until: datetime
    at_work_since: datetime
    owned: Callable[[Run], bool]  # whether the old side owns a scheduled run that was due before `since`

    def look(self) -> tuple[WindowReport, Unfinished]:
        """The fate of each run. Raises Unreachable if the target does not answer."""
        window = report_window(self.target_api, self.witnesses, self.since, self.until)

        def concerned(run: Run) -> bool:
            return run.due is not None and run.due < self.until and (run.due >= self.since or self.owned(run))

        unfinished = report_at_work(
            self.target_api, self.witnesses, window, self.since, self.at_work_since, concerned
        )
        return window, unfinished

    def carry_out(self, progress: Progress | None) -> Taken:
        """Copy the states of what was completed, and execute the rest. Repeated, it starts nothing twice.
        Raises Unreachable, before any change, if the target does not answer."""
        window, unfinished = self.look()
        runs = {run.key: run for run in self.target_api.scheduled_runs(self.since, self.until)}
        paused = {dag.dag_id for dag in self.target_api.dags().values() if dag.paused}
        mirrored = self._copy_states(window)
        started, unstarted = self._rerun_at_work(unfinished)
        cleared, uncleared = self._clear(window, runs, progress)
        by_hand = tuple(_by_hand(run, self.since) for run in unfinished.report.having("by hand"))
        names = {run.dag_id for run in cleared} | {run.dag_id for run in started}
        return Taken(
            window=window,
            unfinished=unfinished,
            mirrored=mirrored,
            rerun=cleared,
            rerun_at_work=started,
            left=(*(mirrored.left if mirrored else ()), *unstarted, *uncleared, *by_hand),
            notes=(*unfinished.report.notes, *_paused_notes(self.target, names & paused)),
        )

    def _copy_states(self, window: WindowReport) -> MirrorResult | None:
        """Copy the final states of completed runs to their mirrors; None if there are none."""
        completed = window.having("completed")
        if not completed:
            return None
        keys = {(run.dag_id, run.due) for run in completed}
        source = other_colour(self.target)
        try:
            return copy_final_states(
                self.source_api,
                self.target_api,
                source_colour=source,
                since=self.since,
                until=self.until,
                owned=lambda run: (run.dag_id, run.due) in keys,
                per_dag=None,
            )
        except Unreachable as error:
            why = f"completed on {source}, but its states cannot be read: {error}"
            return MirrorResult(copied=0, already=0, left=tuple(_left(run, why) for run in completed))

    def _rerun_at_work(self, unfinished: Unfinished) -> tuple[tuple[AtWork, ...], tuple[UncopiedRun, ...]]:
        """Execute again what was at work; return the runs that were started, and those that could not be."""
        started: list[AtWork] = []
        unstarted: list[UncopiedRun] = []
        for run in unfinished.report.having("rerun"):
            key = (run.dag_id, run.run_id)
            try:
                if key in unfinished.mirrors:
                    clear_run(self.target_api, unfinished.mirrors[key], self.target, self._reason)
                else:
                    create_run(self.target_api, unfinished.runs[key], self.target, self._reason)
            except Unreachable as error:
                unstarted.append(_by_hand(run, self.since, str(error)))
            else:
                started.append(run)
        return tuple(started), tuple(unstarted)

    def _clear(
        self, window: WindowReport, runs: Mapping[tuple[str, str], Run], progress: Progress | None
    ) -> tuple[tuple[DueRun, ...], tuple[UncopiedRun, ...]]:
        """Clear the window's runs to rerun; return those cleared, and those that could not be."""
        cleared: list[DueRun] = []
        uncleared: list[UncopiedRun] = []
        candidates = window.having("rerun")
        for count, run in enumerate(candidates, 1):
            try:
                clear_run(self.target_api, runs[run.dag_id, run.run_id], self.target, self._reason)
            except Unreachable as error:
                uncleared.append(_left(run, str(error)))
            else:
                cleared.append(run)
            if progress is not None:
                progress(count, len(candidates))
        return tuple(cleared), tuple(uncleared)

    @property
    def _reason(self) -> str:
        return f"failover since {iso(self.since)}"


def _left(run: DueRun, reason: str) -> UncopiedRun:
    return UncopiedRun(dag_id=run.dag_id, run_id=run.run_id, due=run.due, reason=reason)


def _by_hand(run: AtWork, since: datetime, reason: str | None = None) -> UncopiedRun:
    return UncopiedRun(
        dag_id=run.dag_id,
        run_id=run.run_id,
        due=run.due or since,
        reason=f"it was at work: {reason or run.detail}",
    )


def _paused_notes(target: Colour, dag_ids: Collection[str]) -> tuple[str, ...]:
    if not dag_ids:
        return ()
    return (f"these DAGs are paused on {target}; their runs wait until you unpause them: {listed(dag_ids)}",)
