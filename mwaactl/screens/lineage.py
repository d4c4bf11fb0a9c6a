"""How the lineage log looks in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl import clock
from mwaactl.json_model import iso
from mwaactl.lineage.replay import SHOWN, RefusedEvent, ReplayResult
from mwaactl.lineage.set_aside import RetryResult, SetAsideList
from mwaactl.lineage.status import CheckpointStatus, LineageStatus

BAR = 40  # characters


def show_status(console: Console, status: LineageStatus) -> None:
    _print(
        console, f"[bold]s3://{escape(status.bucket)}[/]  {status.events} events since {iso(status.since)}"
    )
    most = max((hour.events for hour in status.hours), default=0)
    for hour in status.hours:
        if hour.events:
            bar = "█" * max(1, round(BAR * hour.events / most))
            _print(console, f"  {hour.hour:%Y-%m-%d %H:00}  {hour.events:>7}  [cyan]{bar}[/]")
    if status.checkpoints:
        console.print()
        console.print(_checkpoints(status))
    elif not status.lacks:
        _print(console, "\n[yellow]No forwarder has started yet[/]: the log has no checkpoint")
    _print(console, f"\nset aside  {_set_aside(status)}")
    for sink, count in status.set_aside_by_sink.items():
        where = f"s3://{status.bucket}/sinks/{sink}/"
        _print(
            console,
            f"           [yellow]{count}[/] by the sink {escape(sink)}: aws s3 ls --recursive {where}",
        )
    health = status.back_end
    if health is None:
        _print(console, f"back end   none: {escape(status.lacks)}")
        return
    colour = {True: "green", False: "red", None: "yellow"}[health.healthy]
    _print(console, f"back end   {escape(health.url)}  [{colour}]{escape(health.detail)}[/]")


def show_replay(console: Console, result: ReplayResult) -> None:
    window = escape(f"s3://{result.bucket}, {iso(result.since)} to {iso(result.until)}")
    of = escape(f" of namespace {result.namespace}") if result.namespace else ""
    if not result.events:
        _print(console, f"There are no events{of} in {window}.")
        return
    if result.dry_run:
        _print(console, f"Would post {result.events} events{of} ({window}) to {escape(result.to)}.")
        return
    rate = f", {result.posted / result.seconds:.0f} a second" if result.seconds and not result.resumed else ""
    before = ", including those posted before the interruption" if result.resumed else ""
    _print(
        console,
        f"Posted {result.posted} of {result.events} events{of} ({window}) to {escape(result.to)} "
        f"in {result.seconds:g} s{rate}{before}.",
    )
    _print_refused(console, result.refusals, result.refused)


def show_set_aside(console: Console, listed: SetAsideList) -> None:
    if not listed.total:
        _print_nothing(console, listed.bucket)
        return
    table = _table("set aside", "key", "reason")
    for event in listed.events:
        table.add_row(iso(event.when), Text(event.key), Text(event.reason))
    console.print(table)
    if listed.total > len(listed.events):
        _print(console, f"and {listed.total - len(listed.events)} more (--limit)")


def show_retry(console: Console, result: RetryResult) -> None:
    if not result.posted and not result.refusals:
        _print_nothing(console, result.bucket)
        return
    verb = "Would post" if result.dry_run else "Posted"
    _print(console, f"{verb} {len(result.posted)} events that were set aside to {escape(result.to)}.")
    _print_refused(console, result.refusals[:SHOWN], len(result.refusals))


def _checkpoints(status: LineageStatus) -> Table:
    table = _table("checkpoint", "forwarder", "forwarded up to", "waiting", "to retry", "lag")
    for checkpoint in status.checkpoints:
        forwarded_to = checkpoint.forwarded_to
        table.add_row(
            Text(checkpoint.key),
            _forwarder(checkpoint),
            "nothing yet" if forwarded_to is None else iso(forwarded_to),
            f"{checkpoint.waiting}{'+' if checkpoint.more_waiting else ''}",
            str(checkpoint.suspects),
            f"{checkpoint.lag_seconds:g} s",
        )
    return table


def _forwarder(checkpoint: CheckpointStatus) -> Text:
    if checkpoint.holder is None:
        return Text("none running", style="yellow")
    saved_at = checkpoint.saved_at
    age = "" if saved_at is None else f", saved {(clock.now() - saved_at).total_seconds():.0f} s ago"
    return Text(f"{checkpoint.holder}{age}", style="red" if checkpoint.silent else "green")


def _set_aside(status: LineageStatus) -> str:
    if not status.set_aside:
        return "nothing"
    return f"[yellow]{status.set_aside}[/]: mwaactl lineage set-aside list -s {escape(status.stack)}"


def _print_refused(console: Console, events: tuple[RefusedEvent, ...], total: int) -> None:
    for event in events:
        _print(console, f"  [red]refused[/] {escape(event.key)}: {escape(event.reason)}")
    if total > len(events):
        _print(console, f"  and {total - len(events)} more")


def _print_nothing(console: Console, bucket: str) -> None:
    _print(console, f"Nothing is set aside in s3://{escape(bucket)}.")


def _table(*titles: str) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
