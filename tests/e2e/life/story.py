"""Two Airflows, DAGs that come in waves, and a ledger of what their tasks did."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import processes
from local.home import CHECKOUT
from tests.e2e.load import ledger
from tests.e2e.load.decisions import decided, deciding
from tests.e2e.load.ledger import Line
from tests.e2e.load.twins import DAGS as LOAD
from tests.e2e.load.twins import OPTIONS, PROCESSES, Answer, Twins, wait_for

DAGS = Path(__file__).parent / "dags"
GRID = 30  # seconds: each wave's origin is a multiple, so that DAGs that are due every 30 s fit to it
DRAINED = 300.0  # seconds that a drain may take: the longest task works 130 s
PARSED = 25.0  # seconds from a push until both sides have the DAGs
Json = dict[str, Any]


class Background:
    """A command that runs while the story goes on; `answer` waits for its end."""

    def __init__(self, command: Callable[[], Answer]) -> None:
        self._answers: list[Answer] = []
        self.ended: datetime | None = None
        self._thread = threading.Thread(target=self._run, args=(command,), daemon=True)
        self._thread.start()

    def _run(self, command: Callable[[], Answer]) -> None:
        self._answers.append(command())
        self.ended = datetime.now(UTC)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def answer(self, seconds: float) -> Answer:
        self._thread.join(seconds)
        assert self._answers, f"the command has not ended within {seconds:.0f} s"
        return self._answers[0]


class Story(Twins):
    """The twins with lineage, and DAGs that come in waves."""

    def __init__(self, root: Path, tools: Path, **settings: Any) -> None:
        options = {key: value for key, value in OPTIONS.items() if not key.startswith("openlineage.")}
        super().__init__(root, tools, options, **settings)
        self.flags = self.home.dir("flags")
        self.origins: dict[str, datetime] = {}
        self._folder = self.home.root / "dags"

    def up(self) -> None:
        """Deploy, and let each side be a host of its own, so that they do not share the gate's cache."""
        super().up()
        self._folder.mkdir(exist_ok=True)
        shutil.copy(LOAD / "airflow_local_settings.py", self._folder)
        settings = {"ledger": str(self.ledger), "skew": {}, "mutation": ""}
        (self._folder / "load.json").write_text(json.dumps(settings))
        self.push_folder(self._folder)
        self.restart()

    # What is brought

    def begin(self, wave: str, *files: str, ahead: float = PARSED) -> datetime:
        """Bring more DAG files; returns the origin of their offsets, at least `ahead` seconds from now."""
        seconds = -(-(time.time() + ahead) // GRID) * GRID
        self.origins[wave] = datetime.fromtimestamp(seconds, UTC)
        for file in ("life_common.py", *files):
            shutil.copy(DAGS / file, self._folder / file)
        self.push_waves()
        return self.origins[wave]

    def push_waves(self) -> None:
        chosen = {
            "ledger": str(self.ledger),
            "flags": str(self.flags),
            "origins": {wave: instant.isoformat() for wave, instant in self.origins.items()},
        }
        (self._folder / "life.json").write_text(json.dumps(chosen))
        self.push_folder(self._folder)

    def set_flag(self, name: str) -> None:
        (self.flags / name).touch()

    def until(self, wave: str, offset: float) -> None:
        """Sleep until so many seconds after a wave's origin."""
        left = (self.origins[wave] + timedelta(seconds=offset) - datetime.now(UTC)).total_seconds()
        time.sleep(max(0.0, left))

    def offset(self, wave: str, instant: datetime) -> float:
        return (instant - self.origins[wave]).total_seconds()

    # What is done

    def switch(self, *arguments: str) -> Background:
        """`mwaactl switch` in the background."""
        return Background(lambda: self.mwaactl("switch", *arguments, "--yes"))

    def owner(self, dag: str) -> str:
        """Whose the DAG is now."""
        lead = timedelta(seconds=self.outputs["switch_lead_seconds"])
        decisions = decided(self.versions(), lead, self.content)
        return deciding(decisions, dag, datetime.now(UTC)).owner

    def pause(self, colour: str, dag: str, paused: bool = True) -> None:
        self.api(colour, f"/dags/{dag}", "PATCH", {"is_paused": paused}, update_mask="is_paused")

    def trigger(self, colour: str, dag: str, run: str) -> None:
        self.api(colour, f"/dags/{dag}/dagRuns", "POST", {"dag_run_id": run, "logical_date": None})

    def clear(self, colour: str, dag: str, run: str) -> None:
        path = f"/dags/{dag}/dagRuns/{urllib.parse.quote(run)}/clear"
        self.api(colour, path, "POST", {"dry_run": False, "only_failed": False})

    @contextmanager
    def dead(self, colour: str) -> Iterator[list[int]]:
        """Stop an environment and kill the tasks at work, whose pids are yielded; let it go on afterwards."""
        names = [f"airflow-{self.names[colour]}-{part}" for part in (*PROCESSES, "api-server", "webserver")]
        components = [p for name in names if (r := processes.find(self.home, name)) and (p := r.process())]
        assert components, f"{colour} has no processes"
        for component in components:  # the local MWAA would start again what is killed
            component.suspend()
        tasks = [child for component in components for child in component.children(recursive=True)]
        working = {line.pid for line in ledger.running(self.lines()) if line.colour == colour}
        killed = []
        for process in tasks:
            with suppress(psutil.NoSuchProcess):
                if process.pid in working:
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)
                else:
                    process.suspend()
        try:
            yield killed
        finally:
            for process in (*tasks, *components):
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    # What came of it

    def lines(self, dag: str | None = None, what: str | None = None) -> list[Line]:
        return [
            line for line in ledger.read(self.ledger) if dag in (None, line.dag) and what in (None, line.what)
        ]

    def done(self, dag: str, task: str | None = None) -> list[Line]:
        return [line for line in self.lines(dag, "done") if task in (None, line.task)]

    def await_done(self, dag: str, count: int = 1, *, seconds: float, task: str | None = None) -> list[Line]:
        """The completions of a DAG's tasks, once there are so many; fewer if they do not come."""
        deadline = time.monotonic() + seconds
        while len(found := self.done(dag, task)) < count and time.monotonic() < deadline:
            time.sleep(1)
        return found

    def runs(self, colour: str, dag: str) -> list[Json]:
        return list(self.pages(colour, f"/dags/{dag}/dagRuns", "dag_runs"))

    def task_states(self, colour: str, dag: str, run: str) -> dict[str, str | None]:
        path = f"/dags/{dag}/dagRuns/~/taskInstances"
        found = self.pages(colour, path, "task_instances")
        return {task["task_id"]: task["state"] for task in found if task["dag_run_id"] == run}

    def audit(self, *arguments: str) -> Answer:
        return self.mwaactl("audit", *arguments)

    def await_dags(self, *dags: str, seconds: float = 60) -> None:
        """Until both sides know these DAGs."""

        def known() -> bool:
            return all(self.api(colour, f"/dags/{dag}") for colour in self.names for dag in dags)

        wait_for(known, f"both sides have read {', '.join(dags)}", seconds)


def findings(answer: Answer) -> list[str]:
    """An audit's findings, one line each."""
    return [f"{f['kind']}: {f['dag_id']} due {f['due']}: {f['detail']}" for f in answer.json["findings"]]


def due(first: datetime, last: datetime, period: int) -> Iterator[datetime]:
    """The instants from `first` to `last`, so many seconds apart."""
    while first <= last:
        yield first
        first += timedelta(seconds=period)


@contextmanager
def told(root: Path, **settings: Any) -> Iterator[Story]:
    """A story from its deployment to its end, after which no process of it may be left."""
    tools = Path(os.environ.get("MWAA_LOCAL_TOOLS") or CHECKOUT / ".local" / "tools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_TOOLS", str(tools))  # undone afterwards, with what `up` adds
        patch.setenv("MWAA_LOCAL_HOME", "")
        story = Story(root, tools, **settings)
        try:
            story.up()
            yield story
        finally:
            assert story.down() == [], "processes that survived"
