"""Runs inside an Airflow of any version: import a folder of DAGs and write down what it defines.

    python inside.py FOLDER REFERENCE ANSWER

Due instants are counted from the instant REFERENCE. Written to the file ANSWER, since stdout belongs to the
DAG files, also after the end: a JSON object with `python`, `import_errors` by file and `dags` by id
(`mwaactl.dag_check.model`). It imports nothing of ours.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

DUE = 5  # instants of each DAG
TASK_FIELDS = ("depends_on_past", "wait_for_downstream", "pool", "pool_slots")


def main(folder: str, reference: str, answer: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.path.insert(0, folder)  # as the DAG processor does
    bag = _bag(folder)
    errors = {_name(path, folder): str(text) for path, text in bag.import_errors.items()}
    dags: dict[str, Any] = {}
    for dag_id, dag in bag.dags.items():
        try:
            dags[dag_id] = _facts(dag, folder, datetime.fromisoformat(reference))
        except Exception:  # noqa: BLE001 - what Airflow cannot serialise is an import error there, too
            errors[_name(dag.fileloc, folder)] = traceback.format_exc()
    python = ".".join(map(str, sys.version_info[:3]))
    text = json.dumps({"python": python, "import_errors": errors, "dags": dags}, ensure_ascii=False)
    whole = Path(f"{answer}.part")
    whole.write_text(text, encoding="utf-8", errors="replace")  # half a surrogate pair is no text
    whole.rename(answer)


def _bag(folder: str) -> Any:
    if importlib.util.find_spec("airflow.dag_processing.dagbag"):  # 3.2 and later
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(folder, bundle_path=Path(folder), bundle_name="dags-folder")
    from airflow.models.dagbag import DagBag

    return DagBag(folder, include_examples=False)


def _name(path: str, folder: str) -> str:
    """The file's name below the folder (a DAG in an archive: the archive's)."""
    return str(Path(path).relative_to(folder)) if Path(path).is_absolute() else path


def _facts(dag: Any, folder: str, reference: datetime) -> dict[str, Any]:
    timetable = _scheduler_timetable(dag)
    condition = getattr(dag.timetable, "asset_condition", None) or getattr(
        dag.timetable, "dataset_condition", None
    )
    return {
        "file": _name(dag.fileloc, folder),
        "schedule": _schedule(timetable),
        "timetable": f"{type(dag.timetable).__module__}.{type(dag.timetable).__qualname__}",
        "due": _due(timetable, reference),
        "catchup": bool(dag.catchup),
        "max_active_runs": dag.max_active_runs,
        "max_active_tasks": dag.max_active_tasks,
        "watchers": sorted(set(_watchers(condition))),
        "tasks": [_task(task) for task in dag.tasks],
    }


def _scheduler_timetable(dag: Any) -> Any:
    """The timetable as the scheduler has it, from the serialised DAG."""
    from airflow.serialization import serialized_objects

    serialization = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    return serialization.from_dict(serialization.to_dict(dag)).timetable


def _schedule(timetable: Any) -> str | None:
    summary = str(timetable.summary)
    return None if summary in ("None", "") else summary


def _due(timetable: Any, reference: datetime) -> list[str]:
    """The due instants of the first runs after `reference`."""
    import pendulum
    from airflow.timetables.base import TimeRestriction

    restriction = TimeRestriction(earliest=pendulum.instance(reference), latest=None, catchup=True)
    due: list[str] = []
    last = None
    while len(due) < DUE:
        try:
            info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        except Exception:  # noqa: BLE001 - a timetable may want more than there is without a database
            return due
        if info is None:
            return due
        due.append(info.run_after.isoformat())
        last = info.data_interval
    return due


def _watchers(condition: Any) -> Iterator[str]:
    """The watchers of the assets that trigger a DAG (Airflow 3)."""
    assets = condition.iter_assets() if hasattr(condition, "iter_assets") else ()
    for _, asset in assets:
        yield from (str(watcher.name) for watcher in getattr(asset, "watchers", ()))


def _task(task: Any) -> dict[str, Any]:
    named = getattr(task, "external_dag_id", None) or getattr(task, "trigger_dag_id", None)
    return {
        "task_id": task.task_id,
        "operator": task.task_type,
        "template_fields": list(task.template_fields),
        "names": named if isinstance(named, str) else None,
        **{field: getattr(task, field, None) for field in TASK_FIELDS},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
