"""One MWAA environment as real Airflow processes.

Each has, below `<home>/state/mwaa/<name>`, a virtual environment of its own (the version's lock, the
customer's requirements on top), an AIRFLOW_HOME whose plugins come from plugins.zip and whose DAGs follow the
bucket, and a database in the home's PostgreSQL. MWAA runs tasks with Celery; here LocalExecutor does, with
few slots, unless Celery is requested.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from packaging.version import Version

from local import processes
from local.airflow.config import (
    CELERY,
    Component,
    Installation,
    components,
    executor_of,
    fixed,
    image_of,
    variables,
)
from local.airflow.files import Files
from local.airflow.install import Image
from local.airflow.locks import VERSIONS, lock
from local.airflow.rest import RestApi
from local.airflow.shipping import Shipping
from local.airflow.startup import with_startup
from local.aws import callers, postgres
from local.home import Home
from local.mwaa.bucket import Bucket
from local.mwaa.rules import Json, ValidationError
from local.processes import LOOPBACK, LocalError

log = logging.getLogger("mwaa")

HEALTHY_SECONDS = 300
COMMAND_SECONDS = 100
STOP_SECONDS = 5  # MWAA's FORCED update does not wait for tasks either
BACK_OFF = (0, 5, 15, 30, 60)  # seconds between restarts: before the first, the second, ...
FORGET_SECONDS = 600  # older restarts no longer count
PLUGINS = ("SourceBucketArn", "PluginsS3Path", "PluginsS3ObjectVersion")  # where they are read from
STARTUP = ("StartupScriptS3Path", "StartupScriptS3ObjectVersion")


class RealAirflow:
    """The runtime (see `local.mwaa.lifecycle.Runtime`) of real Airflows."""

    background = True

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: dict[str, Environment] = {}
        self._lock = threading.Lock()

    def prepare(self, environment: Json) -> Json:
        if environment["AirflowVersion"] not in VERSIONS:
            raise ValidationError(
                f"MWAA offers AirflowVersion {environment['AirflowVersion']}, but it has no lock here; "
                f"available are {', '.join(VERSIONS)}."
            )
        executor_of(environment)
        image_of(environment)
        try:
            s3 = callers.as_role(self._home, "s3", environment["ExecutionRoleArn"])
        except callers.UnknownRoleError as error:
            raise ValidationError(f"ExecutionRoleArn: {error}") from error
        completed = Bucket(environment["SourceBucketArn"], s3).newest_versions(environment)
        if not completed["WebserverUrl"].startswith(LOOPBACK):
            completed["WebserverUrl"] = f"{LOOPBACK}:{processes.free_port()}"
        return completed

    def address(self, environment: Json) -> str:
        address = str(environment["WebserverUrl"])
        ours = processes.all_running(self._home)
        port = int(address.rpartition(":")[2])
        if any(record.port == port for record in ours) or processes.is_free(port):
            return address
        return f"{LOOPBACK}:{processes.free_port()}"

    def ensure(self, environment: Json, step: Callable[[str], None]) -> None:
        self._of(environment).ensure(environment, step)

    def stop(self, environment: Json) -> None:
        self._of(environment).stop()

    def tend(self, environment: Json) -> None:
        self._of(environment).tend(environment)

    def remove(self, environment: Json) -> None:
        self._of(environment).remove()
        with self._lock:
            self._running.pop(environment["Name"], None)

    def describe(self, environment: Json) -> Json:
        return self._of(environment).describe(environment)

    def call(self, environment: Json, method: str, path: str, query: Json, body: Any) -> tuple[int, Any]:
        return self._of(environment).rest(environment).call(method, path, query, body)

    def command(self, environment: Json, words: Sequence[str]) -> tuple[int, bytes, bytes]:
        return self._of(environment).command(environment, words)

    def _of(self, environment: Json) -> Environment:
        with self._lock:
            name = environment["Name"]
            return self._running.setdefault(name, Environment(self._home, name))


class BackOff:
    """Decides when a process that keeps dying may be restarted."""

    def __init__(self) -> None:
        self._starts: dict[str, list[float]] = {}

    def may_start(self, name: str, now: float) -> bool:
        """Whether `name`, which is dead at `now` (seconds), may be started; if so, record the start."""
        starts = [start for start in self._starts.get(name, ()) if now - start < FORGET_SECONDS]
        wait = BACK_OFF[min(len(starts), len(BACK_OFF) - 1)]
        allowed = not starts or now - starts[-1] >= wait
        self._starts[name] = [*starts, now] if allowed else starts
        return allowed


class Environment:
    """The processes and files of one environment. Its keeper's thread is the only one that changes them."""

    def __init__(self, home: Home, name: str) -> None:
        self._home = home
        self._name = name
        self._files = Files(home, name)
        self._folder = self._files.folder
        self._airflow_home = self._files.airflow_home
        self._back_off = BackOff()
        self._rest: RestApi | None = None
        self._sync_failed = False
        self._shipping: tuple[str, Shipping] | None = None  # by the execution role
        self._role: dict[str, str] = {}  # the credentials of the execution role

    # What the runtime offers

    def ensure(self, environment: Json, step: Callable[[str], None]) -> None:
        """Make the processes match `environment`; return when they are healthy. Raises LocalError."""
        self._airflow_home.mkdir(parents=True, exist_ok=True)
        version = environment["AirflowVersion"]
        image = Image(self._home, version)
        step("starting PostgreSQL")
        server = postgres.start(self._home)
        step(f"installing Airflow {version}")
        image.install()
        requirements = self._files.requirements(environment)
        venv = self._files.venv(image, requirements, step)
        installation = self._installation(environment, venv, server)
        options = environment["AirflowConfigurationOptions"]
        self._role = callers.of_role(self._home, environment["ExecutionRoleArn"])
        environ, plain = self._environ(installation, options), self._environ(installation, {})
        step("preparing the schema")
        image.dump_schema(server, plain)
        wanted = self._fingerprint(environment, installation, environ)
        if self._files.read("running.json") != wanted or not self._all_alive(installation):
            step("stopping the previous processes")
            self.stop()
            step("fetching plugins and DAGs")
            self._files.plugins(environment)
            self._files.startup(environment)
            self._files.dags(environment).sync()
            step("preparing the database")
            self._database(server, image, plain)
            self._start(environment, installation, environ, step)
            self._files.write("running.json", wanted)
        self._wait(self.rest(environment).healthy, installation, step)
        for old in self._folder.glob("venv-*"):
            if old != venv:
                shutil.rmtree(old, ignore_errors=True)

    def tend(self, environment: Json) -> None:
        """Sync DAGs; restart dead processes, less and less often if they keep dying; ship logs."""
        try:
            if processes.find(self._home, postgres.NAME) is None:
                postgres.start(self._home)
            self._files.dags(environment).sync()
            self._sync_failed = False
        except LocalError as error:
            if not self._sync_failed:
                log.warning("%s: %s", self._name, error)
            self._sync_failed = True
        state = self._files.read("running.json")
        if not state:
            return
        installation = self._installation(environment, Path(state["venv"]), postgres.start(self._home))
        environ = self._environ(installation, environment["AirflowConfigurationOptions"])
        for component in components(installation):
            if processes.find(self._home, self._process(component)) is None and self._back_off.may_start(
                component.name, time.monotonic()
            ):
                log.warning("%s: %s has ended; restarting it", self._name, component.name)
                end_strays(self._home, self._airflow_home)
                try:
                    self._start_one(environment, component, installation, environ)
                except LocalError as error:
                    log.warning("%s: %s: %s", self._name, component.name, error)
        self._ship(environment)

    def _ship(self, environment: Json) -> None:
        role = environment["ExecutionRoleArn"]
        if self._shipping is None or self._shipping[0] != role:
            known, keep = self._files.read("shipped.json"), partial(self._files.write, "shipped.json")
            client = callers.as_role(self._home, "logs", role)
            self._shipping = role, Shipping(client, known, keep)
        self._shipping[1].ship(environment, self._airflow_home / "logs", self._home.logs)

    def remove(self) -> None:
        """End all processes, drop the database, remove the files."""
        self.stop()
        if self._files.read("database.json"):
            postgres.start(self._home).drop(self._database_name())
        shutil.rmtree(self._airflow_home, ignore_errors=True)

    def describe(self, environment: Json) -> Json:
        major = Version(environment["AirflowVersion"]).major
        running = {
            record.name.removeprefix(f"airflow-{self._name}-"): {"pid": record.pid, "log": record.log}
            for record in processes.all_running(self._home)
            if record.name.startswith(f"airflow-{self._name}-")
        }
        url = f"http://{environment['WebserverUrl']}"
        expected = 5 if executor_of(environment) == CELERY else 4
        return {
            "ready": len(running) == expected and self.rest(environment).healthy(),
            "urls": {"airflow": url, "api": f"{url}/api/v{major - 1}"},
            "login": "admin / admin" if major == 2 else "none needed",
            "processes": running,
            "logs": {"requirements": str(self._folder / "requirements.log")},
        }

    def rest(self, environment: Json) -> RestApi:
        major = Version(environment["AirflowVersion"]).major
        if self._rest is None or self._rest.major != major:
            self._rest = RestApi(f"http://{environment['WebserverUrl']}", major)
        return self._rest

    def command(self, environment: Json, words: Sequence[str]) -> tuple[int, bytes, bytes]:
        venv = Path(self._files.read("running.json")["venv"])
        installation = self._installation(environment, venv, postgres.start(self._home))
        done = subprocess.run(
            [str(venv / "bin" / "python"), "-m", "airflow", *words],
            env=self._environ(installation, environment["AirflowConfigurationOptions"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    # Configuration

    def _installation(self, environment: Json, venv: Path, server: postgres.Server) -> Installation:
        keys = self._files.read("keys.json")
        if not keys:
            fernet = base64.urlsafe_b64encode(os.urandom(32)).decode()
            keys = {"fernet_key": fernet, "secret": secrets.token_urlsafe(48)}
            self._files.write("keys.json", keys)
        return Installation(
            name=self._name,
            version=environment["AirflowVersion"],
            airflow_home=self._airflow_home,
            venv=venv,
            constraints=lock(environment["AirflowVersion"]),
            database_url=server.url(self._database_name()),
            port=int(environment["WebserverUrl"].rpartition(":")[2]),
            executor=executor_of(environment),
            image=image_of(environment),
            **keys,
        )

    def _environ(self, installation: Installation, options: Mapping[str, str]) -> dict[str, str]:
        aws = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
        return variables(installation, options, aws | self._role, processes.clean_environ())

    def _fingerprint(self, environment: Json, installation: Installation, environ: dict[str, str]) -> Json:
        """The values that must not change if running processes are to be kept."""
        return {
            "venv": str(installation.venv),
            "plugins": [environment.get(part) for part in PLUGINS],
            "startup": [environment.get(part) for part in STARTUP],
            "dags": environment["DagS3Path"],
            "image": installation.image,
            "environ": hashlib.sha256(json.dumps(environ, sort_keys=True).encode()).hexdigest(),
        }

    # Database

    def _database_name(self) -> str:
        """The database's name: PostgreSQL allows 63 characters, MWAA 80."""
        return f"{self._name[:40]}-{hashlib.sha256(self._name.encode()).hexdigest()[:8]}"

    def _database(self, server: postgres.Server, image: Image, environ: Mapping[str, str]) -> None:
        """Create the database, or take that of another version to this one with all that it holds.

        As AWS does in both directions: what was executed since an upgrade is still known after a downgrade.
        """
        database = self._database_name()
        known = self._files.read("database.json").get("version")
        if known is None or not server.exists(database):
            server.drop(database)
            server.create(database, image.schema)
        elif known != image.version:
            before = self._folder / f"database-{known}.sql"
            server.dump(database, before)
            try:
                if Version(known) < Version(image.version):
                    image.migrate(server.url(database), environ)
                else:
                    Image(self._home, known).downgrade(server.url(database), environ, image.version)
            except LocalError:
                server.drop(database)
                server.create(database, before)
                raise
        self._files.write("database.json", {"version": image.version})

    # Processes

    def _process(self, component: Component) -> str:
        return f"airflow-{self._name}-{component.name}"

    def _start(
        self,
        environment: Json,
        installation: Installation,
        environ: dict[str, str],
        step: Callable[[str], None],
    ) -> None:
        """Start everything; a scheduler of 3.x last: its tasks fail while their API does not answer."""
        self._back_off = BackOff()
        rest = self.rest(environment)
        last = [c for c in components(installation) if c.name == "scheduler" and installation.major > 2]
        step("starting Airflow")
        for component in components(installation):
            if component not in last:
                self._start_one(environment, component, installation, environ)
        if last:
            self._wait(rest.answers, installation, step, but=last)
            rest.warm_up()
        for component in last:
            self._start_one(environment, component, installation, environ)

    def _start_one(
        self,
        environment: Json,
        component: Component,
        installation: Installation,
        environ: Mapping[str, str],
    ) -> None:
        python = installation.venv / "bin" / "python"
        environ = {**environ, **component.environ(installation.image)}
        if self._files.script.exists():
            options = environment["AirflowConfigurationOptions"]
            out = self._home.logs / f"airflow-{self._name}-startup.log"
            environ = with_startup(
                self._files.script, environ, fixed(installation, options), self._airflow_home, out
            )
        processes.start(
            self._home,
            self._process(component),
            [python, "-m", "airflow", *component.arguments],
            env=dict(environ),
            port=installation.port if component.mwaa_name == "webserver" else None,
            cwd=self._airflow_home,
        )

    def _all_alive(self, installation: Installation) -> bool:
        return all(processes.find(self._home, self._process(c)) for c in components(installation))

    def _wait(
        self,
        ready: Callable[[], bool],
        installation: Installation,
        step: Callable[[str], None],
        but: Collection[Component] = (),
    ) -> None:
        """Poll until `ready()`. Raises LocalError if that takes too long or a component ends."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        awaited = [component for component in components(installation) if component not in but]
        while not ready():
            step("waiting until all of Airflow is healthy")  # also notices a deletion
            for component in awaited:
                if processes.find(self._home, self._process(component)) is None:
                    file = self._home.logs / f"{self._process(component)}.log"
                    self.stop()
                    raise LocalError(
                        f"Airflow's {component.name} ended at start-up. {_last_error(file)} (log: {file})"
                    )
            if time.monotonic() > deadline:
                raise LocalError(
                    f"Airflow was not healthy after {HEALTHY_SECONDS} s;"
                    f" see {self._home.logs}/airflow-{self._name}-*.log"
                )
            time.sleep(0.5)

    def stop(self) -> None:
        """End all processes, with the tasks that they work on."""
        (self._folder / "running.json").unlink(missing_ok=True)
        stop_processes(self._home, f"airflow-{self._name}-", self._airflow_home)


def stop_processes(home: Home, prefix: str, below: Path) -> None:
    """End the processes with that prefix, and those that they left behind in a folder `below`."""
    names = [record.name for record in processes.all_running(home) if record.name.startswith(prefix)]
    processes.stop(home, *names, grace=STOP_SECONDS)
    end_strays(home, below)


def end_strays(home: Home, below: Path) -> None:
    """End processes that work in a folder `below` and descend from no recorded process: a killed component
    leaves its workers behind. (Airflow renames its processes, which hides their environment.)"""
    known: set[int] = set()
    for record in processes.all_running(home):
        root = record.process()
        if root is not None:
            known |= {root.pid, *(child.pid for child in root.children(recursive=True))}
    strays = [p for p in psutil.process_iter() if p.pid not in known and _is_airflow(p, below)]
    for stray in strays:
        with contextlib.suppress(psutil.NoSuchProcess):
            stray.kill()
    psutil.wait_procs(strays, timeout=5)


def stop_airflows(home: Home) -> None:
    """Stop every process of every environment, then PostgreSQL; a later server on this home resumes them.

    Stop the server of `local.mwaa` first, or it would start them again.
    """
    stop_processes(home, "airflow-", home.root / "state" / "mwaa")
    postgres.stop(home)


def _is_airflow(process: psutil.Process, below: Path) -> bool:
    """Whether a process works in a folder `below` and belongs to Airflow, unlike a user's shell there."""
    try:
        program = (process.cmdline() or [""])[0]
        ours = any(part in program for part in ("airflow", "celeryd", str(below.parent)))
        return ours and Path(process.cwd()).is_relative_to(below)
    except (psutil.Error, OSError):
        return False


def _last_error(file: Path) -> str:
    """The last error line of a process's log."""
    lines = [line.strip() for line in processes.tail(file, 60).splitlines()]
    errors = [line for line in lines if "Error" in line or "error" in line]
    return (errors or lines or ["It printed nothing."])[-1][:500]
