"""The folder of DAGs that the local cloud runs: the examples, or one of the user's own, which is followed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from watchfiles import watch

from local.home import CHECKOUT, Home, typed
from local.processes import LocalError, clean_environ, start, stop

NAME = "dags"
EXAMPLES = CHECKOUT / "dags"
RETRY_MILLISECONDS = 5000
SHOWN = 12  # DAGs
ABOUT_SWITCHES = "docs/switching.md"


def chosen(home: Home, given: str) -> Path:
    """The folder that was given to `make local`, else that of the last time, else the examples.

    Raises LocalError.
    """
    kept = home.root / "state" / "dags.folder"
    if not given:
        return Path(kept.read_text()) if kept.exists() else EXAMPLES
    folder = typed(given)
    if not folder.is_dir():
        raise LocalError(f"DAGS={given}: {folder} is not a folder. Name the one that has your DAGs")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(str(folder))
    return folder


def push(folder: Path, stack: str) -> list[str]:
    """The command that makes the folder of both sides this one. What was pushed to the examples stays."""
    delete = () if folder == EXAMPLES else ("--delete",)
    return ["mwaactl", "dags", "push", str(folder), "-s", stack, "--no-check", *delete]


def follow(home: Home, folder: Path, stack: str, env: Mapping[str, str]) -> None:
    """From now on, push each change in a folder of the user's own. `env`: with an operator's credentials."""
    stop(home, NAME)
    if folder == EXAMPLES:
        return
    command = [sys.executable, "-m", "local", "follow", str(folder), "--stack", stack]
    start(home, NAME, command, env=clean_environ(**env), cwd=CHECKOUT)


def push_changes(folder: Path, stack: str, report: Callable[[str], None]) -> None:
    """Push each change until this process is ended; a push that failed is repeated."""
    behind = True  # it may have changed before this process began
    for changes in watch(folder, rust_timeout=RETRY_MILLISECONDS, yield_on_timeout=True):
        if not (changes or behind):
            continue
        begun = time.monotonic()
        done = subprocess.run(
            push(folder, stack), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
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
