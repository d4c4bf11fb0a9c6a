"""One environment of the local MWAA with the zoo in it, driven through Amazon's APIs."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from bluegreen.document import latest_valid
from bluegreen.proof import PROBE_FILE
from bluegreen.timeline import Colour, Reading, Timeline
from botocore.config import Config
from botocore.exceptions import ClientError

from components.airflow.configuration import SECRETS_BACKEND
from components.airflow.plugins import plugins_zip
from components.airflow.probe import dag_file
from components.config.airflow_versions import major
from components.config.content import OPENLINEAGE
from components.lineage_log import EVENTS
from local.airflow.config import EXECUTOR_TAG, IMAGE_TAG
from local.airflow.process import stop_airflows
from local.aws import callers, ministack
from local.home import REGION, Home
from local.processes import LOOPBACK, answers, clean_environ, free_port, start, stop, wait_until
from local.pulumi import cli as pulumi_cli
from mwaactl.airflow.client import AirflowApi
from mwaactl.checks.probe import SideProof, proof_of, read_probe
from mwaactl.checks.ungated import UngatedExecution, read_ungated
from tests.fakes.timeline import LIVES, dumped, initial

FOLDER = Path(__file__).parent
LEAD = timedelta(seconds=2)
WAIT = timedelta(seconds=3)
PROBE_MINUTES = 1
LATE = "zoo_late.py"  # comes later than the others
Json = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """An environment to try: Airflow's version, MWAA's way of loading policies (new or old), the executor."""

    version: str
    image: str
    executor: str

    def __str__(self) -> str:
        return f"{self.version}-{self.image}-{self.executor}"


ZOO_ROLE, BENCHMARK_ROLE = "zoo", "gate"


def _policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class ZooCloud:
    """The emulated AWS and the local MWAA in a home of their own."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def start(self) -> None:
        ministack.start(self.home)
        port = free_port()
        process = start(
            self.home,
            "mwaa",
            [sys.executable, "-m", "local", "mwaa", "--port", str(port)],
            env=clean_environ(**ministack.environ(self.home), MWAA_LOCAL_HOME=str(self.home.root)),
            port=port,
        )
        url = f"http://{LOOPBACK}:{port}/environments"
        wait_until(lambda: answers(url), "local MWAA", seconds=60, process=process)
        for role in (ZOO_ROLE, BENCHMARK_ROLE):
            self._create_role(role)

    def _create_role(self, name: str) -> None:
        """A role that may do everything: what the program's may do, the other tests show."""
        iam = self.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": "airflow.amazonaws.com"}}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(Action="sts:AssumeRole", **trust))
        everything = _policy(Effect="Allow", Action="*", Resource="*")
        iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=everything)

    def stop(self) -> None:
        stop(self.home, "mwaa", descendants=False)
        stop_airflows(self.home)
        ministack.stop(self.home)

    def client(self, service: Any) -> Any:
        env = pulumi_cli.environ(self.home)
        return boto3.client(
            service,
            endpoint_url=env["AWS_ENDPOINT_URL_MWAA" if service == "mwaa" else "AWS_ENDPOINT_URL"],
            region_name=REGION,
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            config=Config(inject_host_prefix=False),  # botocore puts `env.` before MWAA's host
        )


class Zoo:
    """The environment `blue` of a pair whose other one, green, owns all work at first."""

    files = FOLDER  # with `dags`, and `plugins` that are added to plugins.zip
    owner: Colour = "green"
    probed = True  # whether the probe is among the DAGs

    def __init__(self, cloud: ZooCloud, kind: Kind, name: str = "") -> None:
        self.kind = kind
        self.major = major(kind.version)
        self.name = f"zoo-{name or kind}".lower().replace(".", "-")
        self.parameter = f"/zoo/{self.name}/ownership"
        self.ledger_file = cloud.home.root / f"{self.name}-ledger" / "ledger.jsonl"
        self.ledger_file.parent.mkdir(parents=True)
        self._s3, self._ssm, self._mwaa = (cloud.client(name) for name in ("s3", "ssm", "mwaa"))
        self._bucket, self._log = f"{self.name}-bucket", f"{self.name}-log"

    def create(self) -> None:
        """Make the environment and return when it is AVAILABLE."""
        for bucket in (self._bucket, self._log):
            self._s3.create_bucket(Bucket=bucket)
        versioning = {"Status": "Enabled"}
        self._s3.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration=versioning)
        self._put("requirements.txt", "\n".join(OPENLINEAGE).encode())
        self._put("plugins.zip", _with_customers_files(self.plugins(), self.files / "plugins"))
        if self.probed:
            self._put(f"dags/{PROBE_FILE}", dag_file(PROBE_MINUTES).encode())
        for path in self.dag_files():
            if path.name != LATE:
                self._put(f"dags/{path.name}", path.read_bytes())
        self.own(self.owner)
        self._mwaa.create_environment(
            Name=self.name,
            AirflowVersion=self.kind.version,
            EnvironmentClass="mw1.micro",
            ExecutionRoleArn=callers.role_arn(ZOO_ROLE),
            SourceBucketArn=f"arn:aws:s3:::{self._bucket}",
            DagS3Path="dags/",
            PluginsS3Path="plugins.zip",
            RequirementsS3Path="requirements.txt",
            NetworkConfiguration={"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
            AirflowConfigurationOptions=self._options(),
            Tags={IMAGE_TAG: self.kind.image, EXECUTOR_TAG: self.kind.executor},
        )
        self.wait_for(lambda: self._status() != "CREATING", "the environment is made", seconds=420)
        assert self._status() == "AVAILABLE"

    def dag_files(self) -> list[Path]:
        return list((self.files / "dags").glob("*.py"))

    def plugins(self) -> bytes:
        """plugins.zip as the program makes it."""
        return plugins_zip()

    def delete(self) -> None:
        self._mwaa.delete_environment(Name=self.name)

        def gone() -> bool:
            return self.name not in self._mwaa.list_environments()["Environments"]

        self.wait_for(gone, "the environment is gone", seconds=60)

    def add_dag_file(self, name: str) -> None:
        self._put(f"dags/{name}", (self.files / "dags" / name).read_bytes())

    # The ownership parameter

    def own(self, owner: Colour) -> None:
        """The parameter's first version: `owner` has always owned everything."""
        value = dumped(initial(owner))
        put = self._ssm.put_parameter(Name=self.parameter, Value=value, Type="String")
        assert put["Version"] == 1

    def switch(self, target: Colour) -> datetime:
        """Let `target` own what is due from now plus the lead on; the instant from which it does."""
        version = self.reading().version + 1
        timeline = self.timeline().switched(target, datetime.now(UTC) + LEAD, version)
        self._ssm.put_parameter(Name=self.parameter, Value=dumped(timeline), Type="String", Overwrite=True)
        return self.timeline().owners[-1].since

    def forget_owners(self) -> None:
        self._ssm.delete_parameter(Name=self.parameter)

    def reading(self) -> Reading:
        found = self._ssm.get_parameter(Name=self.parameter)["Parameter"]
        return latest_valid([(found["Value"], found["Version"], found["LastModifiedDate"])])

    def timeline(self) -> Timeline:
        """The timeline that every reader has now."""
        return self.reading().effective().seen_with(LIVES)

    def owned(self, run: Json) -> bool:
        """Whether a scheduled run belongs to this environment."""
        due, dag_id = datetime.fromisoformat(run["due"]), run["dag_id"]
        return self.timeline().owner(due, dag_id) == "blue"

    # Airflow's REST API

    def api(self, method: str, path: str, body: Json | None = None, **query: Any) -> Any:
        content = {} if body is None else {"Body": body}
        answer = self._mwaa.invoke_rest_api(
            Name=self.name, Method=method, Path=path, QueryParameters=query, **content
        )
        return answer.get("RestApiResponse")

    def runs(self, dag_id: str = "~", kind: str | None = None) -> list[Json]:
        """Runs with `due`, their due instant; `kind` as in Airflow's run_type."""
        found = self.api("GET", f"/dags/{dag_id}/dagRuns", limit=1000)["dag_runs"]
        return [
            {**run, "due": run.get("run_after") or run["data_interval_end"]}
            for run in found
            if kind in (None, run["run_type"])
        ]

    def task_instances(self) -> list[Json]:
        found = self.api("GET", "/dags/~/dagRuns/~/taskInstances", limit=1000)
        assert found["total_entries"] <= 1000
        instances: list[Json] = found["task_instances"]
        return instances

    def rendered(self, dag_id: str) -> list[Json]:
        """A DAG's task instances with rendered fields, which Airflow 3.0 has in the listing by POST only."""
        found = self.api("POST", "/dags/~/dagRuns/~/taskInstances/list", {"dag_ids": [dag_id]})
        instances: list[Json] = found["task_instances"]
        return instances

    def log(self, instance: Json, attempt: int | None = None) -> str:
        """What one try (by default the last) of a task instance logged."""
        run, task = instance["dag_run_id"], instance["task_id"]
        path = f"/dags/{instance['dag_id']}/dagRuns/{run}/taskInstances/{task}/logs"
        path += f"/{attempt or instance['try_number']}"
        return json.dumps(self.api("GET", path, map_index=instance["map_index"], full_content=True))

    def proof(self) -> SideProof:
        """What the probe shows of the gate, as `mwaactl` sees it."""
        runs = read_probe(AirflowApi(self._mwaa, self.name, self.major))
        period = timedelta(minutes=PROBE_MINUTES)
        return proof_of("blue", runs, self.timeline(), datetime.now(UTC), period)

    def ungated(self, since: datetime) -> tuple[UngatedExecution, ...]:
        """The executions that no layer of the gate judged, as `mwaactl` sees them."""
        return read_ungated(self._s3, self._log, since)

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.api("GET", "/dags", limit=1000)["dags"]}

    def pause_all_but(self, dag_id: str) -> None:
        for other in self.dag_ids() - {dag_id}:
            self.pause(other)

    def pause(self, dag_id: str, paused: bool = True) -> None:
        self.api("PATCH", f"/dags/{dag_id}", {"is_paused": paused}, update_mask=["is_paused"])

    def trigger(self, dag_id: str) -> str:
        """A manual run; its id."""
        body = {"logical_date": None} if self.major > 2 else {}
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def clear(self, run: Json) -> None:
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/clear"
        self.api("POST", path, {"dry_run": False} | ({"only_failed": False} if self.major > 2 else {}))

    def clear_task(self, run: Json, task_id: str) -> None:
        body = {"dag_run_id": run["dag_run_id"], "task_ids": [task_id], "only_failed": False}
        body |= {"dry_run": False, "reset_dag_runs": True}
        self.api("POST", f"/dags/{run['dag_id']}/clearTaskInstances", body)

    def run(self, dag_id: str, run_id: str) -> Json:
        return next(run for run in self.runs(dag_id) if run["dag_run_id"] == run_id)

    # The queue that `zoo_messages` watches (Airflow 3): a folder of files

    def send(self, message: str) -> None:
        self.queue.mkdir(exist_ok=True)
        (self.queue / message).touch()

    @property
    def queue(self) -> Path:
        return self.ledger_file.with_name("queue")

    # What was done

    def ledger(self) -> list[Json]:
        if not self.ledger_file.exists():
            return []
        return [json.loads(line) for line in self.ledger_file.read_text().splitlines()]

    def lineage(self) -> list[Json]:
        """The events in the lineage log."""
        keys = [
            item["Key"]
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._log, Prefix=EVENTS)
            for item in page.get("Contents", ())
        ]
        bodies = (self._s3.get_object(Bucket=self._log, Key=key)["Body"].read() for key in keys)
        return [json.loads(gzip.decompress(body)) for body in bodies]

    def wait_for(self, condition: Callable[[], Any], what: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except ClientError as error:  # Airflow's web server may be slow to answer while much is going on
                what = f"{what} ({error})" if time.monotonic() > deadline else what
            assert time.monotonic() < deadline, f"{self.kind}: not within {seconds:.0f} s: {what}"
            time.sleep(1)

    def _status(self) -> str:
        return str(self._mwaa.get_environment(Name=self.name)["Environment"]["Status"])

    def _put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=content)

    def _options(self) -> dict[str, str]:
        transport = {"type": "bluegreen.transport.LineageLogTransport", "bucket": self._log}
        secrets = {
            "connections_prefix": f"{self.name}/connections",
            "variables_prefix": f"{self.name}/variables",
        }
        return {
            "bluegreen.environment": "blue",
            "bluegreen.parameter": self.parameter,
            "bluegreen.life": LIVES["blue"],
            "bluegreen.bucket": self._log,
            "bluegreen.max_age_seconds": "60",
            "bluegreen.wait_seconds": f"{WAIT.total_seconds():g}",
            "bluegreen.hosts": "2",
            "openlineage.namespace": "zoo-blue",
            "openlineage.transport": json.dumps(transport),
            "secrets.backend": SECRETS_BACKEND,
            "secrets.backend_kwargs": json.dumps(secrets),
            "scheduler.create_cron_data_intervals": "True",
            "scheduler.catchup_by_default": "False",
            "api.maximum_page_limit": "1000",
            # Airflow 3.0 takes DAGs for gone when their file's callbacks leave no time to parse it again
            "dag_processor.stale_dag_threshold": "3600",
            "zoo.ledger": str(self.ledger_file),
            "zoo.created": datetime.now(UTC).isoformat(timespec="seconds"),
        }


class RouteZoo(Zoo):
    """One with other DAGs, whose gate has one route only, or "all"."""

    files = FOLDER / "routes"

    def __init__(self, cloud: ZooCloud, kind: Kind, route: str) -> None:
        self.route = route
        super().__init__(cloud, kind, name=f"{kind}-{route.replace('_', '-')}")

    def dag_files(self) -> list[Path]:
        return [*super().dag_files(), *(FOLDER / "dags" / name for name in ("zoo_ledger.py", "zoo_parts.py"))]

    def plugins(self) -> bytes:
        if self.route == "all":
            return super().plugins()
        content = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(super().plugins())) as ours, zipfile.ZipFile(content, "w") as left:
            for name in ours.namelist():
                text = ours.read(name)
                if name == "bluegreen_policy.py":
                    left_over = f'ROUTES = ("{self.route}",)'.encode()
                    text, changed = re.subn(rb"(?m)^ROUTES = .*$", left_over, text)
                    assert changed == 1
                left.writestr(name, text)
        return content.getvalue()


def of_run(lines: Iterable[Json], run: Json) -> list[Json]:
    """The ledger's lines of one run."""
    return [
        line for line in lines if (line.get("dag"), line.get("run")) == (run["dag_id"], run["dag_run_id"])
    ]


def _with_customers_files(archive: bytes, folder: Path) -> bytes:
    """plugins.zip with what a customer adds to it: for the zoo, its trigger and cluster policies."""
    content = io.BytesIO(archive)
    with zipfile.ZipFile(content, "a") as file:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, path.relative_to(folder).as_posix())
    return content.getvalue()
