"""What both lineage back ends promise: one address, one way to open it, one name for what is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.lineage_log import LineageLog
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class MarquezArgs:
    """`name`: the deployment's physical prefix, `{project}-{stack}`.

    `private_subnet_ids` and `availability_zones` are in the same order: the first subnet lies in the
    first zone.
    """

    name: str
    region: str
    settings: Settings
    vpc_id: pulumi.Input[str]
    vpc_cidr: str
    private_subnet_ids: pulumi.Input[Sequence[str]]
    availability_zones: Sequence[str]
    lineage_log: LineageLog


class Marquez(pulumi.ComponentResource):
    """Both back ends carry this one type, and the program gives both the same name: what they share keeps its URN."""

    url: pulumi.Output[str]
    open_command: pulumi.Output[str]
    backend: pulumi.Output[str]

    def __init__(self, name: str, args: MarquezArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Marquez", name, None, opts)
