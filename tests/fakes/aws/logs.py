"""CloudWatch Logs: what FilterLogEvents returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from tests.fakes.aws.errors import client_error

PAGE = 2  # events


class ResourceNotFoundException(ClientError):  # noqa: N818 - boto3's name
    """As the client's own."""


@dataclass
class FakeLogs:
    """The events of each log group: those of the wanted streams and times, by time, in pages, of which each
    second is empty. An event that arrives later may have an earlier time. `error`: of the next call."""

    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def exceptions(self) -> Any:
        return SimpleNamespace(ResourceNotFoundException=ResourceNotFoundException)

    def create_log_group(self, *, logGroupName: str) -> None:  # noqa: N803 - boto3's name
        if logGroupName in self.groups:
            raise client_error("ResourceAlreadyExistsException", 400, "CreateLogGroup")
        self.groups[logGroupName] = []

    def log(self, group: str, stream: str, at: datetime, message: str) -> None:
        assert not set(":*") & set(stream), "no stream can have such a name"
        events = self.groups.setdefault(group, [])
        events.append(
            {
                "eventId": str(len(events)),
                "logStreamName": stream,
                "timestamp": int(at.timestamp() * 1000),
                "message": message,
            }
        )

    def get_paginator(self, operation: str) -> Any:
        assert operation == "filter_log_events"
        return SimpleNamespace(paginate=self._paginate)

    def _paginate(
        self,
        *,
        logGroupName: str,  # noqa: N803 - boto3's names
        startTime: int,  # noqa: N803
        logStreamNamePrefix: str | None = None,  # noqa: N803
    ) -> Iterator[dict[str, Any]]:
        self.asked.append({"group": logGroupName, "prefix": logStreamNamePrefix})
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if logGroupName not in self.groups:
            missing = client_error("ResourceNotFoundException", 400, "FilterLogEvents")
            raise ResourceNotFoundException(missing.response, "FilterLogEvents")
        assert logStreamNamePrefix != "", "the service refuses an empty prefix"
        events = sorted(
            (
                event
                for event in self.groups[logGroupName]
                if event["timestamp"] >= startTime
                and event["logStreamName"].startswith(logStreamNamePrefix or "")
            ),
            key=lambda event: event["timestamp"],
        )
        for start in range(0, len(events), PAGE):
            yield {"events": events[start : start + PAGE]}
            yield {"events": []}
