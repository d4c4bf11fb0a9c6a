"""The back end that receives the local Airflows' lineage, and the forwarder that delivers to it.

With Docker, the back end is Marquez. Marquez is in no package registry, so without a container engine
`local.marquez.receiver` takes its place: it checks each event against the OpenLineage schema and keeps it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass

from local.home import Home
from local.processes import LOOPBACK, LocalError, Started, answers, ensure, find, kept_port, start, wait_until
from local.processes import stop as stop_processes

MARQUEZ = "marquezproject/marquez:0.51.1"
MARQUEZ_WEB = "marquezproject/marquez-web:0.51.1"
POSTGRES = "postgres:15"
METRICS = "MwaaOpenLineage"  # the namespace that the nodes report to
PROCESSES = ("intake", "forwarder", "receiver")
CONTAINERS = ("web", "api", "db")


@dataclass(frozen=True)
class BackEnd:
    kind: str  # "Marquez" or "receiver (stands in for Marquez)"
    api: str  # base URL for POST /api/v1/lineage
    page: str  # URL for the user's browser


def keep_address(home: Home, stack: str, back_end: BackEnd | None) -> None:
    """For `make -s local-env`."""
    kept = home.dir("state", "lineage") / stack
    if back_end is None:
        kept.unlink(missing_ok=True)
    else:
        kept.write_text(back_end.api)


def addresses(home: Home) -> dict[str, str]:
    """The variable that tells `mwaactl` where each stack's back end is; empty if there is none."""
    kept = {path.name: path.read_text() for path in home.dir("state", "lineage").iterdir()}
    return {"MWAACTL_LINEAGE_URLS": json.dumps(kept)} if kept else {}


def docker_runs() -> bool:
    """Whether a container engine answers; the client alone is not enough."""
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def start_back_end(home: Home, stack: str, env: dict[str, str]) -> BackEnd:
    """Start the back end for the events of `stack`, unless it is running. Raises LocalError."""
    if docker_runs():
        return _start_marquez(stack)
    name = f"receiver-{stack}"
    store = home.dir("state", "receiver", stack)
    # The port is kept: a running forwarder continues to post there after a restart of the receiver.
    port = kept_port(store / "port", must_be_free=find(home, name) is None)
    command = [sys.executable, "-m", "local.marquez.receiver", "--port", str(port), "--store", str(store)]
    process = start(home, name, command, env=env, port=port)
    url = f"http://{LOOPBACK}:{port}"
    wait_until(lambda: answers(f"{url}/api/v1/namespaces"), "lineage receiver", seconds=30, process=process)
    return BackEnd("receiver (stands in for Marquez: no container engine runs here)", url, url)


def start_forwarder(home: Home, stack: str, bucket: str, back_end: BackEnd, env: dict[str, str]) -> Started:
    """Start the same forwarder that the Marquez nodes run, reading the emulated bucket as their role.

    One that reads another bucket, posts elsewhere or has another role is ended first.
    """
    command = [sys.executable, "-m", "forwarder", "--bucket", bucket, "--to", back_end.api, "--poll", "1"]
    command += ["--metrics", METRICS]
    return ensure(home, f"forwarder-{stack}", command, env=env)


def start_intake(home: Home, stack: str, bucket: str, env: dict[str, str]) -> str:
    """Start the intake of the Marquez nodes, as their role; return its URL. Raises LocalError.

    One that writes to another bucket or has another role is ended first.
    """
    name = f"intake-{stack}"
    port = kept_port(home.state / f"{name}.port", must_be_free=find(home, name) is None)
    command = [sys.executable, "-m", "intake", "--bucket", bucket, "--port", str(port)]
    process = ensure(home, name, command, env=env, port=port)
    url = f"http://{LOOPBACK}:{port}"
    wait_until(lambda: answers(f"{url}/healthcheck"), "lineage intake", seconds=30, process=process)
    return url


def stop_intake(home: Home, stack: str) -> None:
    stop_processes(home, f"intake-{stack}")


def stop(home: Home, stack: str | None = None) -> None:
    """Stop the forwarder, intake, receiver and containers of a stack; without one, those of all stacks."""
    names = [path.stem for kind in PROCESSES for path in home.run.glob(f"{kind}-{stack or '*'}.json")]
    stop_processes(home, *names)
    if not docker_runs():
        return
    which = ["--filter", "label=mwaa-openlineage.local"]
    if stack is not None:
        which += ["--filter", f"name={_prefix(stack)}-"]
    containers = _docker("ps", "--all", "--quiet", *which).split()
    if containers:
        _docker("rm", "--force", *containers)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise LocalError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _prefix(stack: str) -> str:
    return f"mwaa-openlineage-{stack}"


def _start_marquez(stack: str) -> BackEnd:
    prefix = _prefix(stack)
    published = _published(f"{prefix}-web"), _published(f"{prefix}-api")
    if None in published:
        for container in CONTAINERS:
            subprocess.run(["docker", "rm", "--force", f"{prefix}-{container}"], capture_output=True)
        subprocess.run(["docker", "network", "create", prefix], capture_output=True)  # fails if it exists
        for arguments in _run_arguments(prefix):
            _docker("run", *arguments)
        published = _published(f"{prefix}-web"), _published(f"{prefix}-api")
    web, api = (f"http://{LOOPBACK}:{port}" for port in published)
    wait_until(lambda: answers(f"{api}/api/v1/namespaces"), "Marquez", seconds=120)
    return BackEnd("Marquez", api, web)


def _published(container: str) -> str | None:
    done = subprocess.run(["docker", "port", container], capture_output=True, text=True)
    return done.stdout.splitlines()[0].rpartition(":")[2] if done.returncode == 0 and done.stdout else None


def _run_arguments(prefix: str) -> list[list[str]]:
    """The `docker run` arguments for database, API and web UI; published on free ports of loopback only."""
    database = {"POSTGRES_USER": "marquez", "POSTGRES_PASSWORD": "marquez", "POSTGRES_DB": "marquez"}
    api = {**database, "POSTGRES_HOST": f"{prefix}-db", "POSTGRES_PORT": "5432"}
    api |= {"MARQUEZ_PORT": "5000", "MARQUEZ_ADMIN_PORT": "5001", "SEARCH_ENABLED": "false"}
    web = {"MARQUEZ_HOST": f"{prefix}-api", "MARQUEZ_PORT": "5000", "WEB_PORT": "3000"}
    parts = (("db", POSTGRES, database, None), ("api", MARQUEZ, api, 5000), ("web", MARQUEZ_WEB, web, 3000))
    return [
        ["--detach", "--name", f"{prefix}-{part}", "--network", prefix, "--label", "mwaa-openlineage.local"]
        + (["--publish", f"{LOOPBACK}::{port}"] if port else [])
        + [word for key, value in values.items() for word in ("--env", f"{key}={value}")]
        + [image]
        for part, image, values, port in parts
    ]
