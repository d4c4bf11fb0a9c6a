"""What the lineage log knows of the runs that an environment completed: it outlives the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from bluegreen.timeline import Colour

from lineage_log.event import Event, UnreadableError
from lineage_log.log import Log, instant_of, key_at
from lineage_log.read_ahead import read_ahead
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import iso
from mwaactl.recovery.completed_runs import Key

REPORTED = 500  # events between two reports of progress

Said = Literal["success", "failed", "running"]  # running: or nobody knows


class _Fact(NamedTuple):
    """An event that says how a DAG run stood. `key` None: it does not say which scheduled run it is."""

    run: str  # the lineage's id of the DAG run
    key: Key | None
    instant: datetime
    said: Said

    @property
    def rank(self) -> tuple[datetime, bool]:
        """The greater, the newer; of two at the same instant, it is not the one that says completed."""
        return self.instant, self.said != "success"


class LineageLog:
    """The lineage log as a witness of one environment. Tasks write to it directly, so it is never behind.

    A run is completed if the newest word on it is its DAG's own COMPLETE with `airflowState`: the run's state
    `success`, and at least one task's. Newer words that undo it are a START, of the DAG or of a task (it was
    cleared), and a FAIL of the DAG. Which run it is follows from its DAG id and due instant (`run_after`,
    in Airflow 2 `data_interval_end`) in `airflowDagRun`. The OpenLineage provider of Airflow 2.10 (1.13) does
    not put that into the COMPLETE. There it is taken from another event of the same run id: the
    `airflowDagRun` of the DAG's START, or the `airflow` of a task whose `parent` is the run. Without one of
    these it is not known.

    Events of other namespaces than the environment's are passed over. If both environments share one
    (`lineage_namespace`), a run has the same id in both, and a COMPLETE does not say where it was executed;
    what the target executed itself its own records tell first.

    The log is not whole: it has nothing of what lineage is switched off for, and an event that could not
    be written is lost. So it never says that a run was not completed.
    """

    whole = False

    def __init__(
        self,
        deployment: Deployment,
        colour: Colour,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`progress` is told how many events of how many are read."""
        self.name = "the lineage log"
        self._namespace = deployment.stack.require(colour).lineage_namespace
        self._bucket, self._clients = deployment.stack.lineage_log_bucket, deployment.clients
        self._progress = progress
        self._read: set[str] = set()  # keys: an event is read once, however often it is asked
        self._facts: list[_Fact] = []

    def completed(self, since: datetime, until: datetime) -> Mapping[Key, bool]:
        """See Witness."""
        return {key: True for key, said in self.states(since, until).items() if said == "success"}

    def states(self, since: datetime, until: datetime) -> Mapping[Key, Said]:
        """How the scheduled runs due in [since, until) stand of which the log knows. Raises Unreachable.

        One GET for each event since `since`: what was due then was worked on later.
        """
        with aws_errors(f"read the lineage log s3://{self._bucket}"):
            self._look(since)
        if not self._facts:
            raise Unreachable(
                f"s3://{self._bucket} has no event of {self._namespace}'s runs since {iso(since)}"
            )
        keys = {fact.run: fact.key for fact in self._facts if fact.key is not None}
        newest: dict[Key, _Fact] = {}
        for fact in self._facts:
            key = fact.key or keys.get(fact.run)
            if key is not None and (key not in newest or newest[key].rank <= fact.rank):
                newest[key] = fact
        return {key: fact.said for key, fact in newest.items() if since <= key[1] < until}

    def _look(self, since: datetime) -> None:
        """Read what is new in the log."""
        source = Log(self._clients.s3, self._bucket)
        keys = [
            found.key for page in source.pages(key_at(since)) for found in page if found.key not in self._read
        ]
        for count, (key, event) in enumerate(read_ahead(source, iter(keys)), 1):
            if not isinstance(event, Event):
                # It might be the very event by which a run was begun again.
                why = str(event) if isinstance(event, UnreadableError) else "it went while the log was read"
                raise Unreachable(f"s3://{self._bucket}/{key} cannot be read: {why}")
            if event.namespace == self._namespace and (fact := _fact(event)) is not None:
                self._facts.append(fact)
            self._read.add(key)
            if self._progress is not None and (count % REPORTED == 0 or count == len(keys)):
                self._progress(count, len(keys))


def _fact(event: Event) -> _Fact | None:
    """What an event says of its DAG run; None if nothing."""
    instant, told = instant_of(event.key), json.loads(event.text)
    facets = _part(told, "run", "facets")
    of_task = _part(facets, "airflow")
    run = _part(facets, "parent", "run").get("runId") if of_task else event.run
    if instant is None or not isinstance(run, str):
        return None
    state = _part(facets, "airflowState")
    said: Said = "running"
    if not of_task and event.kind == "FAIL":
        said = "failed"
    elif not of_task and event.kind == "COMPLETE" and state.get("dagRunState") == "success":
        # A run of which all tasks were skipped may be one that was not executed there.
        said = "success" if "success" in _part(state, "tasksState").values() else "running"
    key = _key(_part(of_task or _part(facets, "airflowDagRun"), "dagRun"))
    if key is None and said == "running":
        return None
    if of_task and event.kind != "START":
        instant = datetime.min.replace(tzinfo=UTC)  # it says which run it is, not how that stood in the end
    return _Fact(run, key, instant, said)


def _key(dag_run: Mapping[str, Any]) -> Key | None:
    """DAG id and due instant of a scheduled run."""
    dag_id, due = dag_run.get("dag_id"), dag_run.get("run_after") or dag_run.get("data_interval_end")
    if dag_run.get("run_type") != "scheduled" or not isinstance(dag_id, str):
        return None
    try:
        instant = datetime.fromisoformat(due or "")
    except (TypeError, ValueError):
        return None
    return (dag_id, instant.astimezone(UTC)) if instant.tzinfo else None


def _part(told: Any, *names: str) -> dict[str, Any]:
    """An object within an object; an empty one if it is not there."""
    for name in names:
        told = told.get(name) if isinstance(told, dict) else None
    return told if isinstance(told, dict) else {}
