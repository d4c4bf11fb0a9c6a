"""What became of a load: the runs of `dags/load_factory.py` on both sides of a stack, summed up.

    python -m benchmarks.soak STACK [--since 2h] [--dags load_] [-o soak.md]

Reads a deployed stack, as `mwaactl audit` does (the permissions of its document `read` are enough), and
writes Markdown: counts, states, the distribution of latencies, what changed over time, and what the audit
says of these DAGs. Start the load before (docs/lineage.md, "A load"), and let it end first.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mwaactl import clock
from mwaactl.airflow.models import Run, TaskInstance
from mwaactl.cli.times import past
from mwaactl.deployment import Deployment
from mwaactl.errors import ControlError
from mwaactl.json_model import iso
from mwaactl.recovery.audit import Audit, audit_with_records
from mwaactl.recovery.records import Records
from mwaactl.recovery.verdict import Finding

PARTS = 6  # of the window: does it get slower with time?
SHARES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Execution:
    """A run on the side that executed it; seconds after its due instant, and from its start to its end."""

    side: str
    due: datetime
    state: str
    start: float | None  # of its first task
    end: float | None
    took: float | None


@dataclass(frozen=True)
class Soak:
    """`runs` and `tasks`: by side and state. `mirrors`: runs that a side skipped, by side."""

    stack: str
    since: datetime
    until: datetime
    dags: int
    due: int  # (DAG, instant) pairs
    runs: Mapping[str, Counter[str]]
    tasks: Mapping[str, Counter[str]]
    retried: int
    mirrors: Counter[str]
    executions: Sequence[Execution]
    findings: Sequence[Finding]
    passed_over: int
    unknown: int


def summed(records: Records, report: Audit, prefix: str) -> Soak:
    """The runs of the DAGs whose names begin with `prefix`."""
    runs: dict[str, Counter[str]] = {}
    tasks: dict[str, Counter[str]] = {}
    mirrors: Counter[str] = Counter()
    executions: list[Execution] = []
    retried = 0
    for colour, side in records.sides.items():
        runs[colour], tasks[colour] = Counter(), Counter()
        for (dag_id, due), run in side.runs.items():
            if not dag_id.startswith(prefix):
                continue
            worked = [each for each in side.tasks.get(run.key, ()) if each.executed]
            if run.finished and not worked:
                mirrors[colour] += 1
                continue
            runs[colour][run.state] += 1
            tasks[colour].update(each.state or "none" for each in worked)
            retried += sum(each.tries > 1 for each in worked)
            executions.append(_execution(colour, due, run, worked))
    keys = {key for key in records.keys if key[0].startswith(prefix)}
    return Soak(
        stack=report.stack,
        since=report.since,
        until=report.until,
        dags=len({dag_id for dag_id, _ in keys}),
        due=len(keys),
        runs=runs,
        tasks=tasks,
        retried=retried,
        mirrors=mirrors,
        executions=sorted(executions, key=lambda each: each.due),
        findings=[each for each in report.findings if each.dag_id.startswith(prefix)],
        passed_over=report.passed_over,
        unknown=len(report.unknown),
    )


def _execution(colour: str, due: datetime, run: Run, worked: Sequence[TaskInstance]) -> Execution:
    starts = [each.start for each in worked if each.start is not None]
    end = run.end if run.finished else None

    def after(instant: datetime | None, begin: datetime | None) -> float | None:
        return None if instant is None or begin is None else (instant - begin).total_seconds()

    return Execution(
        side=colour,
        due=due,
        state=run.state,
        start=after(min(starts, default=None), due),
        end=after(end, due),
        took=after(end, run.start),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by that share of them, which must not be none."""
    ordered = sorted(values)
    return ordered[math.ceil(round(share * len(ordered), 6)) - 1]


def markdown(soak: Soak) -> Iterator[str]:
    """The report, line by line."""
    minutes = (soak.until - soak.since).total_seconds() / 60
    yield f"# Soak report: {soak.stack}"
    yield ""
    yield f"{iso(soak.since)} to {iso(soak.until)}, {minutes:.0f} minutes:"
    yield ""
    counts = {
        "DAGs": soak.dags,
        "runs due": soak.due,
        "executed": len(soak.executions),
        "skipped mirrors": sum(soak.mirrors.values()),
        "tasks that were tried more than once": soak.retried,
    }
    yield from (f"- {count} {what}" for what, count in counts.items())
    yield from _states(soak)
    yield from _latencies(soak)
    yield from _parts(soak)
    yield from _findings(soak)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    for row in (head, ["--"] * len(head), *rows):
        yield f"| {' | '.join(map(str, row))} |"


def _states(soak: Soak) -> Iterator[str]:
    yield from ("", "## States", "")
    rows = [
        (side, what, state, count)
        for side in soak.runs
        for what, counts in (("runs", soak.runs[side]), ("tasks", soak.tasks[side]))
        for state, count in sorted(counts.items())
    ]
    rows += [(side, "runs", "skipped mirrors", count) for side, count in sorted(soak.mirrors.items())]
    yield from _table(("side", "of", "state", "count"), rows)


MEASURES: Mapping[str, Callable[[Execution], float | None]] = {
    "due to the start of the first task": lambda each: each.start,
    "start to end of the run": lambda each: each.took,
    "due to the end of the run": lambda each: each.end,
}


def _latencies(soak: Soak) -> Iterator[str]:
    yield from ("", "## Latencies", "", "In seconds, of what was executed.", "")
    head = ("from", "runs", "least", *(f"{share:.0%}" for share in SHARES), "most")
    rows = []
    for name, measure in MEASURES.items():
        values = [value for each in soak.executions if (value := measure(each)) is not None]
        rows.append((name, len(values), *_distribution(values)))
    yield from _table(head, rows)


def _distribution(values: Sequence[float]) -> list[str]:
    if not values:
        return ["-"] * (len(SHARES) + 2)
    return [f"{value:.1f}" for value in (min(values), *(percentile(values, s) for s in SHARES), max(values))]


def _parts(soak: Soak) -> Iterator[str]:
    yield from ("", "## Over time", "", "Due to the start of the first task, in seconds.", "")
    length = (soak.until - soak.since) / PARTS
    rows = []
    for part in range(PARTS):
        begin = soak.since + part * length
        within = [each for each in soak.executions if begin <= each.due < begin + length]
        values = [each.start for each in within if each.start is not None]
        _, median, *_, most = _distribution(values)
        sides = ", ".join(
            f"{side} {count}" for side, count in sorted(Counter(e.side for e in within).items())
        )
        failed = sum(each.state == "failed" for each in within)
        rows.append((iso(begin), sides or "-", failed, median, most))
    yield from _table(("from", "executed on", "failed", "median", "most"), rows)


def _findings(soak: Soak) -> Iterator[str]:
    yield from ("", "## Exactly once", "")
    if not soak.findings:
        yield "The audit has no finding: each run was executed once, by its owner."
    else:
        rows = [(each.kind, each.dag_id, iso(each.due), each.detail) for each in soak.findings]
        yield from _table(("finding", "DAG", "due", "detail"), rows)
    yield ""
    yield f"Of all DAGs: {soak.passed_over} runs passed over by Airflow itself, {soak.unknown} unknown."


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; the exit code is 1 if a run was not executed exactly once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n")[0])
    parser.add_argument("stack")
    parser.add_argument("--since", default="2h", metavar="AGO|INSTANT", help="default: %(default)s")
    parser.add_argument("--dags", default="load_", metavar="PREFIX", help="default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    options = parser.parse_args(arguments)
    now = clock.now()
    try:
        since = past(options.since, now, "--since")
        report, records = audit_with_records(Deployment.open(options.stack), since=since, until=now)
    except ControlError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    soak = summed(records, report, options.dags)
    text = "\n".join([*markdown(soak), ""])
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text)
    return 1 if soak.findings else 0


if __name__ == "__main__":
    sys.exit(main())
