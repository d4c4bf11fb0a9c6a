"""What one needs to work with a violation: the run on both sides, who decided, what the logs say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bluegreen.timeline import COLOURS

from tests.e2e.load.decisions import Decision
from tests.e2e.load.ledger import Line
from tests.e2e.load.twins import Twins
from tests.e2e.load.verdict import Instance, Violation

AROUND = timedelta(seconds=90)
LOG_LINES = 6
LOST = re.compile(
    r"reported that the task instance <TaskInstance: (?P<dag>[\w.-]+)\.(?P<task>[\w-]+) (?P<run>\S+) "
    r"\[(?:running|queued)\].{,200} finished with state success"
)


@dataclass(frozen=True)
class Seen:
    """What Airflow says of both environments' runs in a window."""

    instances: tuple[Instance, ...]
    states: Mapping[tuple[str, str, str], str]  # of runs, by (colour, DAG, run id)
    notes: Mapping[tuple[str, str, str], str]


def see(twins: Twins, dags: Iterable[str], since: datetime, until: datetime) -> Seen:
    """Ask both Airflows for the runs due in [since, until) and their tasks."""
    instances: list[Instance] = []
    states: dict[tuple[str, str, str], str] = {}
    notes: dict[tuple[str, str, str], str] = {}
    for colour in COLOURS:
        for dag in dags:
            window = {"run_after_gte": since.isoformat(), "run_after_lt": until.isoformat()}
            for run in twins.pages(colour, f"/dags/{dag}/dagRuns", "dag_runs", **window):
                key = (colour, dag, run["dag_run_id"])
                states[key], notes[key] = run["state"], run["note"] or ""
            for task in twins.pages(
                colour, f"/dags/{dag}/dagRuns/~/taskInstances", "task_instances", **window
            ):
                instances.append(
                    Instance(
                        colour=colour,
                        dag=dag,
                        run=task["dag_run_id"],
                        due=datetime.fromisoformat(task["run_after"]),
                        task=task["task_id"],
                        map=task["map_index"],
                        state=task["state"],
                        worked=bool(task["pid"]),
                    )
                )
    return Seen(tuple(instances), states, notes)


def misjudged(twins: Twins) -> set[tuple[str, str, str, str]]:
    """Tasks at work (colour, DAG, task, run id) that Airflow's scheduler took for lost."""
    return {
        (colour, found["dag"], found["task"], found["run"])
        for colour in COLOURS
        for found in LOST.finditer(twins.component_log(colour, "scheduler").read_text(errors="replace"))
    }


def explain(
    violation: Violation,
    twins: Twins,
    lines: Sequence[Line],
    decisions: Sequence[Decision],
    seen: Seen,
    operations: Sequence[str],
) -> str:
    """Everything about one violation, as text."""
    dag, due = violation.dag, violation.due
    runs = {(i.colour, i.run) for i in seen.instances if (i.dag, i.due) == (dag, due)} | set(violation.runs)
    told = [f"{dag} due {due:%H:%M:%S}: {violation.what}", "  ledger:"]
    told += [f"    {line}" for line in lines if (line.dag, line.due) == (dag, due)] or ["    nothing"]
    told += ["  Airflow:"]
    told += [
        f"    {colour} {run}: {seen.states.get((colour, dag, run), 'not of this DAG')}"
        for colour, run in sorted(runs)
    ]
    told += [f"    {i}" for i in seen.instances if (i.dag, i.due) == (dag, due)]
    told += ["  decisions around it:"]
    told += [f"    {d}" for d in decisions if abs(d.since - due) < AROUND and d.dag in (None, dag)] or [
        "    none"
    ]
    told += ["  what was done around it:"]
    told += [f"    {line}" for line in operations if _near(line, due)] or ["    nothing"]
    for colour, run in sorted(runs):
        for file in twins.logs(colour, dag, run):
            told += [f"  {colour} {file.relative_to(twins.airflow_home(colour) / 'logs')}:"]
            told += [f"    {line}" for line in _telling(file)]
        told += [f"  {colour} scheduler on {run}:"]
        told += [f"    {line}" for line in _about(twins.component_log(colour, "scheduler"), dag, run)]
    return "\n".join(told)


def _near(operation: str, due: datetime) -> bool:
    at = datetime.combine(due.date(), datetime.strptime(operation[:15], "%H:%M:%S.%f").time(), due.tzinfo)  # noqa: DTZ007
    return abs(at - due) < AROUND


def _telling(file: Path) -> list[str]:
    lines = file.read_text(errors="replace").splitlines()
    told = [line for line in lines if "gate" in line or '"error"' in line or "exception" in line.lower()]
    return [line[:300] for line in (told or lines)[-LOG_LINES:]]


def _about(file: Path, dag: str, run: str) -> Iterator[str]:
    lines = [line for line in file.read_text(errors="replace").splitlines() if run in line and dag in line]
    for line in lines[:LOG_LINES]:
        yield line[:300]
