"""What a stack has to say of itself: the alarms of its environments and of Marquez, and its dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from bluegreen.proof import PERIODS
from bluegreen.timeline import Colour

from components.config.settings import Settings
from components.monitoring.alarm import Alarm, Metric
from components.monitoring.dashboard import Shown, dashboard
from components.monitoring.environment_alarms import environment_alarms
from components.monitoring.marquez_alarms import Watched, marquez_alarms
from components.partition import Partition

OWNER_UNHEALTHY = "owner-unhealthy"


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """`topics`: ARNs of whom the alarms tell. `environments`: the names of the Airflow environments.

    `ungated`, `reports` and `unproven`: of `GateAlarms`; `lost`: events of lineage; None: it is off.
    `watched`: None without Marquez.
    """

    settings: Settings
    topics: Sequence[pulumi.Input[str]]
    environments: Mapping[Colour, pulumi.Input[str]]
    ungated: Metric
    reports: Mapping[Colour, Metric]
    unproven: pulumi.Input[str]
    lost: Metric | None
    watched: Watched | None
    lineage_log_bucket: pulumi.Input[str]


class Monitoring(pulumi.ComponentResource):
    """Alarms and one dashboard.

    The alarms of an environment tell nobody by themselves. One composite alarm does: the environment that
    owns the work is not healthy. It follows the owner at a switch because only the owner's probe reports.
    """

    dashboard_url: pulumi.Output[str]

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mwaa-openlineage:index:Monitoring", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        of_environments = {
            colour: [
                alarm.create(f"{name}-{colour}-{role}", (), self._child)
                for role, alarm in environment_alarms(environment).items()
            ]
            for colour, environment in args.environments.items()
        }
        of_marquez = [
            alarm.create(f"{name}-marquez-{role}", args.topics, self._child)
            for role, alarm in (marquez_alarms(args.watched) if args.watched else {}).items()
        ]
        unhealthy = self._owner_unhealthy(of_environments)
        self._dashboard(
            [
                unhealthy.arn,
                *(alarm.arn for alarms in of_environments.values() for alarm in alarms),
                *(alarm.arn for alarm in of_marquez),
            ]
        )
        self.register_outputs({"dashboard_url": self.dashboard_url})

    def _owner_unhealthy(
        self, of_environments: Mapping[Colour, Sequence[aws.cloudwatch.MetricAlarm]]
    ) -> aws.cloudwatch.CompositeAlarm:
        names = {colour: [each.id for each in alarms] for colour, alarms in of_environments.items()}
        rule = pulumi.Output.all(names=names, owns=self._owns(), unproven=self._args.unproven).apply(
            lambda known: owner_rule(known["names"], known["owns"], known["unproven"])
        )
        return aws.cloudwatch.CompositeAlarm(
            f"{self._name}-{OWNER_UNHEALTHY}",
            alarm_name=f"{self._args.settings.name}-{OWNER_UNHEALTHY}",
            alarm_description="The Airflow environment that owns the work is not healthy, or no probe says "
            f"which one owns it: mwaactl status -s {self._args.settings.stack}",
            alarm_rule=rule,
            alarm_actions=list(self._args.topics) or None,
            ok_actions=list(self._args.topics) or None,
            opts=self._child,
        )

    def _owns(self) -> Mapping[Colour, pulumi.Output[str]]:
        """The names of alarms that are on while that colour's probe reports, which only the owner's does."""
        if len(self._args.reports) == 1:
            return {}
        alarms = {
            colour: Alarm(
                description=f"No alarm: {colour} owns the work, as its gate probe reports",
                metrics=[metric],
                threshold=0,
                minutes=self._args.settings.gate_probe_minutes,
                periods=PERIODS,
                at_least=1,
            )
            for colour, metric in self._args.reports.items()
        }
        return {
            colour: alarm.create(f"{self._name}-{colour}-owns", (), self._child).id
            for colour, alarm in alarms.items()
        }

    def _dashboard(self, alarms: Sequence[pulumi.Output[str]]) -> None:
        settings, args = self._args.settings, self._args
        body = pulumi.Output.all(
            environments=args.environments,
            alarms=alarms,
            lineage_log_bucket=args.lineage_log_bucket,
            watched=vars(args.watched) if args.watched else None,
        ).apply(
            lambda known: dashboard(
                Shown(
                    region=settings.region,
                    ungated=args.ungated,
                    reports=args.reports,
                    lost=args.lost,
                    environments=known["environments"],
                    alarms=known["alarms"],
                    lineage_log_bucket=known["lineage_log_bucket"],
                    watched=type(args.watched)(**known["watched"]) if args.watched else None,
                )
            )
        )
        made = aws.cloudwatch.Dashboard(
            self._name, dashboard_name=settings.name, dashboard_body=body, opts=self._child
        )
        console = Partition.current().console(settings.region)
        self.dashboard_url = made.dashboard_name.apply(
            lambda name: (
                f"https://{console}/cloudwatch/home?region={settings.region}#dashboards/dashboard/{name}"
            )
        )


def owner_rule(alarms: Mapping[Colour, Sequence[str]], owns: Mapping[Colour, str], unproven: str) -> str:
    """The rule of the composite alarm: one of the owner's alarms is on, or none is known to be the owner.

    In a stack with one environment that one is the owner, whether its probe reports or not.
    """
    sides = []
    for colour, names in alarms.items():
        any_on = " OR ".join(f'ALARM("{name}")' for name in names)
        sides.append(f'(ALARM("{owns[colour]}") AND ({any_on}))' if len(alarms) > 1 else f"({any_on})")
    return " OR ".join([*sides, f'ALARM("{unproven}")'])
