"""How the audit and a failover look in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl.json_model import iso
from mwaactl.recovery.audit import Audit
from mwaactl.recovery.completed_runs import DueRun, WindowReport
from mwaactl.recovery.failover import FailoverPlan, FailoverResult
from mwaactl.screens.common import show_checks

SHOWN = 20  # rows of a listing before the rest is counted
KINDS = {
    "both": "executed by both",
    "nobody": "executed by nobody",
    "wrong side": "executed by the wrong side",
}


def show_audit(console: Console, seen: Audit) -> None:
    for colour, why in seen.by_lineage.items():
        _say(
            console,
            f"{colour} does not answer ({why}). Its runs are taken from the lineage log, which need not know "
            "of every run.",
            "yellow",
        )
    counts = f"{seen.unfinished} unfinished, {seen.failed} failed"
    if seen.by_lineage:
        counts += f", {seen.unknown} unknown"
    _say(
        console,
        f"{seen.instants} runs due from {iso(seen.since)} to {iso(seen.until)}: {counts}, "
        f"{len(seen.findings)} findings.",
    )
    if seen.findings:
        table = Table(show_edge=False, pad_edge=False, header_style="bold")
        for title in ("what", "DAG", "due", "owner", "runs", "why", ""):
            table.add_column(title, overflow="fold")
        for one in seen.findings[:SHOWN]:
            table.add_row(
                Text(KINDS[one.kind], style="red"),
                Text(one.dag_id),
                iso(one.due),
                Text(one.owner, style=one.owner),
                ", ".join(f"{colour} {state}" for colour, state in sorted(one.runs.items())),
                Text(one.detail),
                Text("started" if one in seen.backfilled else "", style="green"),
            )
        console.print(table)
        _rest(console, seen.findings)
    for failure in seen.not_backfilled:
        _say(console, f"Not backfilled: {failure.dag_id} due {iso(failure.due)}: {failure.reason}", "red")
    possible = sum(one.backfill_on is not None for one in seen.open)
    if possible and not seen.backfilled:
        _say(console, f"To execute {possible} of them now: mwaactl audit --backfill -s {seen.stack}")


def show_plan(console: Console, made: FailoverPlan) -> None:
    show_checks(console, made.checks)
    end = iso(made.until) if made.until else "the switch"
    _say(
        console,
        f"{made.target} will own what is due from {iso(made.since)} on, {made.source} what was due before. "
        f"Runs due from then to {end}:",
    )
    if made.look is not None:
        _show_look(console, made.look, made.target, made.source)


def show_failover(console: Console, done: FailoverResult, stack: str) -> None:
    for note in done.notes:
        _say(console, f"Note: {note}", "yellow")
    if done.dry_run:
        _say(console, "Nothing was written.")
        return
    _say(
        console,
        f"{done.target} owns every scheduled run that is due from {iso(done.since)} on (version "
        f"{done.version}). {len(done.again)} runs are executed again"
        + (f", {done.mirrored.copied} mirrors were made true" if done.mirrored else "")
        + f". See them: mwaactl status -s {stack}",
    )
    if done.unknown and done.again:
        _say(
            console,
            f"At least once, not exactly once: {_doubt(done.look)}. When the old side answers again: "
            f"mwaactl audit -s {stack}",
            "yellow",
        )
    if done.fenced:
        old = "green" if done.target == "blue" else "blue"
        _say(
            console, f"{old} is fenced. Before it may work again: mwaactl unfence {old} -s {stack}", "yellow"
        )
    if not done.waited:
        _say(console, f"It was not waited. In 6 minutes: mwaactl failover {done.target} -s {stack}", "yellow")


def _show_look(console: Console, look: WindowReport, target: str, source: str) -> None:
    for witness, why in look.silent.items():
        _say(console, f"  {witness} cannot say what {source} completed: {why}", "yellow")
    counts = (
        ("executed again on " + target, "again"),
        (f"completed on {source}{_known_by(look)}: not executed again", "completed"),
        ("being executed on " + target, "running"),
        ("nothing to do", "done"),
    )
    for text, fate in counts:
        runs = tuple(run for run in look.runs if run.fate == fate)
        _say(console, f"  {len(runs):>4} {text}")
        if fate == "again":
            _list(console, runs)
    if look.having("again") and look.unknown:
        _say(console, f"  What is executed again may be a second time: {_doubt(look)}.", "yellow")


def _doubt(look: WindowReport | None) -> str:
    if look is None or not look.witnesses:
        return "what of it was completed is unknown"
    return f"{', '.join(look.witnesses)} does not know it as completed, but need not know of every run"


def _known_by(look: WindowReport) -> str:
    by = Counter(run.known_by for run in look.having("completed") if run.known_by)
    return f" ({', '.join(f'{count} by {name}' for name, count in sorted(by.items()))})" if by else ""


def _list(console: Console, runs: Sequence[DueRun]) -> None:
    for run in runs[:SHOWN]:
        _say(console, f"         {run.dag_id}, due {iso(run.due)}")
    _rest(console, runs)


def _rest(console: Console, items: Sequence[object]) -> None:
    if len(items) > SHOWN:
        _say(console, f"         and {len(items) - SHOWN} more (--json shows all)")


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True, style=style)
