"""Who calls, and what the account may have: STS and Service Quotas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

ACCOUNT = "123456789012"
CALLER = f"arn:aws:sts::{ACCOUNT}:assumed-role/operator/alice"


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
