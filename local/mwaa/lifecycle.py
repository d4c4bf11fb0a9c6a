"""The life cycle of each environment: its status, kept on disk, and the thread that acts on it.

A keeper acts on its environment's status: it builds what is CREATING, changes or rolls back what is UPDATING,
removes what is DELETING, and tends what runs (syncs DAGs, restarts dead processes). Because the status is on
disk, a restarted server resumes.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from local.home import Home, change_seconds
from local.mwaa.rules import (
    ENVIRONMENTS_PER_REGION,
    Json,
    ValidationError,
    created,
    obey_the_model,
    updated,
)
from local.processes import LocalError

log = logging.getLogger("mwaa")

Step = Callable[[str], None]  # reports the current step; raises CancelledError if the work must stop
SETTLED = ("AVAILABLE", "UPDATE_FAILED")
TEND_SECONDS = 2.0


class NotFoundError(Exception):
    """There is no environment of that name: answered as ResourceNotFoundException."""


class CancelledError(Exception):
    """The environment is being deleted: work in progress stops."""


class Runtime(Protocol):
    """The runtime of environments: real Airflow (`local.airflow`) or nothing (`NoAirflow`)."""

    background: bool  # whether work takes time and needs a thread

    def prepare(self, environment: Json, /) -> Json:
        """Check the environment's S3 objects and complete it (object versions, web server's address).

        Raises ValidationError.
        """

    def address(self, environment: Json, /) -> str:
        """The web server's host and port: unchanged, or with another port if the old one is in use."""

    def ensure(self, environment: Json, step: Step, /) -> None:
        """Make the processes match the environment; return when it is healthy. Raises LocalError."""

    def stop(self, environment: Json, /) -> None:
        """End all processes, with the tasks that they work on: as a FORCED update does."""

    def tend(self, environment: Json, /) -> None:
        """Called every `TEND_SECONDS` while it runs: sync DAGs, restart dead processes."""

    def remove(self, environment: Json, /) -> None:
        """End all processes and remove all data."""

    def describe(self, environment: Json, /) -> Json:
        """For `GET /local/environments`: urls, pids, log files, whether all is healthy."""

    def call(self, environment: Json, method: str, path: str, query: Json, body: Any, /) -> tuple[int, Any]:
        """One call of Airflow's REST API: (status, body)."""

    def command(self, environment: Json, words: Sequence[str], /) -> tuple[int, bytes, bytes]:
        """Carry out `airflow <words>`: exit code, what it printed, what it printed as errors."""


class NoAirflow:
    """Environments without processes: AVAILABLE at once. For tests of everything around Airflow."""

    background = False

    def prepare(self, environment: Json) -> Json:
        return environment

    def address(self, environment: Json) -> str:
        return str(environment["WebserverUrl"])

    def ensure(self, *_: object) -> None:
        return

    def stop(self, _environment: Json) -> None:
        return

    def tend(self, _environment: Json) -> None:
        return

    def remove(self, _environment: Json) -> None:
        return

    def describe(self, _environment: Json) -> Json:
        return {"ready": True, "urls": {}, "processes": {}}

    def call(self, *_: object) -> tuple[int, Any]:
        return 503, {"detail": "This local MWAA was started with --no-airflow: there is no REST API to call."}

    def command(self, *_: object) -> tuple[int, bytes, bytes]:
        return 1, b"", b"This local MWAA was started with --no-airflow.\n"


class Keeper:
    """One environment, its file and its thread."""

    def __init__(
        self, folder: Path, runtime: Runtime, environment: Json, pending: Json | None = None
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._environment = environment
        self._pending = pending
        # An environment that was settled must be started again.
        self._resumed = environment["Status"] not in SETTLED
        self.phase = ""
        self.gone = False

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> Keeper:
        state = json.loads((folder / "environment.json").read_text())
        address = {"WebserverUrl": runtime.address(state["environment"])}
        pending = state["pending"] and state["pending"] | address
        return cls(folder, runtime, state["environment"] | address, pending)

    @property
    def environment(self) -> Json:
        with self._lock:
            return copy.deepcopy(self._environment)

    def begin(self) -> None:
        """Act on the status, at once or in a separate thread."""
        self._save()
        if self._runtime.background:
            threading.Thread(target=self._run, name=self._environment["Name"], daemon=True).start()
        else:
            self._work()

    def change(self, status: str, **members: Any) -> None:
        with self._lock:
            self._environment = self._environment | {"Status": status} | members
            self._save()

    def update(self, request: Json) -> None:
        with self._lock:
            if self._environment["Status"] not in SETTLED:
                raise ValidationError(self._busy("updated"))
            self._pending = self._runtime.prepare(updated(self._environment, request))
            strategy = request.get("WorkerReplacementStrategy")
            self.change("UPDATING", LastUpdate=_last_update("PENDING", strategy, time.time()))
        self._proceed()

    def delete(self) -> None:
        # MWAA refuses during a creation; here the creation is cancelled instead, so that an interrupted
        # deployment can be taken down at once.
        with self._lock:
            if self._environment["Status"] == "UPDATING":
                raise ValidationError(self._busy("deleted"))
            self.change("DELETING")
        self._proceed()

    def tag(self, change: Callable[[dict[str, str]], None]) -> None:
        with self._lock:
            tags = dict(self._environment["Tags"])
            change(tags)
            self.change(self._environment["Status"], Tags=tags)

    def _busy(self, verb: str) -> str:
        return (
            f"Environment {self._environment['Name']} is {self._environment['Status']}"
            f" and cannot be {verb} now; wait until it is AVAILABLE."
        )

    def _proceed(self) -> None:
        if self._runtime.background:
            self._wake.set()
        else:
            self._work()

    def _run(self) -> None:
        while not self.gone:
            try:
                self._work()
            except CancelledError:
                continue
            except Exception:  # a dead keeper would leave its environment unattended
                log.exception("%s: unexpected error", self._environment["Name"])
            self._wake.wait(TEND_SECONDS)
            self._wake.clear()

    def _work(self) -> None:
        status = self._environment["Status"]
        if status == "CREATING":
            self._create()
        elif status == "UPDATING":
            self._update()
        elif status == "DELETING":
            self._runtime.remove(self._environment)
            shutil.rmtree(self._folder, ignore_errors=True)
            self.gone = True
            log.info("%s: deleted", self._environment["Name"])
        elif status in SETTLED and not self._resumed:
            self._resume()
        elif status in SETTLED:
            self._runtime.tend(self._environment)

    def _create(self) -> None:
        try:
            self._take_time(self._environment["CreatedAt"])
            self._ensure(self._environment)
        except LocalError as error:
            self._failed("CREATE_FAILED", error)
        else:
            self._settle("AVAILABLE", self._environment)

    def _update(self) -> None:
        before, after = self._environment, self._pending or self._environment
        self._runtime.stop(before)
        try:
            self._take_time(before["LastUpdate"]["CreatedAt"])
            self._ensure(after)
        except LocalError as error:
            log.error("%s: the update failed; rolling back", before["Name"])  # noqa: TRY400 - logged below
            try:
                self._ensure(before)
            except LocalError as second:
                self._failed("UNAVAILABLE", second)
            else:
                self._failed("UPDATE_FAILED", error)
        else:
            self._settle("AVAILABLE", after)

    def _resume(self) -> None:
        try:
            self._ensure(self._environment)
        except LocalError as error:
            log.error("%s: %s", self._environment["Name"], error)  # noqa: TRY400 - the message says it all
            self._step("not healthy; trying again")
        else:
            self._resumed = True
            self.phase = ""

    def _take_time(self, begun: float) -> None:
        """Wait as long as a change is to last, with nothing running: Amazon's starts no task meanwhile."""
        while self._runtime.background and (left := begun + change_seconds() - time.time()) > 0:
            self._step("taking the time that MWAA_LOCAL_CHANGE_SECONDS sets")
            time.sleep(min(left, TEND_SECONDS))

    def _ensure(self, environment: Json) -> None:
        self._runtime.ensure(environment, self._step)

    def _step(self, phase: str) -> None:
        if phase != self.phase:
            log.info("%s: %s", self._environment["Name"], phase)
        self.phase = phase
        if self._environment["Status"] == "DELETING":
            raise CancelledError

    def _settle(self, status: str, environment: Json) -> None:
        with self._lock:
            if self._environment["Status"] == "DELETING":
                raise CancelledError
            tags = self._environment["Tags"]  # may have changed in the meantime
            self._environment = environment | {
                "Status": status,
                "LastUpdate": self._update_ended("SUCCESS"),
                "Tags": tags,
            }
            self._pending = None
            self.phase = ""
            self._save()
        log.info("%s: %s", environment["Name"], status)

    def _failed(self, status: str, error: LocalError) -> None:
        with self._lock:
            if self._environment["Status"] == "DELETING":
                raise CancelledError from error
            last = self._update_ended("FAILED") | {
                "Error": {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": str(error)[:1024]}
            }
            self._pending = None
            self.phase = ""
            self.change(status, LastUpdate=last)
        log.error("%s: %s: %s", self._environment["Name"], status, error)

    def _update_ended(self, status: str) -> Json:
        """What is told of the newest update: when it began, even after its end. A creation counts as one."""
        last = self._environment.get("LastUpdate") or _last_update(
            status, None, self._environment["CreatedAt"]
        )
        return last | {"Status": status}

    def _save(self) -> None:
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / "environment.json"
            temporary = path.with_suffix(".tmp")
            temporary.write_text(
                json.dumps({"environment": self._environment, "pending": self._pending}, indent=1)
            )
            temporary.replace(path)


class Fleet:
    """All environments of one home."""

    def __init__(self, home: Home, runtime: Runtime) -> None:
        self._folder = home.dir("state", "mwaa")
        self._runtime = runtime
        self._lock = threading.Lock()
        self._keepers: dict[str, Keeper] = {}
        for path in sorted(self._folder.glob("*/environment.json")):
            keeper = Keeper.load(path.parent, runtime)
            self._keepers[path.parent.name] = keeper
            keeper.begin()

    def names(self) -> list[str]:
        with self._lock:
            self._forget()
            return sorted(self._keepers)

    def keeper(self, name: str) -> Keeper:
        """The keeper of an environment. Raises NotFoundError."""
        with self._lock:
            self._forget()
            if name not in self._keepers:
                raise NotFoundError(f"Environment {name} was not found.")
            return self._keepers[name]

    def create(self, name: str, request: Json) -> Json:
        """Create an environment, CREATING or already AVAILABLE. Raises ValidationError."""
        obey_the_model("CreateEnvironmentInput", {"Name": name, **request})
        with self._lock:
            self._forget()
            if name in self._keepers:
                raise ValidationError(f"Environment {name} already exists.")
            if len(self._keepers) >= ENVIRONMENTS_PER_REGION:
                raise ValidationError(
                    f"There are already {ENVIRONMENTS_PER_REGION} environments, the quota of a region."
                )
            environment = self._runtime.prepare(created(name, request, str(uuid.uuid4())))
            keeper = Keeper(self._folder / name, self._runtime, environment | {"Status": "CREATING"})
            self._keepers[name] = keeper
        keeper.begin()
        return keeper.environment

    def describe(self) -> list[Json]:
        """The answer to `GET /local/environments`: name, status, phase and what the runtime adds for each."""
        result = []
        for name in self.names():
            try:
                keeper = self.keeper(name)
            except NotFoundError:
                continue
            environment = keeper.environment
            result.append(
                {
                    "name": name,
                    "status": environment["Status"],
                    "phase": keeper.phase,
                    "version": environment["AirflowVersion"],
                    "error": ((environment.get("LastUpdate") or {}).get("Error") or {}).get("ErrorMessage"),
                    **self._runtime.describe(environment),
                }
            )
        return result

    def _forget(self) -> None:
        self._keepers = {name: keeper for name, keeper in self._keepers.items() if not keeper.gone}


def _last_update(status: str, strategy: str | None, at: float) -> Json:
    result: Json = {"Status": status, "CreatedAt": at, "Source": "mwaa-local"}
    if strategy:
        result["WorkerReplacementStrategy"] = strategy
    return result
