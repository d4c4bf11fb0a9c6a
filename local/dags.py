"""The folder of DAGs that the local cloud runs: the examples, or one of the user's own, which is followed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from watchfiles import watch

from local.home import CHECKOUT, Home, typed
from local.processes import LocalError, clean_environ, start, stop

NAME = "dags"
EXAMPLES = CHECKOUT / "dags"
RETRY_MILLISECONDS = 5000


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
