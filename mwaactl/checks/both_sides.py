"""The checks of the target as such, and of what both sides must have alike: DAGs, files, pools, variables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, timedelta

from mwaactl.airflow.models import Dag, Pool
from mwaactl.checks.outcome import NO_OTHER, Outcome, Sides, colour_of, dags_of_both, listed

HEARTBEAT = timedelta(seconds=60)  # Airflow beats every 5 s and calls 30 s unhealthy
CLOUDWATCH_HEARTBEAT = timedelta(minutes=5)  # one value a minute, and late
MASK = "***"  # what Airflow 3 tells instead of a value that may be a secret
# Airflow 2 makes connections of its own (aws_default, ...) in every new database.
OWN_CONNECTIONS = ("airflow_db", "local_mysql")


def available(sides: Sides) -> Outcome:
    target = sides.target
    if target.status is None:
        return "fail", target.not_checked["status"]
    if target.status != "AVAILABLE":
        return "fail", f"{target.name} is {target.status}: wait until it is AVAILABLE"
    return "pass", f"{target.name} is AVAILABLE"


def api(sides: Sides) -> Outcome:
    target = sides.target
    reason = next(
        (target.not_checked[field] for field in ("scheduler", "dags") if field in target.not_checked), None
    )
    if reason is None:
        return "pass", f"Airflow {target.airflow_version} answers"
    if target.private:
        return "not checked", (
            f"{target.name} has a private web server, which does not answer from here. CloudWatch tells of "
            "its scheduler, of import errors and the number of DAGs; for all else run this inside its VPC "
            f"({reason})"
        )
    return "fail", reason


def scheduler(sides: Sides) -> Outcome:
    target, now = sides.target, sides.now
    if target.scheduler is None:
        return _scheduler_by_cloudwatch(sides)
    if target.scheduler != "healthy":
        return "fail", f"Airflow says that {target.name}'s scheduler is {target.scheduler}"
    if target.heartbeat is None:
        return "not checked", f"Airflow calls {target.name}'s scheduler healthy but tells no heartbeat"
    age = now - target.heartbeat
    if age > HEARTBEAT:
        return "fail", (
            f"the last heartbeat of {target.name}'s scheduler is {age.total_seconds():.0f} s old, although "
            "Airflow calls it healthy: look at its scheduler log and at the clocks"
        )
    return "pass", f"its heartbeat is {max(0.0, age.total_seconds()):.0f} s old"


def _scheduler_by_cloudwatch(sides: Sides) -> Outcome:
    target = sides.target
    reason = target.not_checked["scheduler"]
    if target.metrics is None:
        if target.private:
            return (
                "fail",
                f"neither Airflow nor CloudWatch tells: {target.not_checked.get('metrics', reason)}",
            )
        return "not checked", reason
    beat = target.metrics.heartbeat
    if beat is None or sides.now - beat > CLOUDWATCH_HEARTBEAT:
        return "fail", (
            f"Airflow does not answer and CloudWatch has no heartbeat of {target.name}'s scheduler in the "
            f"last {CLOUDWATCH_HEARTBEAT.total_seconds() / 60:.0f} minutes"
        )
    return "pass", f"CloudWatch has a heartbeat of the minute {beat.astimezone(UTC):%H:%M} UTC"


def imports(sides: Sides) -> Outcome:
    target = sides.target
    if target.import_errors is None:
        count = target.metrics.import_errors if target.metrics is not None else None
        if count is None:
            return "not checked", target.not_checked["import_errors"]
        return (
            ("fail", f"{count} on {target.name} by CloudWatch: see the DAG processing log")
            if count
            else ("pass", "none by CloudWatch")
        )
    if target.import_errors:
        first = target.import_errors[0]
        return "fail", f"{len(target.import_errors)} on {target.name}, first {first.file}: {first.message}"
    return "pass", "none"


def same_dags(sides: Sides) -> Outcome:
    dags, missing = dags_of_both(sides)
    if dags is None:
        return _same_count(sides, missing)
    target, source = dags
    parts = [
        f"only on {where}: {listed(only)}"
        for where, only in (
            (sides.target.colour, target.keys() - source.keys()),
            (colour_of(sides.source), source.keys() - target.keys()),
        )
        if only
    ]
    if parts:
        return "fail", "; ".join(parts) + ". Upload one directory to both: mwaactl dags push"
    return "pass", f"{len(target)} DAGs on both sides"


def _same_count(sides: Sides, missing: str) -> Outcome:
    counts = [
        len(side.dags) if side.dags is not None else side.metrics.dags if side.metrics is not None else None
        for side in (sides.target, sides.source)
        if side is not None
    ]
    if len(counts) < 2 or None in counts:
        return "not checked", missing
    if counts[0] != counts[1]:
        return "warn", (
            f"{sides.target.colour} has {counts[0]} DAGs, {colour_of(sides.source)} {counts[1]} "
            "(CloudWatch); which, is not known"
        )
    return (
        "not checked",
        f"both have {counts[0]} DAGs (CloudWatch); whether the same, is not known: {missing}",
    )


def same_files(sides: Sides) -> Outcome:
    found = sides.evidence.files
    if sides.source is None:
        return "not checked", NO_OTHER
    if found is None:
        return "not checked", sides.evidence.why_not("files")
    parts = [
        f"{what}: {listed(names)}"
        for what, names in (
            ("different", found.different),
            (f"only in {sides.target.colour}'s bucket", found.only_target),
            (f"only in {sides.source.colour}'s bucket", found.only_source),
        )
        if names
    ]
    if parts:
        return "fail", "; ".join(parts) + ". Upload one directory to both: mwaactl dags push --delete"
    return "pass", f"{found.same} files with the same content in both buckets"


def pause_state(sides: Sides) -> Outcome:
    dags, missing = dags_of_both(sides)
    if dags is None:
        return "not checked", missing
    # Of a DAG that the target owns already, its own state counts (and --sync leaves it alone).
    target, source = (
        {dag_id: dag for dag_id, dag in side.items() if dag_id not in sides.settled} for side in dags
    )
    parts = _paused_on_one(sides, target, source)
    if parts:
        return "fail", f"{'; '.join(parts)}. --sync copies {colour_of(sides.source)}'s state"
    return "pass", f"{sum(dag.paused for dag in target.values())} paused on both sides"


def moving_dags(sides: Sides) -> Outcome | None:
    """Stricter than the two before for the DAGs that move alone: forcing those does not cover these."""
    if not sides.dags:
        return None
    named = set(sides.dags)
    parts = [
        f"not on {side.colour}: {listed(absent)}"
        for side in (sides.target, sides.source)
        if side is not None and side.dags is not None and (absent := named - side.dags.keys())
    ]
    dags, missing = dags_of_both(sides)
    if dags is not None:
        target, source = ({name: side[name] for name in named & side.keys()} for side in dags)
        parts += _paused_on_one(sides, target, source)
    if parts:
        return "fail", "; ".join(parts)
    if dags is None:
        return "not checked", missing
    return "pass", f"on both sides, in the same pause state: {listed(named)}"


def _paused_on_one(sides: Sides, target: Mapping[str, Dag], source: Mapping[str, Dag]) -> list[str]:
    differing = paused_apart(source, target)
    return [
        f"paused on {where} only: {listed(names)}"
        for where, names in (
            (sides.target.colour, {dag_id for dag_id in differing if target[dag_id].paused}),
            (colour_of(sides.source), {dag_id for dag_id in differing if source[dag_id].paused}),
        )
        if names
    ]


def pools(sides: Sides) -> Outcome:
    source, target = sides.source, sides.target
    if source is None:
        return "not checked", NO_OTHER
    if target.pools is None or source.pools is None:
        return "not checked", _why(sides, "pools")
    changed = different_pools(source.pools, target.pools)
    missing = changed - target.pools.keys()
    parts = [
        f"{what}: {listed(names)}"
        for what, names in ((f"not on {target.colour}", missing), ("of other size", changed - missing))
        if names
    ]
    if parts:
        return "fail", f"{'; '.join(parts)}. --sync copies {source.colour}'s pools"
    return "pass", f"{target.colour} has {source.colour}'s {len(source.pools)}"


def variables(sides: Sides) -> Outcome:
    source, target = sides.source, sides.target
    if source is None:
        return "not checked", NO_OTHER
    if target.variables is None or source.variables is None:
        return "not checked", _why(sides, "variables")
    ours, theirs = target.variables, source.variables
    same = {key for key in ours.keys() & theirs.keys() if ours[key] == theirs[key]}
    parts = [
        f"{what}: {listed(keys)}"
        for what, keys in (
            ("with different values", (ours.keys() & theirs.keys()) - same),
            (f"only on {target.colour}", ours.keys() - theirs.keys()),
            (f"only on {source.colour}", theirs.keys() - ours.keys()),
        )
        if keys
    ]
    if parts:
        return "fail", (
            f"in Airflow's own database, {'; '.join(parts)}. Make them equal, or move them into the secrets "
            "backend that both sides share"
        )
    if not same:
        return "pass", "none outside the secrets backend that both sides share"
    masked = {key for key in same if MASK in (ours[key] or "")}
    hidden = f"; Airflow hides the values of {listed(masked)}, so they were not compared" if masked else ""
    return "warn", (
        f"in Airflow's own database, equal on both sides now: {listed(same)}. What one side writes (a "
        f"watermark) the other will not see: move them into the shared secrets backend{hidden}"
    )


def connections(sides: Sides) -> Outcome:
    source, target = sides.source, sides.target
    if source is None:
        return "not checked", NO_OTHER
    if target.connections is None or source.connections is None:
        return "not checked", _why(sides, "connections")
    ours, theirs = _made_by_people(target.connections), _made_by_people(source.connections)
    parts = [
        f"only on {where}: {listed(ids)}"
        for where, ids in ((target.colour, ours - theirs), (source.colour, theirs - ours))
        if ids
    ]
    if parts:
        return "fail", (
            f"in Airflow's own database, {'; '.join(parts)}. Move them into the secrets backend that both "
            "sides share"
        )
    if ours:
        return "warn", (
            f"in Airflow's own database on both sides: {listed(ours)}. What is in them was not compared: "
            "move them into the shared secrets backend"
        )
    return "pass", "none outside the secrets backend that both sides share"


def _made_by_people(ids: Collection[str]) -> set[str]:
    return {one for one in ids if not one.endswith("_default") and one not in OWN_CONNECTIONS}


def _why(sides: Sides, field: str) -> str:
    """Why one side's `field` is not there."""
    both = (side for side in (sides.target, sides.source) if side is not None)
    return next(side.not_checked[field] for side in both if field in side.not_checked)


def paused_apart(source: Mapping[str, Dag], target: Mapping[str, Dag]) -> set[str]:
    """The DAGs on both sides whose pause state differs."""
    both = source.keys() & target.keys()
    return {dag_id for dag_id in both if source[dag_id].paused != target[dag_id].paused}


def different_pools(source: Mapping[str, Pool], target: Mapping[str, Pool]) -> set[str]:
    """The source's pools that the target lacks or has otherwise; what their texts say does not count."""
    return {
        name
        for name, one in source.items()
        if (other := target.get(name)) is None
        or (one.slots, one.include_deferred) != (other.slots, other.include_deferred)
    }
