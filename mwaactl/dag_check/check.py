"""`dags check`: a folder in real Airflows, and what changes from one version to the next."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mwaactl import clock
from mwaactl.airflow.models import Dag, Task
from mwaactl.dag_check.airflows import Checkout, check_version
from mwaactl.dag_check.model import Change, CheckResult, DagFacts, Finding, VersionCheck
from mwaactl.dag_check.requirements import Wanted
from mwaactl.dags.folder import Folder
from mwaactl.dags.syntax import run_ruff
from mwaactl.dags.unpacked import write_below
from mwaactl.errors import CheckFailed, Unusable
from mwaactl.switching.traits import MARKER, SENSED, traits_of

NEXT_MAJOR = "AIR3"  # Ruff's rules about Airflow 3


def check_dags(
    checkout: Checkout,
    folder: Folder,
    wanted: Sequence[Wanted],
    plugins: Mapping[str, bytes] | None = None,
    *,
    installed_only: bool = False,
) -> CheckResult | None:
    """Import the files of `folder` with each version; `wanted`: oldest first.

    `plugins`: the plugins by name, such as those that an environment has; None: those of the checkout.
    `installed_only`: None if one of the Airflows is not installed. Raises CheckFailed if requirements cannot
    be installed or Airflow ends, Unreachable, Unusable.
    """
    find = checkout.installed if installed_only else checkout.install
    pythons: list[tuple[str, Path]] = []
    for each in wanted:
        python = find(*each)
        if python is None:
            return None
        pythons.append((each.version, python))
    since = clock.now().replace(microsecond=0)
    with tempfile.TemporaryDirectory(prefix="dags-") as place:
        dags, extra = Path(place) / "dags", checkout.folder / "plugins"
        write_below(dags, {name: file.content for name, file in folder.files.items()})
        if plugins is not None:
            extra = Path(place) / "plugins"
            write_below(extra, plugins)
        versions = [check_version(version, python, dags, since, extra) for version, python in pythons]
        findings = tuple(_findings(dags, folder))
    return CheckResult(
        folder=str(folder.path),
        since=since,
        versions=tuple(versions),
        changes=tuple(_changes(versions[0], versions[-1])) if len(versions) > 1 else (),
        special={
            dag_id: reasons
            for dag_id, facts in versions[-1].dags.items()
            if (reasons := tuple(special(dag_id, facts)))
        },
        findings=findings,
    )


def failed(result: CheckResult) -> CheckFailed | None:
    """The error for a set that an Airflow cannot import; None if all can."""
    broken = [
        f"Airflow {version.airflow_version}: {error.file}: {error.message}"
        for version in result.versions
        for error in version.broken
    ]
    return CheckFailed(f"these DAG files cannot be imported: {'; '.join(broken)}") if broken else None


def _changes(before: VersionCheck, after: VersionCheck) -> Iterator[Change]:
    for dag_id in sorted(before.dags.keys() | after.dags.keys()):
        old, new = before.dags.get(dag_id), after.dags.get(dag_id)
        if old is None or new is None:
            side = after if new is None else before
            yield Change(dag_id=dag_id, what=f"not on Airflow {side.airflow_version}")
        else:
            yield from (Change(dag_id=dag_id, what=what) for what in _differences(old, new))


def _differences(old: DagFacts, new: DagFacts) -> Iterator[str]:
    if old.schedule != new.schedule and not _same_by_assets(old.schedule, new.schedule):
        yield f"the schedule is {old.schedule} before, and {new.schedule} then"
    if old.due != new.due:
        first = next(
            (pair for pair in zip(old.due, new.due, strict=False) if pair[0] != pair[1]),
            (f"{len(old.due)} runs", f"{len(new.due)} runs"),
        )
        yield f"due instants differ: {first[0]} before, {first[1]} then"
    for field in ("catchup", "max_active_runs", "max_active_tasks"):
        if getattr(old, field) != getattr(new, field):
            yield f"{field} is {getattr(old, field)} before, and {getattr(new, field)} then"
    if gone := {task.task_id for task in old.tasks} ^ {task.task_id for task in new.tasks}:
        yield f"tasks on one of them only: {', '.join(sorted(gone))}"


def _same_by_assets(old: str | None, new: str | None) -> bool:
    """Airflow 3 calls assets what Airflow 2 calls datasets."""
    return (old or "").replace("Dataset", "Asset") == new


def special(dag_id: str, facts: DagFacts) -> Iterator[str]:
    """Why a switch treats this DAG unlike others."""
    dag = Dag(
        dag_id=dag_id,
        paused=False,
        schedule=facts.schedule,
        max_active_runs=facts.max_active_runs,
        max_active_tasks=facts.max_active_tasks,
    )
    tasks = [
        Task(
            task_id=task.task_id,
            operator=task.operator,
            depends_on_past=bool(task.depends_on_past),
            wait_for_downstream=bool(task.wait_for_downstream),
            pool=task.pool,
            pool_slots=task.pool_slots or 1,
            template_fields=task.template_fields,
        )
        for task in facts.tasks
    ]
    sensed = {
        task.names
        for task in facts.tasks
        if task.names is not None and SENSED in task.template_fields and task.operator != MARKER
    } - {dag_id}
    traits = traits_of(dag, tasks, {}, frozenset(sensed))
    if traits.serial:
        why = "its runs depend on the previous one" if traits.past else "one run or task at a time"
        yield f"serial ({why}): it moves when it is idle"
    if traits.looks_at:
        yield f"waits for {', '.join(sorted(traits.looks_at))}: they move together"
    if facts.watchers:
        yield (
            f"its assets have watchers ({', '.join(facts.watchers)}): only the side that owns the work takes "
            "messages, and a switch of single DAGs does not move them"
        )
    if dag.by_assets:
        yield "triggered by assets: its runs follow their producers; events that wait do not move along"
    if not facts.timetable.startswith("airflow."):
        yield f"a timetable of its own ({facts.timetable}): both sides must compute the same instants"
    if dag.schedule == "@continuous" or (facts.due and not facts.catchup and _by_start(facts)):
        yield "its instants count from the first parsing: they differ between the sides"


def _by_start(facts: DagFacts) -> bool:
    return facts.timetable.endswith("DeltaTriggerTimetable")


def _findings(dags: Path, folder: Folder) -> Iterator[Finding]:
    paths = {str((dags / name).resolve()): name for name in folder.files if name.endswith(".py")}
    if not paths:
        return
    done = run_ruff(["--select", NEXT_MAJOR, "--no-respect-gitignore"], [dags])
    if done.returncode not in (0, 1):
        raise Unusable(f"Ruff ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    for found in json.loads(done.stdout):
        file = paths.get(str(Path(found["filename"]).resolve()))  # None: a notebook, a stub
        if file is not None and found["code"] and found["code"].startswith(NEXT_MAJOR):
            yield Finding(
                file=file,
                line=found["location"]["row"],
                rule=found["code"],
                message=found["message"],
            )
