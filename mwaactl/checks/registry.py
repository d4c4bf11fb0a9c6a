"""The checks before a switch. Each has a name; one that fails stops the switch before anything is written.

A check is a function of the observation of both sides. One that has no answer is `not checked`: shown, but it
does not stop the switch, since the side that the work leaves may be the broken one. A target that does not
answer is itself a failure. A warning informs the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bluegreen.timeline import Colour, Timeline, other_colour

from mwaactl import clock
from mwaactl.checks import both_sides, fenced, gate, plugins, runs, serial, target
from mwaactl.checks.evidence import gather
from mwaactl.checks.observation import Observation, observe
from mwaactl.checks.outcome import Check, Outcome, Sides
from mwaactl.deployment import Deployment
from mwaactl.errors import UsageError
from mwaactl.ownership.reading import newest_owner


@dataclass(frozen=True)
class CheckDefinition:
    """One check; the texts are the rows of the table in docs/checks.md."""

    name: str
    run: Callable[[Sides], Outcome | None]  # None: not applicable to this switch
    fails_if: str
    remedy: str
    warns_if: str = ""


_DEFINITIONS = (
    CheckDefinition(
        target.AVAILABLE_CHECK,
        target.available,
        fails_if="Amazon does not report the target as `AVAILABLE`",
        remedy="wait until it is created or updated",
    ),
    CheckDefinition(
        "target-api",
        target.api,
        fails_if="Airflow on the target does not answer, although its web server is not private",
        remedy="check the web server's log and the permission that the message names",
    ),
    CheckDefinition(
        "target-scheduler",
        target.scheduler,
        fails_if="Airflow reports it as unhealthy, or its last heartbeat is older than 60 s by AWS's clock",
        remedy="check the scheduler's log and, if the ages look wrong, the clocks",
    ),
    CheckDefinition(
        "import-errors",
        target.imports,
        fails_if="the target cannot import a DAG file",
        remedy="fix the file, then `mwaactl dags push`",
    ),
    CheckDefinition(
        "same-dags",
        both_sides.same_dags,
        fails_if="a DAG is on one side only",
        warns_if="only the number of DAGs is known (CloudWatch) and differs",
        remedy="`mwaactl dags push --delete`, then wait until both sides have read the files",
    ),
    CheckDefinition(
        "same-files",
        both_sides.same_files,
        fails_if="a file below the DAGs folder is in one bucket only, or its content differs, or a push of "
        "DAGs has not ended",
        remedy="`mwaactl dags push --delete`",
    ),
    CheckDefinition(
        "same-plugins",
        plugins.check,
        fails_if="the `plugins.zip` that is deployed on one side is missing, or not that of the other side",
        remedy="`mwaactl rollout`",
    ),
    CheckDefinition(
        "pause-state",
        both_sides.pause_state,
        fails_if="a DAG is paused on one side only",
        remedy="`--sync` copies the source's pause state to the target",
    ),
    CheckDefinition(
        "pools",
        both_sides.pools,
        fails_if="the target lacks a pool of the source, or the number of slots differs",
        remedy="`--sync` copies the source's pools; pools that only the target has stay",
    ),
    CheckDefinition(
        "variables",
        both_sides.variables,
        fails_if="variables in Airflow's own database differ between the sides, such as watermarks",
        warns_if="there are variables in it, and they are equal now",
        remedy="move them into the secrets backend that both sides share, or make them equal",
    ),
    CheckDefinition(
        "connections",
        both_sides.connections,
        fails_if="a connection is in the database of one side only",
        warns_if="a connection is in both databases: the contents are not compared",
        remedy="move them into the shared secrets backend",
    ),
    CheckDefinition(
        "gate",
        gate.check,
        fails_if="a side's probe does not prove that its gate works: it has no run of the last three periods "
        "that the gate skipped, or let run where it is owned; a task was executed without the gate; or the "
        "target executed one of the newest scheduled runs that the source owned",
        warns_if="a layer of the gate is missing in the process of a probe's task",
        remedy="wait for the probe's next run; if it does not come or fails, look for `bluegreen` in the "
        "logs, and check that `plugins.zip` is the deployed one: see [below](#the-proof-of-the-gate)",
    ),
    CheckDefinition(
        "fenced",
        fenced.check,
        fails_if="the target has been fenced since a failover: it may not reach AWS",
        remedy="`mwaactl unfence`, see [recovery](recovery.md)",
    ),
    CheckDefinition(
        "next-runs",
        runs.next_runs,
        fails_if="the next run of an unpaused DAG on the target is more than 60 s overdue: a new environment "
        "with `catchup=True` is still creating (and skipping) its history",
        remedy="wait",
    ),
    CheckDefinition(
        "same-instants",
        runs.same_instants,
        fails_if="a DAG's due instants differ between the sides: next instants in the future that are not "
        "the same, or a `timedelta` that is out of phase; or, if a side is Airflow 2, its runs start before "
        "their data interval ends",
        warns_if="a DAG is `@continuous`",
        remedy="use cron, or a `start_date` from which the `timedelta` counts alike on both: see "
        "[below](#due-instants-that-differ)",
    ),
    CheckDefinition(
        "asset-events",
        runs.asset_events,
        fails_if="on the source, an asset event waits for the rest of its DAG's condition (`a & b`, or a "
        "partition), or an unfinished run is about to send one: the rest may arrive on the target, and "
        "neither side would have all events; or one is left on the target from before, and would let its DAG "
        "run too early",
        remedy="wait until the DAG has run; delete what is left on the target",
    ),
    CheckDefinition(
        "cleared-runs",
        runs.cleared_runs,
        fails_if="never",
        warns_if="on the source, a scheduled run that was cleared has not started yet: it is executed there, "
        "after the switch too",
        remedy="wait until it has started",
    ),
    CheckDefinition(
        "moving-dags",
        both_sides.moving_dags,
        fails_if="with `--dag`: a named DAG is not on both sides in the same pause state",
        remedy="push the DAGs, or add `--sync`; forcing `same-dags` or `pause-state` does not override this",
    ),
    CheckDefinition(
        "cross-dag",
        runs.cross_dag,
        fails_if="with `--dag`: DAGs that depend on each other would be on different sides",
        warns_if="a moving DAG has a task that depends on another DAG and has never run",
        remedy="name both DAGs",
    ),
    CheckDefinition(
        serial.CHECK,
        serial.check,
        fails_if="the source cannot report whether serial DAGs run there",
        remedy="see [switching](switching.md#dags-that-must-not-overlap-themselves)",
    ),
)
CHECKS: Mapping[str, CheckDefinition] = {definition.name: definition for definition in _DEFINITIONS}


def markdown_table() -> str:
    """All checks in their order, as docs/checks.md shows them."""
    rows = [
        ("check", "fails if", "warns if", "what to do"),
        ("--",) * 4,
        *((f"`{check.name}`", check.fails_if, check.warns_if, check.remedy) for check in CHECKS.values()),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def observe_sides(
    deployment: Deployment,
    target: Colour,
    timeline: Timeline | None,
    *,
    dags: tuple[str, ...] = (),
    now: Callable[[], datetime] | None = None,
    observations: Mapping[Colour, Observation] | None = None,
    thorough: bool = True,
    gated_since: datetime | None = None,
) -> Sides:
    """Observe what the checks of a switch to `target` (of `dags` alone, if any are named) need.

    `timeline` is the ownership as Airflow applies it, None if it cannot be read; `now` returns AWS's time
    (None: this machine's); `observations` are those that the caller already has. Not `thorough`: without the
    calls that take one per DAG. `gated_since`: nothing ungated was executed since then, as the caller has
    seen. A service that does not answer is not an error: its fields are not checked.
    Raises UsageError if the stack has no such environment.
    """
    deployment.stack.require(target)
    observations = observations or observe(deployment)
    now = now or clock.now
    evidence = gather(
        deployment,
        observations,
        target,
        timeline,
        dags,
        now=now,
        thorough=thorough,
        gated_since=gated_since,
    )
    return Sides(
        target=observations[target],
        source=observations.get(other_colour(target)),
        dags=dags,
        settled=_settled(timeline, target, observations),
        now=now(),
        evidence=evidence,
    )


def _settled(
    timeline: Timeline | None, target: Colour, observations: Mapping[Colour, Observation]
) -> frozenset[str]:
    if timeline is None:
        return frozenset()
    known_dags = {dag_id for side in observations.values() for dag_id in side.dags or ()}
    return frozenset(dag_id for dag_id in known_dags if newest_owner(timeline, dag_id) == target)


def forced_checks(names: Iterable[str]) -> frozenset[str]:
    """The names of the checks to override; UsageError if there is no such check."""
    forced = frozenset(names)
    unknown = sorted(forced - CHECKS.keys())
    if unknown:
        raise UsageError(
            f"--force: there is no check {', '.join(unknown)}. The checks are {', '.join(CHECKS)}"
        )
    return forced


def run_checks(sides: Sides, forced: Collection[str] = ()) -> tuple[Check, ...]:
    """The outcomes of all checks that apply to this switch, in display order."""
    checks: list[Check] = []
    for name, definition in CHECKS.items():
        outcome = definition.run(sides)
        if outcome is None:
            continue
        result, detail = outcome
        before = next((check.name for check in checks if check.detail == detail), None)
        if result == "not checked" and before is not None:
            detail = f"for the same reason as {before}"
        checks.append(
            Check(name=name, result=result, detail=detail, forced=result == "fail" and name in forced)
        )
    return tuple(checks)
