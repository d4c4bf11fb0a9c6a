"""How the audit and a failover look in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bluegreen.settings import MAX_AGE
from bluegreen.timeline import Colour, other_colour
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl.json_model import iso
from mwaactl.recovery.at_work import AtWork, AtWorkReport, Fate
from mwaactl.recovery.audit import Audit
from mwaactl.recovery.completed_runs import WindowReport
from mwaactl.recovery.failover import FailoverPlan, FailoverResult
from mwaactl.recovery.verdict import Finding
from mwaactl.screens.common import print_note, remainder, show_checks, show_ungated

SHOWN = 20  # rows: what an operator decides upon
KINDS = {
    "both": "executed by both",
    "nobody": "not executed",
    "wrong side": "executed by the wrong side",
    "left unfinished": "left unfinished",
}


def show_audit(console: Console, report: Audit) -> None:
    for colour, why in report.by_lineage.items():
        _print(
            console,
            f"{colour} does not answer ({why}). Its runs are taken from the lineage log, which may be "
            "incomplete.",
            "yellow",
        )
    for note in report.notes:
        print_note(console, note)
    for colour in report.fenced:
        print_note(
            console, f"{colour} is fenced since a failover: mwaactl unfence {colour} -s {report.stack}"
        )
    counts = f"{report.unfinished} unfinished, {report.failed} failed"
    if report.by_lineage or report.unknown:
        counts += f", {len(report.unknown)} unknown"
    if report.passed_over:
        counts += f", {report.passed_over} passed over by Airflow itself"
    _print(
        console,
        f"{report.instants} runs due from {iso(report.since)} to {iso(report.until)}: {counts}, "
        f"{len(report.findings)} findings.",
    )
    named = [f"unknown: {run.dag_id} due {iso(run.due)}" for run in report.unknown[:SHOWN]]
    for line in [*named, *remainder(report.unknown, SHOWN)]:
        _print(console, f"  {line}")
    if report.findings:
        _show_findings(console, report.findings, report.backfilled)
    show_ungated(console, report.ungated, SHOWN)
    for failure in report.not_backfilled:
        _print(console, f"Not backfilled: {failure.dag_id} due {iso(failure.due)}: {failure.reason}", "red")
    possible = sum(finding.backfill_on is not None for finding in report.open)
    if possible and not report.backfilled:
        _print(console, f"To execute {possible} of them now: mwaactl audit --backfill -s {report.stack}")


def _show_findings(console: Console, findings: Sequence[Finding], backfilled: Sequence[Finding]) -> None:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for title in ("finding", "DAG", "due", "owner", "runs", "why", ""):
        table.add_column(title, overflow="fold")
    for finding in findings[:SHOWN]:
        table.add_row(
            Text(KINDS[finding.kind], style="red"),
            Text(finding.dag_id),
            iso(finding.due),
            Text(finding.owner or "none", style=finding.owner or ""),
            ", ".join(f"{colour} {state}" for colour, state in sorted(finding.runs.items())),
            Text(finding.detail),
            Text("started" if finding in backfilled else "", style="green"),
        )
    console.print(table)
    for line in remainder(findings, SHOWN):
        _print(console, line)


def show_plan(console: Console, plan: FailoverPlan) -> None:
    show_checks(console, plan.checks)
    end = iso(plan.until) if plan.until else "the switch"
    _print(
        console,
        f"{plan.target} will own what is due from {iso(plan.since)} on; {plan.source} keeps what was due "
        f"earlier. Runs due between then and {end}:",
    )
    if plan.window is not None:
        _show_window(console, plan.window, plan.target)
    if plan.at_work is not None:
        _show_at_work(console, plan.at_work, plan.target)


def _show_window(console: Console, window: WindowReport, target: Colour) -> None:
    source = other_colour(target)
    for witness, why in window.silent.items():
        _print(console, f"  {witness} cannot report what {source} completed: {why}", "yellow")
    counts = (
        (f"to rerun on {target}", "rerun"),
        (f"completed on {source}{_known_by(window)}: not rerun", "completed"),
        (f"running on {target}", "running"),
        (f"already done on {target}", "done"),
    )
    for text, fate in counts:
        runs = tuple(run for run in window.runs if run.fate == fate)
        _print(console, f"  {len(runs):>4} {text}")
        if fate == "rerun":
            _list(console, [f"{run.dag_id}, due {iso(run.due)}" for run in runs])
    if window.completion_uncertain and window.having("rerun"):
        _print(console, f"  A rerun may repeat completed work: {_doubt(window, target)}.", "yellow")


def _show_at_work(console: Console, report: AtWorkReport, target: Colour) -> None:
    source = other_colour(target)
    if report.known_by is None:
        _print(console, f"Nothing reports what else {source} had at work.", "yellow")
        return
    _print(console, f"Beside these, {source} had {len(report.runs)} runs at work, by {report.known_by}:")
    fates: tuple[tuple[str, Fate], ...] = (
        (f"to run again on {target}", "rerun"),
        (f"triggered again on {target}", "follows"),
        (f"taken over by {target} already", "taken over"),
        ("left to you", "by hand"),
    )
    for text, fate in fates:
        runs = report.having(fate)
        if runs:
            _print(console, f"  {len(runs):>4} {text}")
            if fate != "taken over":
                _list(console, [f"{run.dag_id} {run.run_id}{_because(run)}" for run in runs])


def _because(run: AtWork) -> str:
    return f": {run.detail}" if run.detail else ""


def show_failover(console: Console, result: FailoverResult, stack: str) -> None:
    for note in result.notes:
        print_note(console, note)
    if result.dry_run:
        _print(console, "Nothing was written. To carry it out, repeat the command without --dry-run.")
        return
    target, source = result.target, other_colour(result.target)
    received = (
        f", {result.mirrored.copied} mirrors received {source}'s final states" if result.mirrored else ""
    )
    count = len(result.rerun) + len(result.rerun_at_work)
    _print(
        console,
        f"{target} owns every scheduled run that is due from {iso(result.since)} on (version "
        f"{result.version}). {count} runs are being rerun{received}. To watch them: "
        f"mwaactl status -s {stack}",
    )
    if result.completion_uncertain and result.rerun:
        _print(
            console,
            f"At least once, not exactly once: {_doubt(result.window, target)}. Once {source} answers again, "
            f"list what both executed: mwaactl audit -s {stack}",
            "yellow",
        )
    if result.fenced:
        _print(
            console,
            f"{source} is fenced. To let it work again: mwaactl unfence {source} -s {stack}",
            "yellow",
        )
    if not result.waited:
        soon = MAX_AGE.total_seconds() + 60
        _print(
            console,
            f"Some processes may still act on an older ownership. Repeat the command in {soon:.0f} s: "
            f"mwaactl failover {target} -s {stack}",
            "yellow",
        )


def _doubt(window: WindowReport | None, target: Colour) -> str:
    if window is None or not window.witnesses:
        return f"nothing reports what {other_colour(target)} completed"
    return f"{', '.join(window.witnesses)} does not show these runs as completed, but may be incomplete"


def _known_by(window: WindowReport) -> str:
    counts = Counter(run.known_by for run in window.having("completed") if run.known_by)
    parts = ", ".join(f"{count} by {name}" for name, count in sorted(counts.items()))
    return f" ({parts})" if parts else ""


def _list(console: Console, lines: Sequence[str]) -> None:
    for line in [*lines[:SHOWN], *remainder(lines, SHOWN)]:
        _print(console, f"         {line}")


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True, style=style)
