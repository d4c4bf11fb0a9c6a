"""How a push of DAGs looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mwaactl.dag_check.model import CheckResult, Package, RequirementsCheck
from mwaactl.dags.diff import DagsDiff
from mwaactl.dags.push import EnvironmentPush, PushResult
from mwaactl.dags.syntax import python_of
from mwaactl.screens.common import SHOWN, print_note, remainder


def show_push(console: Console, result: PushResult) -> None:
    titles = ("to upload", "to delete") if result.dry_run else ("uploaded", "deleted")
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for column in ("", *titles, "unchanged", "only in the bucket", "state"):
        table.add_column(column, overflow="fold")
    for colour, files in result.environments.items():
        table.add_row(
            Text(colour, style=f"bold {colour}"),
            _listed(files.uploaded),
            _listed(files.deleted),
            str(files.unchanged),
            _listed(files.left),
            _push_state(files, result.dry_run),
        )
    console.print(table)
    for note in _notes(result):
        print_note(console, note)


def show_diff(console: Console, diff: DagsDiff) -> None:
    if diff.unfinished is not None:
        print_note(
            console, f"{diff.unfinished} has not ended; if it is dead, the next push finishes it first."
        )
    for colour, side in diff.environments.items():
        title = Text.assemble((colour, f"bold {colour}"), ": the same" if side.same else "")
        console.print(title)
        for name in side.new:
            console.print(Text(f"  new      {name}", style="green"), soft_wrap=True)
        for name in side.only_in_bucket:
            console.print(Text(f"  only in the bucket  {name}", style="yellow"), soft_wrap=True)
        for name, lines in side.changed.items():
            console.print(Text(f"  changed  {name}{'' if lines else ' (not text)'}"), soft_wrap=True)
            for line in lines.split("\n") if lines else ():
                style = {"+": "green", "-": "red"}.get(line[:1], "")
                console.print(Text(f"    {line}", style=style), soft_wrap=True)


def show_check(console: Console, result: CheckResult) -> None:
    for version in result.versions:
        title = f"Airflow {version.airflow_version}"
        console.print(
            Text.assemble(
                (title, "bold"),
                f", Python {version.python}: {len(version.dags)} DAGs, "
                f"{len(version.broken)} files that cannot be imported",
            )
        )
        if (mwaa := python_of(version.airflow_version)) != version.python.rpartition(".")[0]:
            print_note(console, f"Amazon runs Airflow {version.airflow_version} on Python {mwaa}.")
        for error in version.import_errors:
            if error.unknown:
                print_note(
                    console,
                    f"{error.file} reads a variable or connection while it is imported, and there is none "
                    f"here: {error.message}. Give it one: AIRFLOW_VAR_<NAME> or AIRFLOW_CONN_<ID>",
                )
            else:
                console.print(Text(f"  {error.file}: {error.message}", style="red"), soft_wrap=True)
    _listing(
        console, "Changes between the versions", [f"{each.dag_id}: {each.what}" for each in result.changes]
    )
    lines = [f"{dag_id}: {reason}" for dag_id, reasons in result.special.items() for reason in reasons]
    _listing(console, "What a switch treats unlike other DAGs", lines)
    findings = [f"{each.file}:{each.line}: {each.rule} {each.message}" for each in result.findings]
    _listing(console, "What Ruff says about the next major version", findings)


def show_requirements(console: Console, result: RequirementsCheck) -> None:
    for installed in result.versions:
        title = Text(f"Airflow {installed.version}", style="bold")
        if installed.python is None:
            console.print(title, Text("cannot be installed", style="red"))
            console.print(Text(installed.problem or "no reason is known"), soft_wrap=True)
        else:
            console.print(title, Text("installed", style="green"))
            for line in installed.changes:
                console.print(Text(f"  {line}"), soft_wrap=True)


def show_package(console: Console, result: Package) -> None:
    total = sum(each.size for each in result.wheels)
    for each in result.wheels:
        console.print(Text(f"  {each.name}  {each.size / 1e6:.1f} MB"), soft_wrap=True)
    of = f"Airflow {result.airflow_version} (Python {result.python}, Linux x86_64)"
    count = f"{len(result.wheels)} wheels, {total / 1e6:.1f} MB"
    console.print(Text(f"{count}, for {of} are in {result.folder}. To deliver them:"), soft_wrap=True)
    key = f"--path {result.side}.wheels_folder" if result.side else "wheels_folder"
    console.print(Text(f"  pulumi config set {key} {result.folder}"), soft_wrap=True)


def _listing(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(f"\n{title}", style="bold", highlight=False)
        for line in [*lines[:SHOWN], *remainder(lines)]:
            console.print(Text(f"  {line}"), soft_wrap=True)


def _notes(result: PushResult) -> Iterator[str]:
    if result.finished is not None:
        yield f"{result.finished} had died half way, and was finished first."
    if result.unfinished is not None:
        yield f"{result.unfinished} has not ended; if it is dead, the next push finishes it first."
    if result.unchecked is not None and not result.dry_run:
        yield f"no Airflow has imported the files before ({result.unchecked}). To do so: mwaactl dags check"
    yield from result.not_pushed
    for side in (result.parsed or {}).values():
        yield (
            f"{side.environment} has parsed the files: {len(side.by_source)} exactly this source, "
            f"{len(side.by_time)} by the time of the last parsing."
        )
        if side.without_dags:
            names = ", ".join(side.without_dags[:SHOWN])
            yield f"no DAG of {names} is on {side.environment}: they define none, or it has not found them."
    for name, target in result.links_out.items():
        yield f"{name} is a link to {target}, outside of the folder; what is there was taken."
    if result.left_apart:
        yield (
            "the sides still differ, in files that are not in the folder: "
            f"{', '.join(result.left_apart[:SHOWN])}{' and more' if len(result.left_apart) > SHOWN else ''}; "
            "--delete removes them."
        )
    elif any(files.left for files in result.environments.values()):
        yield "files that are only in the buckets stay there; --delete removes them."


def _listed(names: Sequence[str]) -> Text:
    return Text("\n".join([*names[:SHOWN], *remainder(names)]) or "-")


def _push_state(files: EnvironmentPush, dry_run: bool) -> Text:
    if files.error is not None:
        return Text(files.error, style="red")
    if dry_run and (files.uploaded or files.deleted):
        return Text("behind", style="yellow")
    return Text("up to date", style="green")
