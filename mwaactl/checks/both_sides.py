"""The checks of what must be the same on both sides: DAGs, files, pools, variables, connections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bluegreen.proof import WRITTEN_DAGS

from mwaactl.airflow.models import Dag, Pool
from mwaactl.checks.outcome import (
    NO_OTHER,
    Outcome,
    Sides,
    colour_of,
    counted,
    differences,
    listed,
    of_both,
)

MASK = "***"  # what Airflow 3 shows instead of a value that may be a secret
# Airflow 2 creates connections of its own (aws_default, ...) in every new database.
OWN_CONNECTIONS = ("airflow_db", "local_mysql")


def same_dags(sides: Sides) -> Outcome:
    dags = of_both(sides, "dags", lambda side: side.dags)
    if isinstance(dags, str):
        return _same_number_of_dags(sides, dags)
    target, source = (side.keys() - WRITTEN_DAGS for side in dags)
    if parts := differences(_only_on(sides, target, source)):
        return "fail", f"{parts}. Upload the same directory to both: mwaactl dags push"
    return "pass", f"the same {counted(len(target), 'DAG')} on both sides"


def _same_number_of_dags(sides: Sides, reason: str) -> Outcome:
    """Compare the numbers of DAGs in CloudWatch, since Airflow does not answer (for `reason`)."""
    numbers = [
        len(side.dags) if side.dags is not None else side.metrics.dags if side.metrics is not None else None
        for side in (sides.target, sides.source)
        if side is not None
    ]
    if len(numbers) < 2 or numbers[0] is None or numbers[1] is None:
        return "not checked", reason
    target, source = numbers
    if target != source:
        return "warn", (
            f"{sides.target.colour} has {counted(numbers[0], 'DAG')} and {colour_of(sides.source)} has "
            f"{numbers[1]}; CloudWatch does not report which"
        )
    return "not checked", (
        f"both have {counted(numbers[0], 'DAG')}, but CloudWatch does not report whether they are the same: "
        f"{reason}"
    )


def same_files(sides: Sides) -> Outcome:
    files = sides.evidence.files
    if sides.source is None:
        return "not checked", NO_OTHER
    if files is None:
        return "not checked", sides.evidence.why_not("files")
    if files.unfinished is not None:
        return "fail", (
            f"{files.unfinished} has not ended. If it is not at work any more, any push finishes it first: "
            "mwaactl dags push"
        )
    parts = differences(
        {
            "different": files.different,
            f"only in {sides.target.colour}'s bucket": files.only_target,
            f"only in {sides.source.colour}'s bucket": files.only_source,
        }
    )
    if parts:
        return "fail", f"{parts}. Upload the same directory to both: mwaactl dags push --delete"
    return "pass", f"{counted(files.same, 'file')} with the same content in both buckets"


def pause_state(sides: Sides) -> Outcome:
    dags = of_both(sides, "dags", lambda side: side.dags)
    if isinstance(dags, str):
        return "not checked", dags
    # A DAG that the target already owns keeps its own state (--sync leaves it alone).
    target, source = (
        {dag_id: dag for dag_id, dag in side.items() if dag_id not in sides.settled} for side in dags
    )
    if parts := differences(_paused_on_one_side(sides, target, source)):
        return "fail", f"{parts}. Add --sync to copy {colour_of(sides.source)}'s pause state"
    paused = sum(dag.paused for dag in target.values())
    return "pass", f"the same on both sides ({counted(paused, 'paused DAG')})"


def moving_dags(sides: Sides) -> Outcome | None:
    """Whether the DAGs that move alone are on both sides in the same pause state; None if all DAGs move.

    Forcing `same-dags` or `pause-state` does not override this.
    """
    if not sides.dags:
        return None
    named = set(sides.dags)
    groups: dict[str, Collection[str]] = {
        f"not on {side.colour}": named - side.dags.keys()
        for side in (sides.target, sides.source)
        if side is not None and side.dags is not None
    }
    dags = of_both(sides, "dags", lambda side: side.dags)
    if not isinstance(dags, str):
        target, source = ({name: side[name] for name in named & side.keys()} for side in dags)
        groups |= _paused_on_one_side(sides, target, source)
    if parts := differences(groups):
        return "fail", parts
    if isinstance(dags, str):
        return "not checked", dags
    return "pass", f"on both sides, in the same pause state: {listed(named)}"


def pools(sides: Sides) -> Outcome:
    both = of_both(sides, "pools", lambda side: side.pools)
    if isinstance(both, str):
        return "not checked", both
    target, source = both
    changed = different_pools(source, target)
    missing = changed - target.keys()
    parts = differences({f"not on {sides.target.colour}": missing, "different size": changed - missing})
    from_colour = colour_of(sides.source)
    if parts:
        return "fail", f"{parts}. Add --sync to copy {from_colour}'s pools"
    return "pass", f"{sides.target.colour} has {from_colour}'s {counted(len(source), 'pool')}"


def variables(sides: Sides) -> Outcome:
    both = of_both(sides, "variables", lambda side: side.variables)
    if isinstance(both, str):
        return "not checked", both
    target, source = both
    common = target.keys() & source.keys()
    same = {key for key in common if target[key] == source[key]}
    if parts := differences({"with different values": common - same, **_only_on(sides, target, source)}):
        return "fail", (
            f"in Airflow's own database, {parts}. Make them equal, or move them into the secrets backend "
            "that both sides share"
        )
    if not same:
        return "pass", "none outside the secrets backend that both sides share"
    masked = {key for key in same if MASK in (target[key] or "")}
    hidden = f"; Airflow hides the values of {listed(masked)}, so they were not compared" if masked else ""
    return "warn", (
        f"in Airflow's own database, equal on both sides now: {listed(same)}. Neither side sees what the "
        f"other writes (such as a watermark): move them into the shared secrets backend{hidden}"
    )


def connections(sides: Sides) -> Outcome:
    both = of_both(sides, "connections", lambda side: side.connections)
    if isinstance(both, str):
        return "not checked", both
    target, source = map(_without_airflows_own, both)
    if parts := differences(_only_on(sides, target, source)):
        return "fail", (
            f"in Airflow's own database, {parts}. Move them into the secrets backend that both sides share"
        )
    if target:
        return "warn", (
            f"in Airflow's own database on both sides: {listed(target)}. Their contents were not compared: "
            "move them into the shared secrets backend"
        )
    return "pass", "none outside the secrets backend that both sides share"


def _without_airflows_own(ids: Collection[str]) -> set[str]:
    return {name for name in ids if not name.endswith("_default") and name not in OWN_CONNECTIONS}


def _only_on(sides: Sides, target: Collection[str], source: Collection[str]) -> dict[str, Collection[str]]:
    return {
        f"only on {sides.target.colour}": set(target) - set(source),
        f"only on {colour_of(sides.source)}": set(source) - set(target),
    }


def _paused_on_one_side(
    sides: Sides, target: Mapping[str, Dag], source: Mapping[str, Dag]
) -> dict[str, Collection[str]]:
    differing = paused_apart(source, target)
    return {
        f"paused on {sides.target.colour} only": {dag_id for dag_id in differing if target[dag_id].paused},
        f"paused on {colour_of(sides.source)} only": {
            dag_id for dag_id in differing if source[dag_id].paused
        },
    }


def paused_apart(source: Mapping[str, Dag], target: Mapping[str, Dag]) -> set[str]:
    """The DAGs on both sides whose pause state differs."""
    both = source.keys() & target.keys()
    return {dag_id for dag_id in both if source[dag_id].paused != target[dag_id].paused}


def different_pools(source: Mapping[str, Pool], target: Mapping[str, Pool]) -> set[str]:
    """The source's pools that are missing or different on the target; descriptions are not compared."""

    def compared(pool: Pool) -> tuple[Any, ...]:
        return pool.slots, pool.include_deferred

    return {
        name
        for name, pool in source.items()
        if name not in target or compared(target[name]) != compared(pool)
    }
