"""How the lineage log looks in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mwaactl import clock
from mwaactl.json_model import iso
from mwaactl.lineage.replay import SHOWN, Refused, Replayed, Retried
from mwaactl.lineage.status import LineageStatus, PlaceSeen, SetAsideList

BAR = 40  # characters


def show_status(console: Console, seen: LineageStatus) -> None:
    _say(console, f"[bold]s3://{escape(seen.bucket)}[/]  {seen.events} events since {iso(seen.since)}")
    most = max((hour.events for hour in seen.hours), default=0)
    for hour in seen.hours:
        if hour.events:
            bar = "█" * max(1, round(BAR * hour.events / most))
            _say(console, f"  {hour.hour:%Y-%m-%d %H:00}  {hour.events:>7}  [cyan]{bar}[/]")
    if seen.places:
        console.print()
        console.print(_places(seen))
    else:
        _say(console, "\n[yellow]Nobody has forwarded yet[/]: the log has no place of any back end")
    _say(console, f"\nset aside  {_count_aside(seen)}")
    health = seen.back_end
    colour = {True: "green", False: "red", None: "yellow"}[health.healthy]
    _say(console, f"back end   {escape(health.url)}  [{colour}]{escape(health.detail)}[/]")


def show_replayed(console: Console, done: Replayed) -> None:
    where = f"s3://{done.bucket}, {iso(done.since)} to {iso(done.until)}"
    of = f" of namespace {done.namespace}" if done.namespace else ""
    if not done.events:
        _say(console, f"There are no events{escape(of)} in {escape(where)}.")
        return
    if done.dry_run:
        _say(console, f"Would post {done.events} events{escape(of)} ({escape(where)}) to {escape(done.to)}.")
        return
    rate = f", {done.posted / done.seconds:.0f} a second" if done.seconds and not done.resumed else ""
    _say(
        console,
        f"Posted {done.posted} of {done.events} events{escape(of)} ({escape(where)}) to {escape(done.to)} "
        f"in {done.seconds:g} s{rate}{', with what was posted before' if done.resumed else ''}.",
    )
    _refused(console, done.refusals, done.refused)


def show_set_aside(console: Console, seen: SetAsideList) -> None:
    if not seen.total:
        _say(console, f"Nothing is set aside in s3://{escape(seen.bucket)}.")
        return
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for title in ("set aside", "key", "why"):
        table.add_column(title, overflow="fold")
    for one in seen.events:
        table.add_row(iso(one.when), Text(one.key), Text(one.reason))
    console.print(table)
    if seen.total > len(seen.events):
        _say(console, f"and {seen.total - len(seen.events)} more (--limit)")


def show_retried(console: Console, done: Retried) -> None:
    if not done.posted and not done.left:
        _say(console, f"Nothing is set aside in s3://{escape(done.bucket)}.")
        return
    verb = "Would post" if done.dry_run else "Posted"
    _say(console, f"{verb} {len(done.posted)} events that were set aside to {escape(done.to)}.")
    _refused(console, done.left[:SHOWN], len(done.left))


def _places(seen: LineageStatus) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for title in ("place", "forwarder", "told up to", "waiting", "to try again", "behind"):
        table.add_column(title, overflow="fold")
    for place in seen.places:
        table.add_row(
            Text(place.key),
            _forwarder(place),
            "the log's start" if place.up_to is None else iso(place.up_to),
            f"{place.waiting}{'+' if place.more_waiting else ''}",
            str(place.suspects),
            f"{place.behind_seconds:g} s",
        )
    return table


def _forwarder(place: PlaceSeen) -> Text:
    if place.holder is None:
        return Text("nobody", style="yellow")
    age = "" if place.kept is None else f", {(clock.now() - place.kept).total_seconds():.0f} s ago"
    return Text(f"{place.holder}{age}", style="red" if place.silent else "green")


def _count_aside(seen: LineageStatus) -> str:
    if not seen.set_aside:
        return "nothing"
    return f"[yellow]{seen.set_aside}[/]: mwaactl lineage set-aside list -s {escape(seen.stack)}"


def _refused(console: Console, refused: tuple[Refused, ...], total: int) -> None:
    for one in refused:
        _say(console, f"  [red]refused[/] {escape(one.key)}: {escape(one.reason)}")
    if total > len(refused):
        _say(console, f"  and {total - len(refused)} more")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
