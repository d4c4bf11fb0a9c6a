"""One local cloud for the whole session, in a home of its own, driven by the commands that a person types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.home import Home
from tests.e2e.life.story import Story, told
from tests.e2e.zoo.environment import ZooCloud

CHECKOUT = Path(__file__).resolve().parents[2]
STACK = "fullha"


class FullHaCloud:
    """`make local` of full HA and the shell it prints."""

    def __init__(self, home: Path) -> None:
        tools = Path(os.environ.get("MWAA_LOCAL_TOOLS") or CHECKOUT / ".local" / "tools")
        own = {"MWAA_LOCAL_HOME": str(home), "MWAA_LOCAL_TOOLS": str(tools)}
        self._env = {**os.environ, **own, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.home = home
        self.git_status_before = self.git_status()
        self.up_output = ""

    def up(self, *options: str) -> None:
        done = self.run("python", "-m", "local", "up", "--mode", STACK, *options, timeout=1500)
        self.up_output = done.stdout
        assert done.returncode == 0, done.stdout + done.stderr
        show = 'python -c "import json, os; print(json.dumps(dict(os.environ)))"'
        as_typed = f'eval "$(python -m local env)" && {show}'
        shell = self.run("bash", "-ec", as_typed)
        assert shell.returncode == 0, shell.stderr
        self._env = json.loads(shell.stdout)

    def run(self, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=CHECKOUT, env=self._env, capture_output=True, text=True, timeout=timeout, check=False
        )

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("pulumi", *arguments, "-s", STACK, "--non-interactive")

    def git_status(self) -> str:
        """What has changed of the files that the Pulumi CLI writes to."""
        return self.run("git", "status", "--porcelain", "--", "Pulumi*").stdout

    def api(self, colour: str, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        """A GET, or a POST of `body`, on an environment's Airflow REST API through Amazon's InvokeRestApi."""
        import boto3
        from botocore.config import Config

        session = boto3.Session(
            self._env["AWS_ACCESS_KEY_ID"],
            self._env["AWS_SECRET_ACCESS_KEY"],
            region_name=self._env["AWS_REGION"],
        )
        client = session.client(
            "mwaa",
            endpoint_url=self._env["AWS_ENDPOINT_URL_MWAA"],
            config=Config(inject_host_prefix=False),  # botocore puts `env.` before MWAA's host
        )
        content: dict[str, Any] = {"Method": "GET"} if body is None else {"Method": "POST", "Body": body}
        answer = client.invoke_rest_api(
            Name=f"mwaa-openlineage-{STACK}-{colour}", Path=path, QueryParameters=query, **content
        )
        return answer["RestApiResponse"]

    def task_states(self, colour: str, dag: str) -> dict[datetime, set[str]]:
        """Of each scheduled run, by its due instant: the states that its tasks have."""
        runs = self.api(colour, f"/dags/{dag}/dagRuns", run_type="scheduled", limit="100")["dag_runs"]
        # All runs' tasks in one call: InvokeRestApi takes paths of 64 characters, too few for a run id.
        tasks = self.api(colour, f"/dags/{dag}/dagRuns/~/taskInstances", limit="1000")["task_instances"]
        return {
            datetime.fromisoformat(run["run_after"]): {
                str(task["state"]) for task in tasks if task["dag_run_id"] == run["dag_run_id"]
            }
            for run in runs
        }

    def events(self) -> list[dict[str, Any]]:
        """What the receiver has kept."""
        kept = (self.home / "state" / "receiver").rglob("*.jsonl")
        return [json.loads(line) for path in kept for line in path.read_text().splitlines()]

    def wait_for(self, condition: Callable[[], bool], what: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(2)

    def process_names(self) -> list[str]:
        return [path.stem for path in (self.home / "run").glob("*.json")]

    def leftovers(self) -> list[str]:
        """Command lines of processes that still know this home."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            try:
                if process.pid != os.getpid() and process.environ().get("MWAA_LOCAL_HOME") == str(self.home):
                    found.append(" ".join(process.info["cmdline"] or []))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullHaCloud]:
    cloud = FullHaCloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.up()
        yield cloud
    finally:
        cloud.run("python", "-m", "local", "down")


@pytest.fixture(scope="module")
def zoo_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooCloud]:
    """The emulated AWS and the local MWAA, without the program."""
    tools = os.environ.get("MWAA_LOCAL_TOOLS") or str(CHECKOUT / ".local" / "tools")
    home = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_TOOLS", tools)
        patch.setenv("MWAA_LOCAL_HOME", str(home))
        cloud = ZooCloud(Home(Path(home)))
        try:
            cloud.start()
            yield cloud
        finally:
            cloud.stop()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Two Airflows of their own for a module, with a ledger."""
    with told(tmp_path_factory.mktemp("life")) as story:
        yield story
