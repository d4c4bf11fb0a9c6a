"""A copy of the project on a local cloud of its own, driven by the real CLI as a user drives it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local.aws import ministack
from local.home import CHECKOUT, REGION, Home
from local.processes import LOOPBACK, all_running, answers, clean_environ, free_port, start, stop, wait_until
from local.pulumi import cli as pulumi_cli

MODES = {
    "standard": (False, False),
    "bluegreen": (True, False),
    "hamarquez": (False, True),
    "fullha": (True, True),
}
ENVIRONMENT = "aws:mwaa/environment:Environment"
QUOTA = {"MWAA_LOCAL_MAX_WORKERS": "40"}  # Amazon's default is 25


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud; without `airflow`, its environments are AVAILABLE at once and run nothing."""

    home: Home
    env: Mapping[str, str]

    @classmethod
    def start(cls, home: Home, *, airflow: bool = False) -> LocalCloud:
        pulumi_cli.install(home, pulumi_cli.ensure(home))
        ministack.start(home)
        port = free_port()
        mwaa = start(
            home,
            "mwaa",
            [
                sys.executable,
                "-m",
                "local",
                "mwaa",
                "--port",
                str(port),
                *([] if airflow else ["--no-airflow"]),
            ],
            env=clean_environ(**pulumi_cli.environ(home), MWAA_LOCAL_HOME=str(home.root), **QUOTA),
            port=port,
        )
        url = f"http://{LOOPBACK}:{port}/environments"
        wait_until(lambda: answers(url), "local MWAA", seconds=60, process=mwaa)
        environment = {
            **pulumi_cli.environ(home),
            **QUOTA,
            "PULUMI_DEBUG_COMMANDS": "true",
        }  # for --event-log
        return cls(home, clean_environ(**environment))

    def stop(self) -> None:
        stop(self.home, *(p.name for p in all_running(self.home) if p.name != ministack.NAME))
        ministack.stop(self.home)

    def client(self, service: Any) -> Any:
        variable = "AWS_ENDPOINT_URL_MWAA" if service == "mwaa" else "AWS_ENDPOINT_URL"
        return boto3.client(
            service,
            endpoint_url=self.env[variable],
            region_name=REGION,
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            config=Config(inject_host_prefix=False),
        )

    def content(self) -> dict[str, list[str]]:
        """Names of everything that the cloud holds."""
        return {
            "buckets": [b["Name"] for b in self.client("s3").list_buckets()["Buckets"]],
            "parameters": [p["Name"] for p in self.client("ssm").describe_parameters()["Parameters"]],
            "secrets": [s["Name"] for s in self.client("secretsmanager").list_secrets()["SecretList"]],
            "log groups": [g["logGroupName"] for g in self.client("logs").describe_log_groups()["logGroups"]],
            "environments": self.client("mwaa").list_environments()["Environments"],
        }


@dataclass(frozen=True)
class Result:
    """One run of the CLI. `steps`: (operation, type, logical name) of every resource that it looked at."""

    ok: bool
    said: str
    steps: list[tuple[str, str, str]]

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        return [step for step in self.steps if step[0] not in ("same", "read", "refresh")]

    def operations(self) -> Counter[str]:
        return Counter(operation for operation, _, _ in self.steps)


@dataclass(frozen=True)
class Project:
    """The project (the checkout's own program, a copy of its stack files) and one of its stacks."""

    cloud: LocalCloud
    folder: Path
    stack: str
    copied: Mapping[str, bytes]
    """The stack files as they were copied."""

    @classmethod
    def of_checkout(cls, cloud: LocalCloud, folder: Path, stack: str) -> Project:
        """The real program: a folder with copies of what `pulumi config set` may write."""
        for name in ("__main__.py", ".venv"):
            (folder / name).symlink_to(CHECKOUT / name)
        copied = {file.name: file.read_bytes() for file in CHECKOUT.glob("Pulumi*.yaml")}
        for file, content in copied.items():
            (folder / file).write_bytes(content)
        pulumi_cli.init_stack(cloud.home, stack, folder)
        return cls(cloud, folder, stack, copied)

    @classmethod
    def of_program(cls, cloud: LocalCloud, folder: Path, program: str) -> Project:
        """A few lines of Python as a program, on the stack `test`."""
        (folder / "Pulumi.yaml").write_text(f"name: {folder.name.lower()}\nruntime: python\n")
        (folder / "__main__.py").write_text(program)
        pulumi_cli.init_stack(cloud.home, "test", folder)
        return cls(cloud, folder, "test", {})

    def stack_files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.folder.glob("Pulumi*.yaml")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", "--non-interactive", *arguments, "-s", self.stack],
            cwd=self.folder,
            env=dict(self.cloud.env),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def operate(self, *arguments: str) -> Result:
        """Run an operation and tell its steps."""
        log = self.folder / "events.json"
        log.unlink(missing_ok=True)
        done = self.run(*arguments, "--event-log", str(log))
        steps = []
        for line in log.read_text().splitlines() if log.exists() else ():
            metadata = json.loads(line).get("resourcePreEvent", {}).get("metadata")
            if metadata:
                name = metadata["urn"].rsplit("::", 1)[1]
                steps.append((metadata["op"], metadata["type"], name))
        return Result(done.returncode == 0, done.stdout + done.stderr, steps)

    def up(self) -> Result:
        return self.operate("up", "--yes", "--skip-preview")

    def preview(self) -> Result:
        return self.operate("preview")

    def refresh(self) -> Result:
        return self.operate("refresh", "--yes", "--skip-preview")

    def destroy(self) -> Result:
        return self.operate("destroy", "--yes", "--skip-preview")

    def set(self, **settings: object) -> None:
        for key, value in settings.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            done = self.run("config", "set", key, text)
            assert done.returncode == 0, done.stderr

    def enter(self, mode: str) -> Result:
        """`pulumi config set` of the two booleans and `pulumi up`."""
        blue_green, ha_marquez = MODES[mode]
        self.set(enable_blue_green=blue_green, enable_ha_marquez=ha_marquez)
        result = self.up()
        assert result.ok, result.said
        return result

    def outputs(self) -> dict[str, Any]:
        done = self.run("stack", "output", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def environment(self, colour: str) -> dict[str, Any]:
        """What Amazon MWAA says of an environment."""
        name = self.outputs()["airflow_environments"][colour]["name"]
        found: dict[str, Any] = self.cloud.client("mwaa").get_environment(Name=name)["Environment"]
        return found

    def resources(self, *, secrets: bool = False) -> list[dict[str, Any]]:
        """The state's resources."""
        done = self.run("stack", "export", *(["--show-secrets"] if secrets else []))
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["deployment"].get("resources") or [])

    def state_text(self) -> str:
        """The state as it lies on disk."""
        folder = self.cloud.home.state / "pulumi" / ".pulumi" / "stacks"
        return "\n".join(f.read_text() for f in folder.rglob(f"{self.stack}.json"))
