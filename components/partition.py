"""The partition of AWS that the stack is in: `aws`, `aws-cn`, `aws-us-gov` and so on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pulumi_aws as aws


@dataclass(frozen=True)
class Partition:
    """`dns_suffix`: `amazonaws.com`, in China `amazonaws.com.cn`."""

    name: str
    dns_suffix: str

    @classmethod
    def current(cls) -> Self:
        """Of the provider's region; the provider answers without a call to AWS."""
        found = aws.get_partition()
        return cls(found.partition, found.dns_suffix)

    def managed_policy(self, path: str) -> str:
        """The ARN of one of Amazon's own IAM policies."""
        return f"arn:{self.name}:iam::aws:policy/{path}"

    def via(self, region: str, *services: str) -> Sequence[str]:
        """Services as `kms:ViaService` names them."""
        return [f"{service}.{region}.{self.dns_suffix}" for service in services]

    def console(self, region: str) -> str:
        """The host of the AWS console in a region."""
        domain = {"aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com"}.get(
            self.name, "aws.amazon.com"
        )
        return f"{region}.console.{domain}"
