"""What the gate and its probe add to each task in a real Airflow, on the active side and on the standby.

    python -m benchmarks.gate [--version 3.3.1] [--runs 4] [--tasks 50] [--json]

One environment of the local MWAA runs two DAGs of the same short tasks: it owns one, and the other
environment owns the other. A copy of the ownership timeline is used for two seconds only, so that many tasks
have to ask SSM (an emulator on this machine: no network latency, no TLS). A second one does the same beside
a probe that is due each minute, not every five. In the end, what the emulator's judgement of a call takes.
Needs an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bluegreen.proof import PROBE_FILE
from bluegreen.timeline import EPOCH, Entry, Timeline
from rich.console import Console
from rich.table import Table

from components.airflow.plugins import plugins_zip
from components.airflow.probe import dag_file
from components.config.airflow_versions import AIRFLOW_VERSIONS
from components.config.content import OPENLINEAGE
from local.aws.callers import as_role, role_arn
from local.home import Home
from tests.e2e.zoo.environment import BENCHMARK_ROLE, Kind, Zoo, ZooCloud
from tests.fakes.timeline import LIVES, dumped

DAGS = Path(__file__).parent / "gate_dags"
GATE_LOG = re.compile(r"blue/green gate: [^;]*; ([\d.]+) ms, (read from SSM|from the cache)")
MAX_AGE = "2"


@dataclass(frozen=True)
class Row:
    """Milliseconds of one measurement, over `count` samples."""

    what: str
    count: int
    median: float
    p99: float

    @classmethod
    def of(cls, what: str, times: Iterable[float]) -> Row:
        """Raises SystemExit if there are no samples."""
        values = sorted(times)
        if not values:
            raise SystemExit(f"no samples: {what}")
        return cls(what, len(values), statistics.median(values), values[math.ceil(0.99 * len(values)) - 1])


class Environment(Zoo):
    """Blue, which owns everything except the DAG `standby`."""

    def __init__(self, cloud: ZooCloud, version: str, runs: int, tasks: int, probed: bool = False) -> None:
        super().__init__(cloud, Kind(version, "new", "LocalExecutor"), "probed" if probed else "")
        self.probed = probed
        self.runs_wanted, self.tasks_wanted = runs, tasks
        self.folder = cloud.home.root / "state" / "mwaa" / self.name
        self.hook_file = self.ledger_file.with_name("hook")
        self.start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=runs + 2)

    def create(self) -> None:
        self.create_with(
            DAGS,
            {
                "bluegreen.max_age_seconds": MAX_AGE,
                "benchmark.file": str(self.hook_file),
                "benchmark.runs": str(self.runs_wanted),
            },
            {"active", "standby"},
        )

    def create_with(self, dags: Path, options: dict[str, str], dag_ids: set[str]) -> None:
        """Create the environment; return when Airflow knows its DAGs, those of the folder `dags`."""
        for bucket in (self._bucket, self._log):
            self._s3.create_bucket(Bucket=bucket)
        self._s3.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration={"Status": "Enabled"})
        self._put("requirements.txt", "\n".join(OPENLINEAGE).encode())
        self._put("plugins.zip", plugins_zip())
        if self.probed:
            self._put(f"dags/{PROBE_FILE}", dag_file(1).encode())
        for path in dags.glob("*.py"):
            self._put(f"dags/{path.name}", path.read_bytes())
        theirs = {"standby": (Entry("green", LIVES["green"], EPOCH, 1),)}
        value = dumped(Timeline(0, (Entry("blue", LIVES["blue"], EPOCH, 1),), theirs))
        self._ssm.put_parameter(Name=self.parameter, Value=value, Type="String")
        self._mwaa.create_environment(
            Name=self.name,
            AirflowVersion=self.kind.version,
            EnvironmentClass="mw1.micro",
            ExecutionRoleArn=role_arn(BENCHMARK_ROLE),
            SourceBucketArn=f"arn:aws:s3:::{self._bucket}",
            DagS3Path="dags/",
            PluginsS3Path="plugins.zip",
            RequirementsS3Path="requirements.txt",
            NetworkConfiguration={"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
            AirflowConfigurationOptions=self._options()
            | {"benchmark.start": self.start.isoformat(), "benchmark.tasks": str(self.tasks_wanted)}
            | options,
        )
        self.wait_for(lambda: self._status() != "CREATING", "the environment is created", seconds=600)
        self.wait_for(lambda: self.dag_ids() >= dag_ids, "Airflow knows the DAGs", seconds=120)

    def work_through(self, dag_id: str) -> list[dict[str, Any]]:
        """Let a DAG finish all its runs; return its task instances. Raises AssertionError on a timeout."""
        self.api("PATCH", f"/dags/{dag_id}", {"is_paused": False}, update_mask=["is_paused"])
        wanted = self.runs_wanted * self.tasks_wanted

        def done() -> bool:
            runs = [run for run in self.runs(dag_id) if run["state"] in ("success", "failed")]
            return len(runs) == self.runs_wanted

        self.wait_for(done, f"all runs of {dag_id} are finished", seconds=120 + 4 * wanted)
        instances = [
            instance
            for run in self.runs(dag_id)
            for instance in self.api(
                "GET", f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances", limit=1000
            )["task_instances"]
        ]
        expected = "skipped" if dag_id == "standby" else "success"
        if {instance["state"] for instance in instances} != {expected}:
            raise SystemExit(f"not all tasks of {dag_id} ended as {expected}")
        return instances

    def gate_times(self) -> dict[str, list[float]]:
        """The milliseconds that the gate logged for each task, by "read from SSM" and "from the cache"."""
        took: dict[str, list[float]] = {"read from SSM": [], "from the cache": []}
        for log in (self.folder / "airflow" / "logs").glob("dag_id=active/**/*.log"):
            for milliseconds, how in GATE_LOG.findall(log.read_text()):
                took[how].append(float(milliseconds))
        return took


def measure(environment: Environment) -> list[Row]:
    """Run both DAGs, one after the other, and compute the rows."""
    environment.create()
    instances = environment.work_through("active")
    took = environment.gate_times()
    environment.work_through("standby")
    hook = [line.split() for line in environment.hook_file.read_text().splitlines()]
    per_run: dict[str, float] = {}
    for run_id, milliseconds in hook:
        per_run[run_id] = per_run.get(run_id, 0.0) + float(milliseconds)
    return [
        Row.of("active: the gate, copy of this host", took["from the cache"]),
        Row.of("active: the gate, asking SSM", took["read from SSM"]),
        Row.of("active: the gate, all", (*took["from the cache"], *took["read from SSM"])),
        Row.of("active: a task, start to end", (_between(i, "start_date") for i in instances)),
        Row.of("active: a task, queued to end", (_between(i, "queued_when") for i in instances)),
        Row.of("standby: the gate in the scheduler, per task", (float(took) for _, took in hook)),
        Row.of("standby: the gate in the scheduler, per run", per_run.values()),
    ]


def door_rows(cloud: ZooCloud, count: int = 300) -> list[Row]:
    """A read of the parameter by the deployer, whom the emulated AWS does not judge, and by a role."""
    name = "/benchmark/door"
    clients = {
        "GetParameter, not judged": cloud.client("ssm"),
        "GetParameter, judged": as_role(cloud.home, "ssm", role_arn(BENCHMARK_ROLE)),
    }
    cloud.client("ssm").put_parameter(Name=name, Value="x" * 200, Type="String")
    took: dict[str, list[float]] = {what: [] for what in clients}
    for _ in range(count):
        for what, client in clients.items():
            begin = time.perf_counter()
            client.get_parameter(Name=name)
            took[what].append((time.perf_counter() - begin) * 1000)
            time.sleep(1 / 30)  # the quota is 40 a second
    return [Row.of(what, times) for what, times in took.items()]


@contextmanager
def clouded() -> Iterator[ZooCloud]:
    """Run an emulated AWS and a local MWAA in a home of their own."""
    os.environ["MWAA_LOCAL_TOOLS"] = str(Home.find().tools)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        os.environ["MWAA_LOCAL_HOME"] = folder
        cloud = ZooCloud(Home(Path(folder)))
        try:
            cloud.start()
            yield cloud
        finally:
            cloud.stop()


def _between(instance: dict[str, Any], since: str) -> float:
    begin, end = (datetime.fromisoformat(instance[name]) for name in (since, "end_date"))
    return (end - begin).total_seconds() * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", default=max(AIRFLOW_VERSIONS), help="Airflow version")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=50, help="per run")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    chosen = parser.parse_args()
    before = os.getloadavg()[0]
    with clouded() as cloud:
        rows = []
        for probed, prefix in ((False, ""), (True, "probe, ")):
            environment = Environment(cloud, chosen.version, chosen.runs, chosen.tasks, probed)
            rows += [replace(row, what=prefix + row.what) for row in measure(environment)]
            environment.delete()
        rows += door_rows(cloud)
        load = os.getloadavg()[0]
    title = (
        f"Airflow {chosen.version}, {chosen.runs} runs of {chosen.tasks} tasks, {os.cpu_count()} cores, "
        f"load {before:.1f} before, {load:.1f} while measuring"
    )
    if chosen.json:
        json.dump({"title": title, "rows": [asdict(row) for row in rows]}, sys.stdout, indent=2)
        return
    table = Table("milliseconds", "count", "median", "p99", title=title)
    for row in rows:
        table.add_row(row.what, str(row.count), f"{row.median:.2f}", f"{row.p99:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
