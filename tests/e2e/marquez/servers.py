"""A real Marquez, from its image or built from its sources, on a PostgreSQL that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from local import processes
from local.aws import postgres
from local.home import Home
from local.marquez.back_end import MARQUEZ, docker_runs
from local.processes import LOOPBACK, free_port

CONFIGURATION = Path(__file__).resolve().parents[3] / "components" / "marquez" / "boot" / "marquez.yml"
CLASSPATH = os.environ.get("MARQUEZ_CLASSPATH")
JAVA = ("-Xmx512m", "-Dsun.net.inetaddr.ttl=5")
START_SECONDS = 240.0  # on a busy machine, with the migrations of a new database


def why_none() -> str | None:
    """Why no real Marquez can be started; None if one can."""
    if CLASSPATH or docker_runs():
        return None
    return (
        f"no Marquez: Docker does not run here (for {MARQUEZ}), and MARQUEZ_CLASSPATH does not name the "
        "classes of one that was built from its sources (docs/testing.md)"
    )


@dataclass
class Databases:
    """A PostgreSQL server."""

    home: Home

    def start(self) -> None:
        """Start it, also after `kill`: what the killed one has left does not end at once."""
        for _ in range(10):
            with suppress(processes.LocalError):
                self._server = postgres.start(self.home)
                return
            time.sleep(1)
        self._server = postgres.start(self.home)

    def create(self, name: str) -> None:
        self._server.create(name)

    def kill(self) -> None:
        """As the kernel does when memory is short: it is the postmaster, and nothing is shut down."""
        started = processes.find(self.home, postgres.NAME)
        process = started.process() if started else None
        assert process is not None
        backends = process.children(recursive=True)
        process.kill()
        for each in backends:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs([process, *backends], timeout=10)

    def settings(self, database: str) -> dict[str, str]:
        """How Marquez reaches a database. What it has committed outlives a killed server, as on AWS."""
        options = "connectTimeout=5&options=-c%20synchronous_commit%3Don"
        return {
            "POSTGRES_URL": f"jdbc:postgresql://{LOOPBACK}:{self._server.port}/{database}?{options}",
            "POSTGRES_USER": postgres.USER,
            "POSTGRES_PASSWORD": self._server.password,
            "LINEAGE_RETENTION_DAYS": "90",
        }


@dataclass
class Marquez:
    """One node's Marquez, with the product's configuration but for its ports."""

    folder: Path
    settings: dict[str, str]
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.output = self.folder / f"marquez-{self.port}.log"
        self._configuration = self.folder / f"marquez-{self.port}.yml"
        content = yaml.safe_load(CONFIGURATION.read_text())
        for kind, port in (("application", self.port), ("admin", self.admin)):
            content["server"][f"{kind}Connectors"][0] |= {"port": port, "bindHost": LOOPBACK}
        self._configuration.write_text(yaml.safe_dump(content))

    def start(self) -> None:
        """Start it; `wait` says when it answers."""
        self._container = f"marquez-test-{uuid.uuid4().hex[:8]}"
        if CLASSPATH:
            command = ["java", *JAVA, "-cp", CLASSPATH, "marquez.MarquezApp", "server"]
            command.append(str(self._configuration))
        else:
            command = ["docker", "run", "--rm", "--name", self._container, "--network", "host"]
            command += ["--volume", f"{self._configuration}:/etc/marquez.yml:ro"]
            command += ["--env", "MARQUEZ_CONFIG=/etc/marquez.yml", "--env", f"JAVA_OPTS={' '.join(JAVA)}"]
            command += [word for name in self.settings for word in ("--env", name)]
            command.append(MARQUEZ)
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(
                command, env=os.environ | self.settings, stdout=out, stderr=subprocess.STDOUT
            )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self._process.poll() is None, f"Marquez has ended: {self.output}"
            assert time.monotonic() < deadline, f"Marquez does not answer: {self.output}"
            time.sleep(0.5)

    def answers(self) -> bool:
        return processes.answers(f"{self.url}/api/v1/namespaces?limit=1")

    def hang(self) -> None:
        """It stops, and keeps its connections; what it is sent meanwhile it carries out when it wakes."""
        self._signal(signal.SIGSTOP, "pause")

    def wake(self) -> None:
        self._signal(signal.SIGCONT, "unpause")

    def stop(self) -> None:
        """End it in good order."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM, "stop")
        self._process.wait(60)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGKILL, "kill")
        self._process.wait(60)

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Its record of a run; None if it has none. Raises OSError while it does not answer."""
        try:
            url = f"{self.url}/api/v1/jobs/runs/{run_id}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                record: dict[str, Any] = json.load(answer)
                return record
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise

    def _signal(self, number: signal.Signals, docker: str) -> None:
        if CLASSPATH:
            self._process.send_signal(number)
        else:
            subprocess.run(["docker", docker, self._container], check=True, capture_output=True, timeout=60)
