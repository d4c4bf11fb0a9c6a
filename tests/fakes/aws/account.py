"""Who calls, what the account may have, and its subnets: STS, Service Quotas and EC2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tests.fakes.aws.errors import client_error

ACCOUNT = "123456789012"
CALLER = f"arn:aws:sts::{ACCOUNT}:assumed-role/operator/alice"


@dataclass
class FakeEc2:
    """Subnets, with the VPC of each."""

    subnets: dict[str, str] = field(default_factory=dict)

    def describe_subnets(self, *, SubnetIds: list[str]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if set(SubnetIds) - self.subnets.keys():
            raise client_error("InvalidSubnetID.NotFound", 400, "DescribeSubnets")
        return {"Subnets": [{"SubnetId": each, "VpcId": self.subnets[each]} for each in SubnetIds]}


@dataclass
class FakeSts:
    arn: str = CALLER
    error: Exception | None = None

    def get_caller_identity(self) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        return {"Arn": self.arn, "Account": self.arn.split(":")[4]}


@dataclass
class FakeQuotas:
    environments: float | None = 10.0  # None: AWS lists no such quota
    error: Exception | None = None

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_service_quotas"
        return SimpleNamespace(paginate=self._paginate)

    def _paginate(self, *, ServiceCode: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's name
        assert ServiceCode == "airflow"
        if self.error is not None:
            raise self.error
        yield {"Quotas": [{"QuotaName": "Workers per environment", "Value": 25.0}]}
        if self.environments is not None:
            name = "Environments per account per Region"
            yield {"Quotas": [{"QuotaName": name, "Value": self.environments}]}
