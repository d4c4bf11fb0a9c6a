"""An environment that a team made without the program, and a stack that adopts it: Pulumi and AWS."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from mwaactl.adopt import adopt, stack_file
from mwaactl.adopt.adopt import ENVIRONMENT, VARIABLE, Adopter, How
from mwaactl.adopt.environment import LIFE, Found
from mwaactl.adopt.stack_file import StackFile
from mwaactl.aws import Clients
from mwaactl.errors import CheckFailed, Unfinished
from mwaactl.rollout.engine import Action, Change, Engine, Seen
from mwaactl.stack import GATE
from tests.fakes.aws.clients import FakeClients, fresh_ssm
from tests.fakes.aws.errors import Killed
from tests.fakes.aws.s3 import FakeS3

NAME, OLD, OURS, VPC = "team-airflow", "team-dags", "mwaa-blue-1234567", "vpc-0123456789abcdef0"
SUBNETS = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
URN = f"urn:pulumi:team::mwaa-openlineage::mwaa-openlineage:index:Mwaa${ENVIRONMENT}::mwaa-blue"
HIDDEN = "encrypted:"
DAGS = {"dags/daily.py": b"a", "dags/sql/one.sql": b"b", "dags/": b""}


def environment(**changes: Any) -> dict[str, Any]:
    """As GetEnvironment returns it, with all that an environment can have; None takes a member away."""
    logs = {
        "DagProcessingLogs": {"Enabled": True, "LogLevel": "ERROR"},
        "SchedulerLogs": {"Enabled": False, "LogLevel": "INFO"},
        "TaskLogs": {"Enabled": True, "LogLevel": "DEBUG"},
        "WebserverLogs": {"Enabled": True, "LogLevel": "WARNING"},
        "WorkerLogs": {"Enabled": True, "LogLevel": "INFO"},
    }
    about = {
        "Name": NAME,
        "Status": "AVAILABLE",
        "Arn": f"arn:aws:airflow:us-east-1:123456789012:environment/{NAME}",
        "AirflowVersion": "2.10.3",
        "EnvironmentClass": "mw1.medium",
        "ExecutionRoleArn": "arn:aws:iam::123456789012:role/service-role/team",
        "SourceBucketArn": f"arn:aws:s3:::{OLD}",
        "DagS3Path": "dags",
        "RequirementsS3Path": "requirements.txt",
        "RequirementsS3ObjectVersion": "r1",
        "PluginsS3Path": "plugins.zip",
        "PluginsS3ObjectVersion": "p1",
        "StartupScriptS3Path": "startup.sh",
        "StartupScriptS3ObjectVersion": "s1",
        "AirflowConfigurationOptions": {"core.parallelism": "64", "smtp.smtp_password": "correct horse"},
        "KmsKey": "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012",
        "NetworkConfiguration": {"SubnetIds": SUBNETS, "SecurityGroupIds": ["sg-0123456789abcdef0"]},
        "LoggingConfiguration": logs,
        "MinWorkers": 2,
        "MaxWorkers": 7,
        "Schedulers": 3,
        "MinWebservers": 2,
        "MaxWebservers": 4,
        "WebserverAccessMode": "PRIVATE_ONLY",
        "EndpointManagement": "CUSTOMER",
        "WeeklyMaintenanceWindowStart": "SAT:04:30",
        "Tags": {"team": "data", "Name": "Airflow", "aws:cloudformation:stack-name": "old-stack"},
        "LastUpdate": {"Status": "SUCCESS"},
        **changes,
    }
    return {key: value for key, value in about.items() if value is not None}


def found(**changes: Any) -> Found:
    return Found(environment(**changes), VPC)


def archive(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name, body in files.items():
            opened.writestr(name, body)
    return content.getvalue()


def revealed(value: str) -> str:
    return value.removeprefix(HIDDEN)[::-1] if value.startswith(HIDDEN) else value


@dataclass
class World:
    """The stack `team` in its folder, and AWS. `limit`: after how many calls the command is killed;
    `changes`: what the engine would do to the environment, by what it is asked for; `refusal`: why the
    program refuses the settings; `fails`: Amazon takes the update back, or a resource after the environment
    fails; `state`: what was last done to the environment in Pulumi's state, where the outputs lag behind;
    `known`: the environment as that state has it."""

    folder: Path
    aws: FakeClients = field(default_factory=lambda: FakeClients(fresh_ssm(), s3=FakeS3(OLD, OURS)))
    outputs: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Action] = field(default_factory=lambda: {"import": "import", "update": "update"})
    refusal: str = ""
    fails: Literal["", "environment", "elsewhere"] = ""
    state: Literal["", "import", "update"] = ""
    known: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    calls: int = 0
    done: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aws.mwaa.environments[NAME] = environment()
        self.aws.ec2.subnets |= dict.fromkeys(SUBNETS, VPC)
        bucket = self.aws.s3.buckets[OLD]
        for key, body in DAGS.items():
            bucket.put(key, body)
        bucket.versions |= {
            ("requirements.txt", "r1"): b"pandas==2.3.3\n",
            ("plugins.zip", "p1"): archive(**{"team/helpers.py": b"x = 1", "__pycache__/a.pyc": b""}),
            ("startup.sh", "s1"): b"export A=1\n",
        }
        self.file.write_text(json.dumps({"aws:region": "us-east-1", "p:tags": '{"old": "tag"}'}))

        copy = self.aws.s3.copy_object

        def counted(**given: Any) -> None:
            self.call()
            copy(**given)

        self.aws.s3.copy_object = counted  # type: ignore[method-assign]

    @property
    def file(self) -> Path:
        return self.folder / "Pulumi.team.yaml"

    @property
    def settings(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.file.read_text())
        return values

    def call(self) -> None:
        self.calls += 1
        if self.limit is not None and self.calls > self.limit:
            raise Killed

    @property
    def about(self) -> dict[str, Any]:
        """The environment in AWS."""
        return self.aws.mwaa.environments[NAME]

    def pulumi(self, arguments: list[str], stack: str | None, folder: Path, given: str = "") -> str:
        """The commands that an adoption uses, on a file of JSON; as strict as Pulumi."""
        self.call()
        self.arguments += arguments
        assert (stack, folder) == ("team", self.folder)
        if arguments == ["stack", "output", "--json"]:
            return json.dumps(self.outputs)
        if arguments == ["stack", "export"]:
            imported = {"type": ENVIRONMENT, "urn": URN, "id": NAME}
            return json.dumps({"deployment": {"resources": [imported] if self.state else []}})
        path = self.file
        if "--config-file" in arguments:
            path = Path(arguments[-1])
            arguments = arguments[:-2]
        values = json.loads(path.read_text() or "{}")
        match arguments:
            case ["config", "--json"]:
                return json.dumps({key: {"value": value} for key, value in values.items()})
            case ["config", "--json", "--show-secrets"]:
                return json.dumps({key: {"value": revealed(value)} for key, value in values.items()})
            case ["config", "rm", key]:
                gone = re.compile(rf"p:{key}([.\[].*)?")
                values = {path: value for path, value in values.items() if not gone.fullmatch(path)}
            case ["config", "set-all", "--path", *words]:
                for kind, word in zip(words[::2], words[1::2], strict=True):
                    key, _, value = word.partition("=")
                    assert kind == "--plaintext"
                    values[f"p:{key}"] = value
            case ["config", "set", "--path", "--raw", "--secret", key]:
                values[f"p:{key}"] = HIDDEN + given[::-1]
            case ["config", "set", "--path", "--raw", "--type", "string", key]:
                values[f"p:{key}"] = given
            case _:
                raise AssertionError(arguments)
        path.write_text(json.dumps(values))
        return ""

    def engine(self, file: Path | None, variables: Mapping[str, str]) -> Engine:
        return cast(Engine, _Engine(self, file or self.file, variables))

    def adopter(self, how: How | None = None, ask: Callable[[Any], None] = lambda _: None) -> Adopter:
        return Adopter(
            NAME,
            StackFile(self.folder, "team"),
            clients=lambda region: cast(Clients, self.aws),
            engine=self.engine,
            ask=ask,
            how=how or How(),
        )


@dataclass
class _Engine:
    world: World
    file: Path
    variables: Mapping[str, str]

    @property
    def asked(self) -> Literal["", "import", "update"]:
        """What the program asks the engine to do with the environment; empty: nothing."""
        adopted = json.loads(self.file.read_text()).get("p:adopted_environment")
        assert adopted == NAME, "the program would create an environment"
        if not self.world.state:
            return "import"
        # The program holds what the outputs do not have yet, whatever the variable says.
        updates = self.variables.get(VARIABLE) == NAME and self.world.outputs
        return "update" if updates and self.world.state != "update" else ""

    def preview(self) -> Seen:
        self.world.call()
        if self.world.refusal:
            raise CheckFailed(f"the preview failed, and nothing was touched: {self.world.refusal}")
        seen = Seen()
        if self.asked:
            action = self.world.changes[self.asked]
            seen.changes[URN] = Change(URN, action, ("sourceBucketArn",))
        return seen

    def refresh(self, urn: str) -> None:
        self.world.call()
        assert (urn, self.world.state != "") == (URN, True)
        self.world.known = deepcopy(self.world.about)
        if LIFE not in self.world.about["AirflowConfigurationOptions"]:
            self.world.state = "import"

    def update(self, *_: Any) -> None:
        asked, world = self.asked, self.world
        world.call()
        if asked:
            assert world.changes[asked] == asked
            world.done.append(asked)
        if asked == "update":
            there = world.aws.s3.buckets[OURS].objects
            assert {key for key in DAGS if not key.endswith("/")} <= there.keys(), "it would have no DAGs"
            assert world.known == world.about, "the state is not as AWS is"
        world.state = asked or world.state
        if world.fails == "environment":  # the provider's state has what it has asked for
            raise Unfinished("`pulumi up` failed: UPDATE_FAILED")
        if asked == "update":
            world.about["AirflowConfigurationOptions"][LIFE] = "its life"
            world.about["SourceBucketArn"] = f"arn:aws:s3:::{OURS}"
        world.known = deepcopy(world.about)
        world.call()  # killed between the environment and the outputs
        if world.fails == "elsewhere":
            raise Unfinished("`pulumi up` failed: ParameterAlreadyExists")
        world.outputs = {
            "airflow_environments": {
                "blue": {
                    "name": NAME,
                    "bucket": OURS,
                    "dags_prefix": "dags/",
                    "deployed": {GATE: "its life"} if world.state == "update" else {},
                }
            }
        }
        world.call()  # killed after it, too


def world_of(monkeypatch: pytest.MonkeyPatch, folder: Path) -> World:
    world = World(folder)
    monkeypatch.setattr(adopt, "pulumi", world.pulumi)
    monkeypatch.setattr(stack_file, "pulumi", world.pulumi)
    return world
