"""What says that the lineage back end is not well.

Metrics and dimensions by the user guides of Elastic Load Balancing, EC2 Auto Scaling, EC2 and Aurora.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.monitoring.alarm import Alarm, Metric

METRICS_NAMESPACE = "MwaaOpenLineage"  # of what the forwarders report
BALANCER, GROUP, DATABASE, NODE = "AWS/ApplicationELB", "AWS/AutoScaling", "AWS/RDS", "AWS/EC2"


@dataclass(frozen=True, kw_only=True)
class WatchedNode:
    """The back end of one node: `instance`, its id; `log`: the bucket from which its forwarder reads."""

    instance: pulumi.Input[str]
    log: pulumi.Input[str]

    def metric(self, name: str) -> Metric:
        return Metric(NODE, name, {"InstanceId": self.instance})

    @property
    def disk(self) -> Metric:
        """How full the fuller one of its disks is, in percent."""
        return Metric(METRICS_NAMESPACE, "DiskUsed", {"LineageLog": self.log})


@dataclass(frozen=True, kw_only=True)
class WatchedHa:
    """The highly available back end.

    `balancer` and `api`: the ends of the ARNs of the load balancer and of its target group for the API, as
    CloudWatch names them; `group`: of the nodes; `cluster`: of the database; `nodes`: as many as must serve.
    """

    balancer: pulumi.Input[str]
    api: pulumi.Input[str]
    group: pulumi.Input[str]
    cluster: pulumi.Input[str]
    nodes: int

    def balancer_metric(self, name: str, statistic: str = "Sum") -> Metric:
        return Metric(BALANCER, name, {"LoadBalancer": self.balancer}, statistic)

    def api_metric(self, name: str, statistic: str) -> Metric:
        return Metric(BALANCER, name, {"LoadBalancer": self.balancer, "TargetGroup": self.api}, statistic)

    def group_metric(self, name: str) -> Metric:
        return Metric(GROUP, name, {"AutoScalingGroupName": self.group}, "Minimum")

    def database_metric(self, name: str, statistic: str = "Maximum") -> Metric:
        return Metric(DATABASE, name, {"DBClusterIdentifier": self.cluster}, statistic)


Watched = WatchedNode | WatchedHa


def marquez_alarms(watched: Watched) -> Mapping[str, Alarm]:
    """The alarms of a back end, by their role. Lineage itself is never lost by what they tell: it is late."""
    if isinstance(watched, WatchedNode):
        return {
            "node": Alarm(
                description="The Marquez node fails EC2's checks. Sound hardware is chosen by itself; if it "
                "stays so: pulumi up --replace '**Instance::marquez-node'",
                metrics=[watched.metric("StatusCheckFailed")],
                threshold=0,
                periods=2,
                missing="breaching",
            ),
            "disk": Alarm(
                description="A disk of the Marquez node is over 80 % full. Lower lineage_retention_days, "
                "or set enable_ha_marquez, whose database grows by itself",
                metrics=[watched.disk],
                threshold=80,
            ),
        }
    return {
        "unhealthy": Alarm(
            description=f"Fewer than {watched.nodes} Marquez nodes serve. They are replaced by themselves, "
            "unless it is the database that is away: see its events",
            metrics=[watched.api_metric("HealthyHostCount", "Minimum")],
            threshold=watched.nodes,
            compared="LessThanThreshold",
            missing="breaching",
        ),
        "nodes": Alarm(
            description=f"Fewer than {watched.nodes} Marquez nodes are in service. See the activity of the "
            "auto scaling group",
            metrics=[watched.group_metric("GroupInServiceInstances")],
            threshold=watched.nodes,
            compared="LessThanThreshold",
            missing="breaching",
        ),
        "errors": Alarm(
            description="Marquez, or its load balancer, answers 5xx. Lineage waits in its log meanwhile: "
            "mwaactl lineage status",
            metrics=[
                watched.balancer_metric("HTTPCode_Target_5XX_Count"),
                watched.balancer_metric("HTTPCode_ELB_5XX_Count"),
            ],
            expression="FILL(a, 0) + FILL(b, 0)",
            threshold=0,
        ),
        "database-capacity": Alarm(
            description="The lineage database has used all its capacity for 15 minutes. Raise "
            "aurora_max_capacity",
            metrics=[watched.database_metric("ACUUtilization")],
            threshold=95,
        ),
        "database-lag": Alarm(
            description="The reader of the lineage database is more than a second behind: a failover takes "
            "longer. Raise aurora_max_capacity",
            metrics=[watched.database_metric("AuroraReplicaLagMaximum")],
            threshold=1000,
        ),
    }


def sink_alarms(name: str, dimensions: Mapping[str, pulumi.Input[str]]) -> Mapping[str, Alarm]:
    """The alarms of one further sink, by their role; `dimensions` of what its forwarder reports."""
    return {
        "behind": Alarm(
            description=f"The lineage sink {name} has been more than 5 minutes behind, or without a "
            "forwarder, for 10 minutes: mwaactl lineage status, and on a node journalctl -u "
            f"lineage-sink@{name}",
            metrics=[Metric(METRICS_NAMESPACE, "SecondsBehind", dimensions)],
            threshold=300,
            minutes=1,
            periods=10,
            missing="breaching",
        ),
        "set-aside": Alarm(
            description=f"The lineage sink {name} has permanently refused events; they and the reasons lie "
            f"below sinks/{name}/ in the lineage log",
            metrics=[Metric(METRICS_NAMESPACE, "SetAside", dimensions, "Sum")],
            threshold=0,
            minutes=1,
            periods=1,
        ),
    }
