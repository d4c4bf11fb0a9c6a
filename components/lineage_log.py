"""The lineage log: the bucket to which every Airflow writes its OpenLineage events."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class LineageLogArgs:
    """`name`: the deployment's physical prefix, `{project}-{stack}`."""

    name: str
    settings: Settings


class LineageLog(pulumi.ComponentResource):
    bucket: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]

    def __init__(self, name: str, args: LineageLogArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:LineageLog", name, None, opts)
