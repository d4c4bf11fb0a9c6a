"""The alarm on lineage events that were lost on their way to the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from bluegreen.proof import LOST

from components.airflow.log_metrics import count, own_metric
from components.config.settings import Settings
from components.monitoring.alarm import Alarm, Metric

LOST_EVENTS = "LineageEventsLost"


@dataclass(frozen=True, kw_only=True)
class LostLineageArgs:
    """`logs`: names of the log groups in which a lost event is a line; `topics`: ARNs of whom it tells."""

    settings: Settings
    logs: Mapping[str, pulumi.Input[str]]
    topics: Sequence[pulumi.Input[str]]


class LostLineage(pulumi.ComponentResource):
    """Counts what the transport says that it has lost: of tasks in their logs, of runs in the scheduler's."""

    events: Metric

    def __init__(self, name: str, args: LostLineageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:LostLineage", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.events = own_metric(args.settings, LOST_EVENTS)
        for role, log_group in args.logs.items():
            count(f"{name}-{role}", LOST, log_group, self.events, child)
        Alarm(
            description="Lineage events could not be written to the lineage log, so Marquez never shows "
            "them. The lines `lineage event lost` say which, and why: mwaactl logs",
            metrics=[self.events],
            threshold=0,
            periods=1,
        ).create(name, args.topics, child)
        self.register_outputs({})
