"""The runs that an environment completed, according to the lineage log: it outlives the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from bluegreen.timeline import Colour

from mwaactl.airflow.models import Run
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso
from mwaactl.recovery.completed_runs import Key
from mwaactl.recovery.logged_runs import LoggedRuns


class LineageLog:
    """The lineage log as a witness of one environment. Tasks write to it directly, so it never lags behind.

    Events of other namespaces than the environment's are ignored. If both environments share one
    (`lineage_namespace`), a run has the same id in both, and a COMPLETE does not say where it was executed;
    what the target itself executed is known from its own records first.

    The log is incomplete: it has no events where lineage is switched off, and an event that cannot be written
    is lost. So it never reports that a run was not completed.
    """

    exhaustive = False

    def __init__(
        self,
        deployment: Deployment,
        colour: Colour,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`progress` is called with the number of events read and the total."""
        self.name = "the lineage log"
        self._stack = deployment.stack
        self._namespace = deployment.stack.require(colour).lineage_namespace
        self._log = LoggedRuns(deployment, lambda namespace, _: namespace == self._namespace, progress)

    def completed(self, since: datetime, until: datetime) -> Mapping[Key, bool]:
        """See Witness."""
        runs = self.runs(since)
        return {
            (run.dag_id, run.due): True
            for run in runs
            if run.state == "success" and run.type == "scheduled" and run.due and since <= run.due < until
        }

    def unfinished(self, since: datetime) -> tuple[Run, ...]:
        """See Witness: the runs with a START since then and no end."""
        return tuple(run for run in self.runs(since) if run.state == "running")

    def has_started(self, dag_id: str, since: datetime) -> bool:
        """See Witness."""
        runs = (run for run in self.runs(since) if run.dag_id == dag_id)
        return any((run.start or run.due or since) >= since for run in runs)

    def runs(self, since: datetime) -> tuple[Run, ...]:
        """The runs of any type that have an event since then (see LoggedRuns). Raises Unreachable."""
        if self._stack.lineage == "none":
            raise Unreachable(f"{self._stack.lacks}, so no log says what ran")
        runs = self._log.read(since)
        if not runs:
            raise Unreachable(
                f"s3://{self._log.bucket} has no event of {self._namespace}'s runs since {iso(since)}"
            )
        return runs
