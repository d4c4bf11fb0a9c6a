"""Parameter Store: versions, history, and puts that fail or arrive late."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from mwaactl.aws import PUT_TIMEOUT
from tests.fakes.clock import Clock

OWNERSHIP = "/mwaa-openlineage/fullha/ownership"
ACTIVE = "/mwaa-openlineage/fullha/active-environment"


class ParameterNotFound(ClientError):  # noqa: N818 - boto3's name
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ParameterNotFound", "Message": "none"}}, "GetParameter")


@dataclass
class FakeSsm:
    """`puts` says what happens to the next puts of the ownership; when it is empty, they succeed.

    "unanswered": stored, but the answer is lost; "late": the answer is lost and the value waits in `late` for
    `deliver`; "slow": stored as late as one that is answered can be; an exception: raised, nothing stored.
    """

    clock: Clock
    user: Callable[[], str] = lambda: "arn:aws:iam::123456789012:user/alice"
    before: Callable[[str], None] = lambda operation: None
    puts: list[str | Exception] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    stored: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    skew: timedelta | None = timedelta(0)  # AWS's clock minus ours; None: no Date header
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(ParameterNotFound=ParameterNotFound))

    def get_parameter(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.before("get")
        if Name not in self.stored:
            raise ParameterNotFound
        headers = {}
        if self.skew is not None:
            headers["date"] = format_datetime(self.clock.now + self.skew, usegmt=True)
        return {
            "Parameter": copy.deepcopy(self.stored[Name][-1]),
            "ResponseMetadata": {"HTTPHeaders": headers},
        }

    def get_paginator(self, operation: str) -> Any:
        assert operation == "get_parameter_history"

        def paginate(*, Name: str) -> Iterator[dict[str, Any]]:  # noqa: N803
            self.before("history")
            records = copy.deepcopy(self.stored[Name])
            for start in range(0, len(records), 2):
                yield {"Parameters": records[start : start + 2]}

        return SimpleNamespace(paginate=paginate)

    def put_parameter(self, **request: Any) -> dict[str, Any]:
        self.before("put")
        assert request["Type"] == "String"
        assert request["Overwrite"] is True
        outcome = self.puts.pop(0) if self.puts and request["Name"] == OWNERSHIP else "stored"
        request["User"] = self.user()
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "late":
            self.late.append(request)
            raise ReadTimeoutError(endpoint_url="https://ssm")
        if outcome == "slow":
            self.clock.forward(2 * PUT_TIMEOUT)
        version = self.store(request)
        if outcome == "unanswered":
            raise ReadTimeoutError(endpoint_url="https://ssm")
        return {"Version": version}

    def deliver(self) -> None:
        """Store the oldest of the late puts."""
        self.store(self.late.pop(0))

    def store(self, request: dict[str, Any]) -> int:
        records = self.stored.setdefault(request["Name"], [])
        record = {
            "Name": request["Name"],
            "Value": request["Value"],
            "Version": len(records) + 1,
            "LastModifiedDate": self.clock.now + (self.skew or timedelta(0)),
            "LastModifiedUser": request.get("User", "arn:aws:iam::123456789012:user/pulumi"),
            "Description": request.get("Description", ""),
        }
        records.append(record)
        return len(records)

    def values(self, name: str = OWNERSHIP) -> list[str]:
        return [record["Value"] for record in self.stored[name]]
