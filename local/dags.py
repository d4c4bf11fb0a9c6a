"""The folder of DAGs that the local cloud runs: the examples, or one of the user's own, which is followed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from watchfiles import watch

from local.home import CHECKOUT, Home, typed
from local.processes import LocalError, clean_environ, run, start, stop

NAME = "dags"
EXAMPLES = CHECKOUT / "dags"
RETRY_MILLISECONDS = 5000
SHOWN = 12  # DAGs
ABOUT_SWITCHES = "docs/switching.md"


@dataclass(frozen=True)
class Chosen:
    folder: Path
    exact: bool  # the buckets hold these DAGs and nothing else


def chosen(home: Home, given: str) -> Chosen:
    """The folder that was given to `make local`, else that of the last time, else the examples.

    What a user has pushed by hand beside the examples stays, until a folder is given (theirs, too).
    Raises LocalError.
    """
    kept = home.root / "state" / "dags.folder"
    if not given and not kept.exists():
        return Chosen(EXAMPLES, exact=False)
    folder = typed(given) if given else Path(kept.read_text())
    if not folder.is_dir():
        if given:
            raise LocalError(f"DAGS={given}: {folder} is not a folder. Name the one that has your DAGs")
        raise LocalError(
            f"The DAGs of the last `make local`: {folder} is not a folder any more. Name the one that has "
            "your DAGs: make local DAGS=FOLDER; or return to the examples: make local DAGS=dags"
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(str(folder))
    return Chosen(folder, exact=True)


def push(dags: Chosen, stack: str) -> list[str]:
    """The command that brings the folder to both sides."""
    delete = ("--delete",) if dags.exact else ()
    return ["mwaactl", "dags", "push", str(dags.folder), "-s", stack, "--no-check", *delete]


def bring(
    home: Home, dags: Chosen, stack: str, env: Mapping[str, str], report: Callable[[str], None]
) -> None:
    """Push the folder to both sides and, if it is the user's own, each change in it from now on.

    `env`: with an operator's credentials. Raises LocalError.
    """
    stop(home, NAME)  # first, or it could push the folder of the last time once more
    command = push(dags, stack)
    report(f"DAGs: {' '.join(command)}")
    run(command, env)
    if dags.folder == EXAMPLES:
        return
    command = [sys.executable, "-m", "local", "follow", str(dags.folder), "--stack", stack]
    start(home, NAME, command, env=clean_environ(**env), cwd=CHECKOUT)


def push_changes(folder: Path, stack: str, report: Callable[[str], None]) -> None:
    """Push each change until this process is ended; a push that failed is repeated."""
    command = push(Chosen(folder, exact=True), stack)
    behind = True  # it may have changed before this process began
    for changes in watch(folder, rust_timeout=RETRY_MILLISECONDS, yield_on_timeout=True):
        if not (changes or behind):
            continue
        begun = time.monotonic()
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        behind = done.returncode != 0
        names = ", ".join(sorted({Path(path).name for _, path in changes})) or "all files"
        outcome = f"failed:\n{done.stdout.strip()}" if behind else f"took {time.monotonic() - begun:.1f} s"
        report(f"pushing {names} {outcome}")


def unlike_others(
    folder: Path, stack: str, env: Mapping[str, str], report: Callable[[str], None]
) -> tuple[str, ...]:
    """Lines that name the DAGs of a folder of the user's own which a switch treats unlike others; () if none.

    `mwaactl dags check` tells, which imports the folder with the stack's Airflow and requirements.
    """
    if folder == EXAMPLES:
        return ()
    command = ["mwaactl", "dags", "check", str(folder), "-s", stack]
    report(f"what a switch will treat unlike other DAGs: {' '.join(command)}")
    done = subprocess.run(
        [*command, "--json"],
        cwd=CHECKOUT,
        env=clean_environ(**env),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
        special: Mapping[str, list[str]] = found["special"]
    except (ValueError, KeyError):
        report(f"they are not known: {(done.stdout + done.stderr).strip()[-500:]}")
        return ()
    for version in found["versions"]:
        for each in version["import_errors"]:
            report(f"{each['file']} was not looked at: {each['message'].splitlines()[-1]}")
    return tuple(_table(special, " ".join(command)))


def _table(special: Mapping[str, list[str]], command: str) -> Iterator[str]:
    if not special:
        return
    yield f"A switch treats these DAGs unlike others (see {ABOUT_SWITCHES}):"
    shown = sorted(special)[:SHOWN]
    width = max(map(len, shown))
    for dag in shown:
        for number, reason in enumerate(special[dag]):
            yield f"  {'' if number else dag:<{width}}  {reason}"
    if more := len(special) - len(shown):
        yield f"  and {more} more: {command}"
