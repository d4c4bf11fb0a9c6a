"""What the tasks wrote: one line for each start and each completion, whatever Airflow thinks of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """A task started ("start"), completed ("done"), or asked who is active ("asked")."""

    what: str
    colour: str
    dag: str
    run: str
    due: datetime
    task: str
    map: int
    attempt: int
    at: datetime
    pid: int
    causes: tuple[str, ...]  # of a run that assets triggered: the ids of the runs that made them

    @property
    def key(self) -> tuple[str, datetime]:
        return self.dag, self.due

    def __str__(self) -> str:
        index = "" if self.map < 0 else f"[{self.map}]"
        task = f"{self.task}{index} try {self.attempt} pid {self.pid}"
        return f"{self.at:%H:%M:%S.%f} {self.colour:5} {self.what:5} {task}"


def read(file: Path) -> list[Line]:
    """All lines in the order in which they were written; none if nothing has been written yet."""
    if not file.exists():
        return []
    return [_line(json.loads(text)) for text in file.read_text().splitlines()]


def by_run(lines: Iterable[Line]) -> Mapping[tuple[str, datetime], list[Line]]:
    """The lines of each (DAG, due instant), of both environments together."""
    found: dict[tuple[str, datetime], list[Line]] = defaultdict(list)
    for line in lines:
        found[line.key].append(line)
    return found


def running(lines: Iterable[Line]) -> list[Line]:
    """The starts whose task has not completed."""
    open_: dict[tuple[str, str, str, int], Line] = {}
    for line in lines:
        task = (line.colour, line.run, line.dag + line.task, line.map)
        if line.what == "start":
            open_[task] = line
        else:
            open_.pop(task, None)
    return list(open_.values())


def _line(raw: dict[str, object]) -> Line:
    causes = raw["causes"]
    assert isinstance(causes, list)
    return Line(
        what=str(raw["what"]),
        colour=str(raw["colour"]),
        dag=str(raw["dag"]),
        run=str(raw["run"]),
        due=datetime.fromisoformat(str(raw["due"])),
        task=str(raw["task"]),
        map=int(str(raw["map"])),
        attempt=int(str(raw["try"])),
        at=datetime.fromisoformat(str(raw["at"])),
        pid=int(str(raw["pid"])),
        causes=tuple(map(str, causes)),
    )
