"""Alarms on the gate. CloudWatch itself counts lines in the logs of tasks, so nothing has to run for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from bluegreen.proof import ABSENT, GATED, PERIODS, UNFINISHED
from bluegreen.timeline import Colour

from components.airflow.log_metrics import count, own_metric
from components.config.settings import Settings
from components.monitoring.alarm import Alarm, Metric

# metrics
UNGATED, REPORTS, OPEN_BOOKS = "UngatedExecutions", "ProbeReports", "SwitchUnfinished"


@dataclass(frozen=True, kw_only=True)
class GateAlarmsArgs:
    """`task_logs`: the names of the environments' log groups for tasks; `topics`: ARNs of whom they tell."""

    settings: Settings
    task_logs: Mapping[Colour, pulumi.Input[str]]
    topics: Sequence[pulumi.Input[str]]


class GateAlarms(pulumi.ComponentResource):
    """Alarms on executions that no gate judged, on no report of a probe, and on a switch without an end.

    Which side owns the work does not matter: its probe reports, the other one's is skipped. `ungated` and
    `reports` are the metrics; `unproven`: the name of the alarm on reports.
    """

    ungated: Metric
    reports: Mapping[Colour, Metric]
    unproven: pulumi.Output[str]

    def __init__(self, name: str, args: GateAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:GateAlarms", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.ungated = own_metric(args.settings, UNGATED)
        self.reports = {
            colour: own_metric(args.settings, f"{colour.title()}{REPORTS}") for colour in args.task_logs
        }
        for colour, log_group in args.task_logs.items():
            self._count(colour, log_group, UNGATED, self.ungated, ABSENT)
            self._count(colour, log_group, REPORTS, self.reports[colour], GATED)
        self._alarm(
            "ungated",
            Alarm(
                description="A task was executed that no layer of the blue/green gate judged: mwaactl status",
                metrics=[self.ungated],
                threshold=0,
                minutes=1,
                periods=1,
            ),
        )
        if len(args.task_logs) > 1:
            unfinished = own_metric(args.settings, OPEN_BOOKS)
            for colour, log_group in args.task_logs.items():
                self._count(colour, log_group, OPEN_BOOKS, unfinished, UNFINISHED)
            self._alarm(
                "unfinished",
                Alarm(
                    description="A switch was not ended for 6 hours: books are open, or DAGs held back: "
                    "mwaactl status names the command that ends it",
                    metrics=[unfinished],
                    threshold=0,
                    minutes=args.settings.gate_probe_minutes,
                    periods=1,
                ),
            )
        self.unproven = self._alarm(
            "unproven",
            Alarm(
                description="The gate probe of the environment that owns the work has not reported: "
                "mwaactl status",
                metrics=[*self.reports.values()],
                expression=" + ".join(f"FILL({letter}, 0)" for letter in "ab"[: len(self.reports)]),
                threshold=1,
                compared="LessThanThreshold",
                minutes=args.settings.gate_probe_minutes,
                periods=PERIODS,
                missing="breaching",
            ),
        )
        self.register_outputs({})

    def _count(
        self, colour: Colour, log_group: pulumi.Input[str], role: str, metric: Metric, line: str
    ) -> None:
        count(f"{self._name}-{colour}-{role.lower()}", line, log_group, metric, self._child)

    def _alarm(self, role: str, alarm: Alarm) -> pulumi.Output[str]:
        """Create it; its name, which is its id."""
        return alarm.create(f"{self._name}-{role}", self._args.topics, self._child).id
