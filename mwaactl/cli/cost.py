"""The commands that say what a stack costs, and how long a change of it takes. They call nothing of AWS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, JsonOption, number
from mwaactl.cli.session import busy, session
from mwaactl.errors import UsageError

ModesArgument = Annotated[list[str] | None, typer.Argument(help="Modes; default: all four.", metavar="MODE")]
StackOption = Annotated[
    str | None,
    typer.Option(
        "--stack",
        "-s",
        help="This stack instead: as deployed, as its settings say, and with --set.",
        metavar="STACK",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="With another setting, like nat=single or green.environment_class=mw1.micro; may be repeated.",
        metavar="KEY=VALUE",
    ),
]
PricesOption = Annotated[
    Path | None, typer.Option("--prices", help="Another table of prices.", metavar="FILE")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `mwaactl`."""
    app.command(short_help="Show what the modes, or a stack, cost a month.")(cost)
    app.command(short_help="Show how long a deployment or a change takes.")(plan_time)


def _amount(flag: str, text: str, least: float = 0) -> typer.models.OptionInfo:
    return number(flag, text, "N", least, sys.float_info.max, "a number that a bill can have")


def cost(
    modes: ModesArgument = None,
    stack: StackOption = None,
    region: Annotated[
        str | None,
        typer.Option("--region", help="AWS region; default: us-east-1, or the stack's.", metavar="REGION"),
    ] = None,
    changes: SetOption = None,
    hours: Annotated[float, _amount("--hours", "Hours a month.")] = 730,
    workers: Annotated[
        float, _amount("--workers", "Workers at work beside min_workers, on average; none on mw1.micro.")
    ] = 0,
    nat_gb: Annotated[float, _amount("--nat-gb", "GB a month through NAT.")] = 0,
    endpoint_gb: Annotated[float, _amount("--endpoint-gb", "GB a month through interface endpoints.")] = 0,
    log_gb: Annotated[float, _amount("--log-gb", "GB of Airflow logs a month.")] = 0,
    metadata_gb: Annotated[float, _amount("--metadata-gb", "GB in each Airflow's database.")] = 0,
    lineage_gb: Annotated[float, _amount("--lineage-gb", "GB in Marquez's database.")] = 0,
    events: Annotated[float, _amount("--events", "Lineage events a day.")] = 0,
    event_kib: Annotated[float, _amount("--event-kib", "KiB of an event.")] = 4,
    lcu: Annotated[float, _amount("--lcu", "Capacity units of the load balancer, on average.")] = 0,
    acu: Annotated[
        float | None,
        _amount("--acu", "Capacity units of each Aurora instance, 0.5 or more; default: the minimum.", 0.5),
    ] = None,
    prices: PricesOption = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update", help="First read AWS's public price list; for --region, else for every region known."
        ),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print lines of CSV and nothing else.")] = False,
    cwd: CwdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the modes cost a month with their stack files, or what a stack costs, and what would save.

    From the resources that the program registers: it needs the program's checkout, no credentials and no
    network. The defaults are those of a stack in which nothing runs.
    """
    from mwaactl.cost.charges import Usage
    from mwaactl.cost.comparison import Question
    from mwaactl.cost.prices import load_table
    from mwaactl.screens.cost import bills_csv, show_bills
    from mwaactl.stack import find_project

    with session(as_json):
        if as_csv and as_json:
            raise UsageError("either --csv or --json, not both")
        chosen = _modes(modes, stack)
        usage = Usage(
            hours=hours,
            workers=workers,
            nat_gb=nat_gb,
            endpoint_gb=endpoint_gb,
            log_gb=log_gb,
            metadata_gb=metadata_gb,
            lineage_gb=lineage_gb,
            events=events,
            event_kib=event_kib,
            lcu=lcu,
            acu=acu,
        )
        if update:
            with busy("Reading AWS's price list", as_json or as_csv):
                _update(prices, region)
        question = Question(find_project(cwd), usage, load_table(prices), region, _settings(changes))
        with busy("Running the program", as_json or as_csv):
            result = question.of_modes(chosen) if stack is None else question.of_stack(stack)
        if as_csv:
            typer.echo(bills_csv(result), nl=False)
            return
        finish(result, show_bills, as_json=as_json)


def _update(prices: Path | None, region: str | None) -> None:
    from mwaactl.cost.price_list import updated
    from mwaactl.cost.prices import SHIPPED, load_table, save_table, updated_table

    try:
        known = load_table(prices if prices is not None and prices.is_file() else None)
    except UsageError:  # its message names this command
        known = load_table(SHIPPED)
    save_table(updated(known, [region] if region else list(known.regions)), prices or updated_table())


def plan_time(
    modes: ModesArgument = None,
    stack: Annotated[
        str | None,
        typer.Option("--stack", "-s", help="What pulumi up would do to this stack now.", metavar="STACK"),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="A change from this mode.", metavar="MODE")
    ] = None,
    changes: SetOption = None,
    cwd: CwdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how long a deployment, a change of mode or a change of settings takes, and its critical path.

    With --from the same mode and --set, how long a change of settings takes.
    """
    from mwaactl.cost import duration
    from mwaactl.screens.plan_time import show_plans
    from mwaactl.stack import find_project

    with session(as_json):
        chosen, folder, wanted = _modes(modes, stack), find_project(cwd), _settings(changes)
        if start is not None:
            _modes([start], stack)
        with busy("Running the program", as_json):
            if stack is not None:
                result = duration.of_stack(folder, stack, wanted)
            elif start is not None:
                result = duration.mode_changes(folder, start, chosen, wanted)
            else:
                result = duration.deployments(folder, chosen, wanted)
        finish(result, show_plans, as_json=as_json)


def _modes(modes: list[str] | None, stack: str | None) -> tuple[str, ...]:
    from mwaactl.cost.program import MODES

    if modes and stack:
        raise UsageError("either modes or -s STACK, not both")
    for mode in modes or ():
        if mode not in MODES:
            raise UsageError(f"{mode!r} is not a mode: use {', '.join(MODES)}")
    return tuple(dict.fromkeys(modes or MODES))


def _settings(changes: list[str] | None) -> dict[str, str]:
    """`{"project:key": text}` of `key=text`."""
    from mwaactl.cost.program import PROJECT

    result = {}
    for each in changes or ():
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {each}: must be KEY=VALUE, such as nat=single")
        result[f"{PROJECT}:{key}"] = value
    return result
