"""The check `serial-dags`: whether the source can report which serial DAGs are busy on it."""

from __future__ import annotations

from mwaactl.airflow.models import Dag
from mwaactl.checks.outcome import Outcome, Sides, listed

CHECK = "serial-dags"


def check(sides: Sides) -> Outcome | None:
    """Whether the source can report which serial DAGs are busy on it; None without a source."""
    source = sides.source
    if source is None:
        return None
    dags = concerned(sides)
    serial = {dag_id for dag_id, dag in dags.items() if dag.alone} | (sides.serial or set())
    if source.in_flight is not None and source.dags is not None:
        busy = {run.dag_id for run in source.in_flight} & serial
        if not busy:
            return "pass", f"none is busy on {source.colour}"
        return "pass", f"busy on {source.colour}, will move once idle: {listed(busy)}"
    reason = source.not_checked.get("dags") or source.not_checked["in_flight"]
    if active := {dag_id for dag_id in serial if not dags[dag_id].paused}:
        return "fail", (
            f"{source.colour} cannot report whether these DAGs still run there, and they must not overlap "
            f"themselves: {listed(active)}. If nothing runs there, add --force {CHECK} ({reason})"
        )
    if sides.target.dags is None or sides.serial is None:
        return "not checked", reason
    return "pass", f"{sides.target.colour} has no serial DAG"


def source_answered(sides: Sides) -> bool:
    source = sides.source
    return source is not None and source.dags is not None and source.in_flight is not None


def concerned(sides: Sides) -> dict[str, Dag]:
    """The DAGs that would move, as the source lists them, or the target if the source does not answer."""
    side = sides.source if source_answered(sides) else sides.target
    dags = side.dags if side is not None else None
    return {dag_id: dag for dag_id, dag in (dags or {}).items() if sides.moving(dag_id)}
