"""What a switch costs under load, with the gate and with the common pattern.

    python -m benchmarks.cutover [SWITCHES]

Two real Airflows run the load of tests/e2e/load and are switched every 17 s, first with this project's gate,
then with the common pattern: each DAG's first task reads "who is active now" from a parameter and skips the
rest, and a switch is a put of that parameter. Prints a Markdown table. Needs an otherwise idle machine for
15 minutes.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from bluegreen.timeline import COLOURS, Colour

from local.home import Home
from mwaactl.deployment import Deployment
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.e2e.load import campaign, report
from tests.e2e.load.decisions import decided, deciding
from tests.e2e.load.ledger import Line
from tests.e2e.load.schedule import CONSUMER, LOADS, PRODUCER
from tests.e2e.load.twins import STACK, Twins

EVERY = 17.0  # seconds between switches: no multiple of a schedule's period
PATIENCE = 60.0  # seconds after which a run that has not completed counts as lost
PROBE = "load_fast"  # due every 3 s: its first run shows when the target took over

Key = tuple[str, datetime]


@dataclass(frozen=True)
class Switch:
    """From which instant the target owns the work, and how long the checks and the write took, in seconds."""

    target: str
    commanded: datetime
    owns_from: datetime
    checking: float | None = None
    writing: float | None = None


@dataclass(frozen=True)
class Result:
    """The counts of one campaign; times in seconds."""

    due: int
    lost: int
    doubled: int
    overlaps: int
    waits: list[float]  # per switch: from the command to the start of the target's first run
    delays: list[float]  # per switch: from that run's due instant to its start
    idle: int  # task processes started on the side that did not execute the run
    switches: list[Switch]


def switch_by_gate(_twins: Twins, colour: Colour) -> Switch:
    """This project's switch. Overrides the checks that fail because the side was active 17 s ago."""
    commanded, started = datetime.now(UTC), time.monotonic()
    deployment = Deployment.open(STACK)
    switch = plan(deployment, colour)
    if not switch.ok:
        failed = [check.name for check in switch.checks if check.stops]
        switch = plan(deployment, colour, force=failed)
    planned = time.monotonic()
    result = carry_out(switch)
    wrote = time.monotonic() - planned
    if result.owns_from is None:
        raise SystemExit(f"the switch to {colour} did nothing: {result}")
    return Switch(colour, commanded, result.owns_from, planned - started, wrote)


def switch_by_parameter(twins: Twins, colour: Colour) -> Switch:
    """The common pattern's switch."""
    commanded = datetime.now(UTC)
    twins.activate(colour)
    return Switch(colour, commanded, datetime.now(UTC))


def measure(folder: Path, pattern: str, switches: int) -> Result:
    """Deploy, start the load, switch, count."""
    switch = switch_by_gate if pattern == "gate" else switch_by_parameter
    twins = Twins(folder / pattern, Home.find().tools)
    try:
        twins.up()
        os.environ.update(twins.env)  # mwaactl's Python API reads it
        if pattern != "gate":
            twins.without_gate()
        since = campaign.begin(twins, pattern=pattern, skew={})
        done: list[Switch] = []
        for number in range(switches):
            began = time.monotonic()
            done.append(switch(twins, COLOURS[(number + 1) % 2]))
            print(f"{pattern}: {done[-1]}", flush=True)
            time.sleep(max(0.0, EVERY - (time.monotonic() - began)))
        owner = _owner(twins) if pattern == "gate" else _anywhere
        until, lines = campaign.end(twins, since, owner, patience=PATIENCE)
        observed = report.see(twins, [load.dag for load in LOADS], since, until)
        worked = {(line.colour, line.dag, line.due) for line in lines if line.what != "asked"}
        idle = sum(i.worked and (i.colour, i.dag, i.due) not in worked for i in observed.instances)
        return _count(lines, done, since, until, idle)
    finally:
        twins.down()


def _owner(twins: Twins) -> Callable[[str, datetime], str | None]:
    decisions = decided(twins.versions(), timedelta(seconds=twins.outputs["switch_lead_seconds"]))
    return lambda dag, due: deciding(decisions, dag, due).owner


def _anywhere(_dag: str, _due: datetime) -> None:
    """Without the gate no instant has an owner."""


def _count(lines: list[Line], switches: list[Switch], since: datetime, until: datetime, idle: int) -> Result:
    worked = [line for line in lines if line.what != "asked"]
    sides: dict[Key, set[str]] = defaultdict(set)  # where a run was executed, in part or as a whole
    done: dict[Key, set[tuple[str, int, str]]] = defaultdict(set)
    for line in worked:
        sides[line.dag, line.due].add(line.colour)
        if line.what == "done":
            done[line.dag, line.due].add((line.task, line.map, line.colour))
    due = [(load, instant) for load in LOADS for instant in load.due(since, until)]
    lost = doubled = 0
    for of, instant in due:
        key = (of.dag, instant)
        complete = any(all((*task, colour) in done[key] for task in of.tasks) for colour in COLOURS)
        lost += not complete
        doubled += len(sides[key]) > 1
    followers: dict[str, int] = defaultdict(int)
    for line in worked:
        if line.dag == CONSUMER and line.what == "done":
            for cause in line.causes:
                followers[cause] += 1
    firsts = [(switch, run) for switch in switches if (run := _first(switch, worked)) is not None]
    produced = {x.run for x in worked if x.dag == PRODUCER and x.what == "done" and since <= x.due < until}
    return Result(
        due=len(due) + len(produced),
        lost=lost + sum(followers[run] == 0 for run in produced),
        doubled=doubled + sum(followers[run] > 1 for run in produced),
        overlaps=sum(_overlaps(load.dag, worked, since, until) for load in LOADS if load.serial),
        waits=[(run.at - switch.commanded).total_seconds() for switch, run in firsts],
        delays=[(run.at - run.due).total_seconds() for _, run in firsts],
        idle=idle,
        switches=switches,
    )


def _overlaps(dag: str, lines: Iterable[Line], since: datetime, until: datetime) -> int:
    """How many runs of a serial DAG started while another run was still going on."""
    spans: dict[datetime, list[datetime]] = defaultdict(list)
    for line in lines:
        if line.dag == dag and since <= line.due < until:
            spans[line.due].append(line.at)
    ordered = sorted((min(at), max(at)) for at in spans.values())
    return sum(later[0] < earlier[1] for earlier, later in pairwise(ordered))


def _first(switch: Switch, lines: Iterable[Line]) -> Line | None:
    """The start of PROBE's first run that the target owned after a switch; None if there was none."""
    starts = [
        line
        for line in lines
        if line.dag == PROBE and line.what == "start" and line.colour == switch.target
        if switch.owns_from <= line.due < switch.owns_from + timedelta(seconds=EVERY)
    ]
    return min(starts, key=lambda line: (line.due, line.at), default=None)


def _median(times: Iterable[float | None]) -> str:
    known = [seconds for seconds in times if seconds is not None]
    return f"{statistics.median(known):.1f} s (max {max(known):.1f})" if known else "-"


def table(gate: Result, ask: Result, switches: int) -> str:
    """The figures as Markdown."""
    rows = [
        ("runs due", *(str(r.due) for r in (gate, ask))),
        ("lost", *(str(r.lost) for r in (gate, ask))),
        ("executed by both", *(str(r.doubled) for r in (gate, ask))),
        ("serial runs that overlapped", *(str(r.overlaps) for r in (gate, ask))),
        ("first run on the target, due to start, median", *(_median(r.delays) for r in (gate, ask))),
        ("first run on the target, command to start, median", *(_median(r.waits) for r in (gate, ask))),
        ("task processes started on the standby", *(str(r.idle) for r in (gate, ask))),
        ("checks before a switch, median", _median(switch.checking for switch in gate.switches), "none"),
        ("the switch itself, median", _median(switch.writing for switch in gate.switches), "one put"),
    ]
    lines = [f"| {switches} switches under load | this gate | each DAG asks first |", "|---|---|---|"]
    return "\n".join(lines + [f"| {name} | {a} | {b} |" for name, a, b in rows])


def main() -> None:
    switches = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    os.environ["MWAA_LOCAL_TOOLS"] = str(Home.find().tools)
    with tempfile.TemporaryDirectory(prefix="cutover-benchmark-", ignore_cleanup_errors=True) as folder:
        gate, ask = (measure(Path(folder), pattern, switches) for pattern in ("gate", "ask"))
    print(table(gate, ask, switches))


if __name__ == "__main__":
    main()
