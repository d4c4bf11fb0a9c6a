"""What `mwaactl` has of a deployed stack: its clients, its outputs and its ownership."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from bluegreen.document import latest_valid, object_key
from bluegreen.proof import PROBE
from bluegreen.timeline import Colour, Timeline

from mwaactl.aws import Clients
from mwaactl.deployment import Deployment
from mwaactl.stack import parse
from tests.fakes.airflow.model import AirflowModel, Dag
from tests.fakes.airflow.probe import SKIPPED, WAITING, FakeProbe, Shows, reported
from tests.fakes.aws.account import FakeEc2, FakeQuotas, FakeSts
from tests.fakes.aws.cloudwatch import FakeCloudWatch
from tests.fakes.aws.iam import FakeIam
from tests.fakes.aws.logs import FakeLogs
from tests.fakes.aws.mwaa import AIRFLOW, FakeMwaa
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP, FakeSsm
from tests.fakes.clock import START, Clock
from tests.fakes.timeline import LIVES, dumped, initial

LEAD = 5.0
BLUE, GREEN = "mwaa-openlineage-fullha-blue", "mwaa-openlineage-fullha-green"


# Short ones: the true documents are held against the code in tests/unit/mwaactl/test_operator_policies.py.
_READ = {"Effect": "Allow", "Action": ["ssm:GetParameter"], "Resource": ["arn:aws:ssm:::parameter/x"]}
_WRITE = {**_READ, "Action": ["ssm:PutParameter"]}
_KEY = {
    "Effect": "Allow",
    "Action": ["kms:Decrypt"],
    "Resource": ["arn:aws:kms:::key/x"],
    "Condition": {"StringEquals": {"kms:ViaService": ["s3.us-east-1.amazonaws.com"]}},
}
_FENCE = {**_READ, "Action": ["iam:PutRolePolicy"]}
POLICIES = {
    "read": {"Statement": [_READ, _KEY]},
    "switch": {"Statement": [_READ, _KEY, _WRITE]},
    "on_call": {"Statement": [_READ, _KEY, _WRITE, _FENCE]},
}


@dataclass
class FakeClients:
    """Stands for `mwaactl.aws.Clients`."""

    ssm: FakeSsm
    mwaa: FakeMwaa = field(default_factory=FakeMwaa)
    s3: FakeS3 = field(default_factory=lambda: FakeS3(page_size=2))
    cloudwatch: FakeCloudWatch = field(default_factory=FakeCloudWatch)
    iam: FakeIam = field(default_factory=FakeIam)
    logs: FakeLogs = field(default_factory=FakeLogs)
    ec2: FakeEc2 = field(default_factory=FakeEc2)
    sts: FakeSts = field(default_factory=FakeSts)
    service_quotas: FakeQuotas = field(default_factory=FakeQuotas)
    region: str = "us-east-1"

    @property
    def ssm_writer(self) -> FakeSsm:
        return self.ssm

    @property
    def rest_api(self) -> FakeMwaa:
        return self.mwaa

    @property
    def blue(self) -> AirflowModel:
        """Blue's Airflow, where a model stands for it."""
        return self.mwaa.models[BLUE]

    @property
    def green(self) -> AirflowModel:
        return self.mwaa.models[GREEN]


def outputs(mode: str = "fullha", **changes: Any) -> dict[str, Any]:
    """A stack's outputs as Pulumi prints them."""
    colours: tuple[Colour, ...] = ("blue", "green") if mode in ("fullha", "bluegreen") else ("blue",)
    name = f"mwaa-openlineage-{mode}"
    return {
        "mode": mode,
        "region": "us-east-1",
        "project": "mwaa-openlineage",
        "stack": mode,
        "name": name,
        "vpc_id": "vpc-1",
        "airflow_environments": {
            colour: {
                "name": f"{name}-{colour}",
                "arn": f"arn:aws:airflow:us-east-1:123456789012:environment/{name}-{colour}",
                "webserver_url": f"https://{colour}.example",
                "bucket": f"{name}-{colour}-dags",
                "dags_prefix": "dags/",
                "execution_role_arn": "arn:aws:iam::123456789012:role/x",
                "airflow_version": "3.0.6",
                "environment_class": "mw1.small",
                "lineage_namespace": f"{name}-{colour}",
                "life": LIVES[colour],
                "identity": {},
                "deployed": {"plugins.zip": "sha256:1", "requirements.txt": "sha256:1"},
            }
            for colour in colours
        },
        "ownership_parameter": OWNERSHIP,
        "active_environment_parameter": ACTIVE,
        "switch_lead_seconds": LEAD,
        "gate_probe_minutes": 5,
        "lineage": "marquez",
        "lineage_sinks": [],
        "lineage_log_bucket": f"{name}-lineage",
        "lineage_url": f"http://marquez.{name}.internal",
        "lineage_open_command": "aws ssm start-session --parameters portNumber=80,localPortNumber=8080",
        "dashboard_url": "https://console.example/dashboard",
        "operator_policies": POLICIES,
        **changes,
    }


def fresh_ssm(clock: Clock | None = None) -> FakeSsm:
    """Parameter Store after a deployment: blue owns everything."""
    ssm = FakeSsm(clock or Clock())
    ssm.store({"Name": OWNERSHIP, "Value": dumped(initial())})
    ssm.store({"Name": ACTIVE, "Value": "blue"})
    return ssm


def fresh_clients(mode: str = "fullha", clock: Clock | None = None) -> FakeClients:
    """A freshly deployed stack: blue owns everything, both sides are healthy and alike."""
    ssm, mwaa = fresh_ssm(clock), FakeMwaa()

    def health(query: Any) -> dict[str, Any]:
        beat = ssm.clock.now + (ssm.skew or timedelta(0)) - timedelta(seconds=2)
        return {"scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat.isoformat()}}

    clients = FakeClients(ssm, mwaa)
    for colour, environment in outputs(mode)["airflow_environments"].items():
        mwaa.probes[environment["name"]] = _probe(clients, colour)
        mwaa.environments[environment["name"]] = {
            "Status": "AVAILABLE",
            "WeeklyMaintenanceWindowStart": "SUN:03:30",
            "AirflowVersion": "3.0.6",
            "PluginsS3Path": "plugins.zip",
            "PluginsS3ObjectVersion": "v1",
            "LoggingConfiguration": _logging(environment["name"]),
        }
        clients.logs.groups[f"airflow-{environment['name']}-Task"] = []
        if bucket := clients.s3.buckets.get(environment["bucket"]):
            bucket.versions["plugins.zip", "v1"] = b"the gate"
        mwaa.airflow[environment["name"]] = copy.deepcopy(AIRFLOW) | {"/monitor/health": health}
    return clients


def _logging(name: str) -> dict[str, Any]:
    """Task logs alone."""
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:airflow-{name}-Task"
    return {
        "TaskLogs": {"Enabled": True, "LogLevel": "INFO", "CloudWatchLogGroupArn": arn},
        "WorkerLogs": {"Enabled": False, "LogLevel": "INFO"},
    }


def _probe(clients: FakeClients, colour: Colour) -> FakeProbe:
    """A probe under a gate that works."""

    def shows(due: datetime) -> Shows:
        owner = standing(clients).owner(due, PROBE) if OWNERSHIP in clients.ssm.stored else None
        if owner == colour:
            return reported(environment=colour, life=LIVES[colour])
        return SKIPPED if owner else WAITING

    return FakeProbe(now=lambda: clients.ssm.clock.now, shows=shows)


def clients_of_models(dags: Mapping[str, Dag]) -> FakeClients:
    """A full HA stack with two model Airflows; both have the same DAGs (copied) and no runs."""
    clients = fresh_clients()
    clients.mwaa.models = {
        name: AirflowModel(
            dags={dag_id: replace(dag) for dag_id, dag in dags.items()}, now=lambda: clients.ssm.clock.now
        )
        for name in (BLUE, GREEN)
    }
    for environment in clients.mwaa.environments.values():
        environment["CreatedAt"] = START - timedelta(days=30)
    return clients


def deployment(aws: FakeClients, mode: str = "fullha", **changes: Any) -> Deployment:
    """A deployed stack whose AWS is `aws`, with the outputs of `mode`; a new one, as each command opens."""
    return Deployment(parse(outputs(mode, **changes)), cast(Clients, aws))


def standing(aws: FakeClients) -> Timeline:
    """The timeline that every reader has now."""
    records = [(r["Value"], r["Version"], r["LastModifiedDate"]) for r in aws.ssm.stored[OWNERSHIP]]

    def fetch(name: str) -> str:
        return aws.s3.lineage.objects[object_key(name)].decode()

    return latest_valid(records, fetch).effective().seen_with(LIVES)
