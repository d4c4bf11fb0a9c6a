"""What an environment has logged: the events of its log groups in CloudWatch.

Amazon MWAA has a log group for each kind of process, and in that of the tasks a stream for each try, named
like the file that Airflow would write: dag_id=.../run_id=.../task_id=.../attempt=1.log. A stream's name
cannot have a colon, so run ids have `_` there instead. In Airflow 3 a task's event is a JSON object.

    tail = Tail(deployment, "blue", Query(since=..., dag_id="etl_daily"))
    for event in tail.read(): ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bluegreen.timeline import Colour

from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unusable, UsageError
from mwaactl.json_model import Instant, Model

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import FilteredLogEventTypeDef

TASKS = "task"
# The kinds of log, with the name of each in GetEnvironment's LoggingConfiguration.
KINDS = {
    TASKS: "TaskLogs",
    "scheduler": "SchedulerLogs",
    "worker": "WorkerLogs",
    "dag-processing": "DagProcessingLogs",
    "web-server": "WebserverLogs",
}
# Amazon MWAA sends events every 10 s, so one may come later than others with a later time.
LATE = timedelta(seconds=60)

_STREAM = re.compile(
    r"dag_id=(?P<dag_id>[^/]+)/run_id=(?P<run_id>[^/]+)/task_id=(?P<task_id>[^/]+)/"
    r"(?:map_index=(?P<map_index>\d+)/)?attempt=(?P<attempt>\d+)\.log(?:\.trigger\.\d+\.log)?"
)
_LEVEL = re.compile(r"^\[[^\]]+\] \{[^}]+\} (DEBUG|INFO|WARNING|ERROR|CRITICAL) - ")  # of Airflow 2


class Attempt(Model):
    """A try of a task, as the name of its stream tells it: with `_` instead of each colon in `run_id`."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int  # -1: not mapped
    attempt: int

    @classmethod
    def of(cls, stream: str) -> Attempt | None:
        """None for a stream that is not a task's."""
        match = _STREAM.fullmatch(stream)
        if match is None:
            return None
        return cls.model_validate({**match.groupdict(), "map_index": match["map_index"] or -1})


class LogEvent(Model):
    """One event. `message` is what was logged, without the time; `task` None: not a task's."""

    at: Instant
    level: str | None  # in capitals; None: the line has none
    message: str
    stream: str
    task: Attempt | None


@dataclass(frozen=True, kw_only=True)
class Query:
    """The events to read: of one kind of log, from `since` on, of tasks also by DAG and task."""

    since: datetime
    kind: str = TASKS
    dag_id: str | None = None
    task_id: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"there is no log {self.kind!r}: use one of {', '.join(KINDS)}")
        if self.kind != TASKS and (self.dag_id or self.task_id):
            raise UsageError(f"--dag and --task are for the log of tasks, not for {self.kind!r}")
        if self.task_id and not self.dag_id:
            raise UsageError("--task needs --dag: the DAG that it belongs to")

    @property
    def prefix(self) -> str:
        """How the names of all wanted streams begin."""
        return f"dag_id={self.dag_id}/" if self.dag_id else ""

    def wants(self, stream: str) -> bool:
        attempt = Attempt.of(stream)
        if self.task_id:
            return attempt is not None and (attempt.dag_id, attempt.task_id) == (self.dag_id, self.task_id)
        return stream.startswith(self.prefix)


class Tail:
    """Reads what a side has logged, and then what it has logged since."""

    def __init__(self, deployment: Deployment, colour: Colour, query: Query) -> None:
        self._clients, self._environment = deployment.clients, deployment.stack.require(colour)
        self._query, self._from = query, query.since
        self._known: dict[str, datetime] = {}  # the newest events, by id

    @cached_property
    def group(self) -> str:
        """The log group's name. Raises Unreachable, or UsageError if the environment has no such log."""
        with aws_errors(f"read the environment {self._environment.name}"):
            answer: Any = self._clients.mwaa.get_environment(Name=self._environment.name)
        kind = KINDS[self._query.kind]
        log = answer["Environment"].get("LoggingConfiguration", {}).get(kind, {})
        arn = str(log.get("CloudWatchLogGroupArn") or "")
        if not log.get("Enabled") or not arn:
            raise UsageError(
                f"{self._environment.name} does not log this: {kind} is off in its logging configuration"
            )
        return arn.partition(":log-group:")[2].removesuffix(":*")

    def read(self) -> Iterator[LogEvent]:
        """The events that were not read before, in the order of their times.

        Raises Unreachable, and Unusable if there is no such log group.
        """
        for answer in self._events():
            at = datetime.fromtimestamp(answer["timestamp"] / 1000, UTC)
            if answer["eventId"] not in self._known and self._query.wants(answer["logStreamName"]):
                self._known[answer["eventId"]] = at
                yield _event(at, answer["logStreamName"], answer["message"])
        newest = max(self._known.values(), default=self._query.since)
        self._from = max(self._query.since, newest - LATE)
        self._known = {name: at for name, at in self._known.items() if at >= self._from}

    def _events(self) -> Iterator[FilteredLogEventTypeDef]:
        request: dict[str, Any] = {
            "logGroupName": self.group,
            "startTime": int(self._from.timestamp() * 1000),
            **({"logStreamNamePrefix": self._query.prefix} if self._query.prefix else {}),
        }
        with aws_errors(f"read the log group {self.group}"):
            try:
                for page in self._clients.logs.get_paginator("filter_log_events").paginate(**request):
                    yield from page["events"]
            except self._clients.logs.exceptions.ResourceNotFoundException as error:
                raise Unusable(
                    f"there is no log group {self.group} in {self._clients.region}: the environment has "
                    "logged nothing yet, or somebody has removed it. To create it again: pulumi refresh, "
                    "then pulumi up"
                ) from error


def _event(at: datetime, stream: str, message: str) -> LogEvent:
    text, level = message.rstrip("\n"), None
    if match := _LEVEL.match(text):
        level, text = match[1], text[match.end() :]
    elif structured := _structured(text):
        level, text = str(structured.get("level", "")).upper() or None, _text_of(structured)
    return LogEvent(at=at, level=level, message=text, stream=stream, task=Attempt.of(stream))


def _structured(text: str) -> dict[str, Any] | None:
    """The fields of an event of Airflow 3; None for another line."""
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and "event" in fields else None


def _text_of(fields: Mapping[str, Any]) -> str:
    """What a person reads of an event: its text, and the traceback that comes with it."""
    lines = [str(fields["event"])]
    for each in fields.get("error_detail") or ():
        lines += [
            f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
            for frame in each.get("frames") or ()
        ]
        lines.append(f"{each.get('exc_type')}: {each.get('exc_value')}")
    return "\n".join(lines)
