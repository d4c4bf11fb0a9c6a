"""Two real Airflows on the local cloud, deployed by the real program, and ways to hurt them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import boto3
import psutil
import yaml
from bluegreen.timeline import COLOURS
from botocore.config import Config
from botocore.exceptions import ClientError

from local import processes, up
from local.aws import callers, ministack
from local.home import ACCOUNT, CHECKOUT, REGION, Home
from local.pulumi import cli as pulumi_cli
from tests.e2e.load.decisions import Version
from tests.e2e.load.proxy import Proxy
from tests.e2e.load.schedule import LOADS

STACK = "bluegreen"
Method = Literal["GET", "POST", "PATCH"]
PROCESSES = ("scheduler", "dag-processor", "triggerer")
DAGS = Path(__file__).parent / "dags"
# What takes minutes by default must be noticed within this test. One machine carries both environments.
OPTIONS = {
    "core.parallelism": "10",
    # the lineage of tasks under a switch has tests of its own
    "openlineage.disabled_for_operators": ";".join(
        f"{package}.{name}"
        for package in ("airflow.providers.standard", "airflow")  # Airflow 3, and 2
        for name in (
            "operators.python.PythonOperator",
            "operators.python.ShortCircuitOperator",
            "sensors.external_task.ExternalTaskSensor",
        )
    ),
    "dag_processor.min_file_process_interval": "120",
    "scheduler.job_heartbeat_sec": "2",
    "scheduler.orphaned_tasks_check_interval": "10",
    "scheduler.task_instance_heartbeat_timeout": "30",
    "scheduler.task_instance_heartbeat_timeout_detection_interval": "5",
}


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    command: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What it printed, {} if that is nothing."""
        return dict(json.loads(self.out)) if self.out.strip() else {}


class Twins:
    """The stack `bluegreen` in a home of its own.

    Airflow reads the ownership parameter through the proxy `gate`, `mwaactl` uses `operator`.
    """

    def __init__(
        self, root: Path, tools: Path, options: Mapping[str, str] = OPTIONS, **settings: Any
    ) -> None:
        """`settings` of the program, beside `airflow_options` and those of the stack's file."""
        self.home = Home(root.resolve())
        self._own = {"MWAA_LOCAL_HOME": str(self.home.root), "MWAA_LOCAL_TOOLS": str(tools)}
        self._settings = {"airflow_options": dict(options), **settings}
        self.project, self.config = CHECKOUT, self.home.root / f"Pulumi.{STACK}.yaml"
        self.ledger = self.home.root / "ledger.jsonl"

    def up(self) -> None:
        """Deploy; returns when both Airflows are healthy. Raises LocalError or RuntimeError."""
        os.environ.update(self._own)  # `local` reads them, and so does what it starts
        pulumi_cli.install(self.home, pulumi_cli.ensure(self.home, print))
        emulator = ministack.start(self.home, print)
        assert emulator.port is not None
        self.gate, self.operator = Proxy(emulator.port), Proxy(emulator.port)
        port = processes.free_port()
        processes.start(
            self.home,
            "mwaa",
            [sys.executable, "-m", "local", "mwaa", "--port", str(port)],
            env=processes.clean_environ(**pulumi_cli.environ(self.home))
            | {"AWS_ENDPOINT_URL_SSM": self.gate.url},
            port=port,
            cwd=CHECKOUT,
        )
        url = f"http://{processes.LOOPBACK}:{port}/environments"
        processes.wait_until(lambda: processes.answers(url), "local MWAA", seconds=30)
        self.env = processes.clean_environ(**pulumi_cli.environ(self.home))
        pulumi_cli.init_stack(self.home, STACK, self.project)
        done = self.deploy()
        if done.code != 0:
            raise RuntimeError(f"pulumi up failed:\n{done.out}\n{done.err}")
        self._session = boto3.Session("test", "test", region_name=self.env["AWS_REGION"])
        self._ssm = self._session.client("ssm", endpoint_url=self.env["AWS_ENDPOINT_URL"])
        self._s3 = self._session.client("s3", endpoint_url=self.env["AWS_ENDPOINT_URL"])
        self._mwaa = self._session.client(
            "mwaa",
            endpoint_url=self.env["AWS_ENDPOINT_URL_MWAA"],
            config=Config(inject_host_prefix=False, max_pool_connections=4),
        )

    def deploy(self, **settings: Any) -> Answer:
        """`pulumi up` with these settings changed, from now on."""
        self._settings |= settings
        changes = ("--yes", "--skip-preview", "--non-interactive", "--config-file", str(self._config()))
        done = self.run("pulumi", "up", "-s", STACK, *changes)
        if done.code == 0:
            self.outputs = self.run("pulumi", "stack", "output", "--json", "-s", STACK).json
            airflows = self.outputs["airflow_environments"]
            self.names: dict[str, str] = {c: airflows[c]["name"] for c in COLOURS if c in airflows}
            self.parameter: str = self.outputs["ownership_parameter"]
            callers.grant_operator(self.home, STACK, self.outputs["operator_policies"]["on_call"])
            for environment in airflows.values():
                self._allow_to_ask(environment["execution_role_arn"].rpartition("/")[2])
        return done

    def change(self, **settings: Any) -> Path:
        """Change settings without deploying them; the file that has them."""
        self._settings |= settings
        return self._config()

    def environment(self, colour: str) -> dict[str, Any]:
        """What Amazon tells of an environment."""
        return dict(self._mwaa.get_environment(Name=self.names[colour])["Environment"])

    def _allow_to_ask(self, role: str) -> None:
        """Let tasks read who is active (`load.py`), which the program alone does not allow them."""
        name = self.outputs["active_environment_parameter"]
        statement = {
            "Effect": "Allow",
            "Action": "ssm:GetParameter",
            "Resource": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}",
        }
        callers.deployer(self.home, "iam").put_role_policy(
            RoleName=role,
            PolicyName="load",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )

    def down(self) -> list[str]:
        """End every process of this home; the command lines of those that had to be killed."""
        with contextlib.suppress(AttributeError):
            self.thaw()
        up.down(self.home, print)
        for proxy in (getattr(self, name, None) for name in ("gate", "operator")):
            if proxy is not None:
                proxy.close()
        left = [p for p in psutil.process_iter() if p.pid != os.getpid() and self._is_ours(p)]
        names = [" ".join(p.cmdline()) for p in left]
        for process in left:
            process.kill()
        return names

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("MWAA_LOCAL_HOME") == str(self.home.root):
                return True
            return Path(process.cwd()).is_relative_to(
                self.home.root
            )  # Airflow renames itself: no environment
        return False

    def _config(self) -> Path:
        """The stack's file with our settings."""
        content = yaml.safe_load((CHECKOUT / f"Pulumi.{STACK}.yaml").read_text())
        content["config"] |= {f"mwaa-openlineage:{key}": value for key, value in self._settings.items()}
        self.config.write_text(yaml.safe_dump(content))
        return self.config

    # What an operator does

    def run(self, *command: str, timeout: float = 600, **environ: str) -> Answer:
        return self._run(command, timeout, environ)

    def _run(self, command: tuple[str, ...], timeout: float, environ: Mapping[str, str]) -> Answer:
        done = subprocess.run(
            command,
            cwd=self.project,
            env={**self.env, **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Answer(command, done.returncode, done.stdout, done.stderr)

    def mwaactl(self, *arguments: str) -> Answer:
        """The real program, as CI calls it, with the permissions of an operator on call."""
        command = ("mwaactl", *arguments, "-s", STACK, "--json")
        own = callers.of_operator(self.home) | {"AWS_ENDPOINT_URL_SSM": self.operator.url}
        return self._run(command, 600, own)

    def push(self, **chosen: Any) -> None:
        """Bring the load to both buckets; `chosen` is what `dags/load.py` reads."""
        folder = self.home.root / "dags"
        shutil.copytree(DAGS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        chosen |= {
            "ledger": str(self.ledger),
            "parameter": self.outputs["active_environment_parameter"],
            "periods": {load.dag: load.period for load in LOADS},
        }
        (folder / "load.json").write_text(json.dumps(chosen))
        self.push_folder(folder)

    def push_folder(self, folder: Path) -> None:
        """Bring a DAGs folder to both buckets."""
        done = self.mwaactl("dags", "push", "--no-check", str(folder))
        if done.code != 0:
            raise RuntimeError(f"mwaactl dags push failed: {done.out}{done.err}")

    def restart(self, *colours: str) -> None:
        """Let every Airflow process (of these sides) load what was pushed, as after an environment update."""
        environments = [self.names[colour] for colour in colours or self.names]
        names = [f"airflow-{name}-{part}" for name in environments for part in PROCESSES]
        before = {name: record.pid for name in names if (record := processes.find(self.home, name))}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)

        def all_again() -> bool:
            found = [processes.find(self.home, name) for name in names]
            return all(record is not None and record.pid != before.get(record.name) for record in found)

        wait_for(all_again, "all Airflow processes run again", 60)

    def without_gate(self) -> None:
        """Update both environments to a plugins.zip with nothing in it; returns when they work with it."""
        self.update_plugins({colour: lambda _: {} for colour in self.names})

    def update_plugins(self, changes: Mapping[str, Callable[[dict[str, bytes]], dict[str, bytes]]]) -> None:
        """Update environments to a plugins.zip whose files (content by path) are changed; by colour."""
        for colour, change in changes.items():
            environment = self._mwaa.get_environment(Name=self.names[colour])["Environment"]
            path = environment["PluginsS3Path"]
            bucket = environment["SourceBucketArn"].rpartition(":")[2]
            content, changed = self._s3.get_object(Bucket=bucket, Key=path)["Body"].read(), io.BytesIO()
            with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
                for name, body in change({name: old.read(name) for name in old.namelist()}).items():
                    new.writestr(name, body)
            put = self._s3.put_object(Bucket=bucket, Key=path, Body=changed.getvalue())
            self._mwaa.update_environment(
                Name=self.names[colour], PluginsS3Path=path, PluginsS3ObjectVersion=put["VersionId"]
            )

        def updated() -> bool:
            found = [self._mwaa.get_environment(Name=self.names[colour])["Environment"] for colour in changes]
            return all(environment["Status"] == "AVAILABLE" for environment in found)

        wait_for(updated, "the environments work with their new plugins", 300)

    def write(self, value: str) -> int:
        """Put a value into the ownership parameter, past `mwaactl`; its version."""
        put = self._ssm.put_parameter(Name=self.parameter, Value=value, Type="String", Overwrite=True)
        return put["Version"]

    def activate(self, colour: str) -> None:
        """The common pattern's switch: a put of the parameter that the DAGs ask."""
        name = self.outputs["active_environment_parameter"]
        self._ssm.put_parameter(Name=name, Value=colour, Type="String", Overwrite=True)

    def versions(self) -> list[Version]:
        """The newest 100 versions of the ownership parameter."""
        pages = self._ssm.get_paginator("get_parameter_history").paginate(Name=self.parameter)
        return [
            Version(p["Version"], p["Value"], p["LastModifiedDate"], p.get("Description", ""))
            for page in pages
            for p in page["Parameters"]
        ]

    def content(self, name: str) -> str:
        """The content of an object that a value of the parameter points to."""
        bucket = self.outputs["lineage_log_bucket"]
        answer = self._s3.get_object(Bucket=bucket, Key=f"ownership/{name}.json")
        return str(answer["Body"].read().decode())

    # What Airflow says

    def api(self, colour: str, path: str, method: Method = "GET", body: Any = None, **query: Any) -> Any:
        """A call of an environment's REST API; None for a 404."""
        content = {} if body is None else {"Body": body}
        try:
            answer = self._mwaa.invoke_rest_api(
                Name=self.names[colour], Path=path, Method=method, QueryParameters=query, **content
            )
        except ClientError as error:
            if error.response.get("RestApiStatusCode") == 404:
                return None
            raise
        return answer.get("RestApiResponse")

    def pages(self, colour: str, path: str, member: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All of a list."""
        offset = 0
        while found := (self.api(colour, path, limit=100, offset=offset, **query) or {}).get(member):
            yield from found
            offset += len(found)

    def logs(self, colour: str, dag: str, run: str) -> list[Path]:
        """The files of a run's task logs."""
        logs = self.airflow_home(colour) / "logs" / f"dag_id={dag}" / f"run_id={run}"
        return sorted(logs.rglob("*.log"))

    def airflow_home(self, colour: str) -> Path:
        return self.home.state / "mwaa" / self.names[colour] / "airflow"

    def component_log(self, colour: str, component: str) -> Path:
        return self.home.logs / f"airflow-{self.names[colour]}-{component}.log"

    # What goes wrong

    def kill_scheduler(self, colour: str) -> bool:
        """SIGKILL; the local MWAA starts it again after some seconds, as MWAA does. Whether it was there."""
        name = f"airflow-{self.names[colour]}-scheduler"
        record = processes.find(self.home, name)
        if record is not None:
            os.kill(record.pid, signal.SIGKILL)
        return record is not None

    def kill(self, pid: int, *, supervisor: bool) -> bool:
        """SIGKILL a task's process, or its worker, which supervises it. Whether it was still there."""
        try:
            process = psutil.Process(pid)
            if not self._is_ours(process):
                return False
            victim = process.parent() if supervisor else process
            if victim is None or victim.pid == 1:
                return False
            victim.kill()
        except psutil.Error:
            return False
        return True

    def freeze(self) -> None:
        """The emulated AWS takes connections, but does not answer."""
        self._emulator().suspend()

    def thaw(self) -> None:
        self._emulator().resume()

    def _emulator(self) -> psutil.Process:
        record = processes.find(self.home, ministack.NAME)
        process = record.process() if record is not None else None
        assert process is not None, "the emulated AWS has ended"
        return process


def wait_for(condition: Any, what: str, seconds: float) -> None:
    """Poll until `condition()`. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(1)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
