"""What stands for the copying of final states to mirrors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Run
from mwaactl.switching.mirrors import MirrorResult, UncopiedRun

Answer = Callable[[Run], UncopiedRun | None]


class FakeMirrorCopy:
    """Stands for `copy_final_states`: copies what it is asked for, unless `refuse` leaves it or raises."""

    def __init__(self) -> None:
        self.copied: list[tuple[str, str, datetime]] = []  # the original's environment, DAG and due instant
        self.refuse: Answer = lambda run: None

    def __call__(
        self,
        source: AirflowApi,
        _target: AirflowApi,
        *,
        since: datetime,
        until: datetime,
        owned: Callable[[Run], bool],
        progress: Callable[[int, int], None] | None,
        dag_ids: set[str],
        **_more: Any,
    ) -> MirrorResult:
        left: list[UncopiedRun] = []
        runs = [run for run in source.scheduled_runs(since, until, dag_ids) if run.finished and owned(run)]
        for count, run in enumerate(runs, 1):
            if refused := self.refuse(run):
                left.append(refused)
            else:
                assert run.due is not None
                self.copied.append((source.name, run.dag_id, run.due))
            if progress is not None:
                progress(count, len(runs))
        return MirrorResult(copied=len(runs) - len(left), already=0, left=tuple(left))
