"""Mutation testing: change the code in small ways, and see whether a test notices each change.

    python -m tests.mutation [MODULE ...] [--quick | --again]

A mutant that no test notices is a survivor. Those that docs/mutation.md lists, each with the reason, are
known; any other one ends the command with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from tests.mutation.mutants import mutants
from tests.mutation.targets import TARGETS, Target
from tests.mutation.trials import Outcome, Trials, with_tests, work_in_a_copy

GUIDE = Path("docs/mutation.md")
RESULTS = Path(".local/mutation")
NOTICED: tuple[Outcome, ...] = ("killed", "timeout")
ROW = re.compile(r"\| `(.+?)` \| .+ \|")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.split("\n")[0])
    names = {target.name: target for target in TARGETS}
    parser.add_argument("module", nargs="*", help=f"one or more of {', '.join(names)}; default: all")
    parser.add_argument("--again", action="store_true", help="only the mutants that survived the last run")
    parser.add_argument("--quick", action="store_true", help="without the slowest tests: finds too many")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.module if name not in names]:
        parser.error(f"no such module: {', '.join(unknown)}; there are {', '.join(names)}")
    os.nice(10)
    results, known = RESULTS.resolve(), known_survivors(GUIDE.read_text() if GUIDE.exists() else "")
    results.mkdir(parents=True, exist_ok=True)
    console = os.fdopen(os.dup(1), "w", buffering=1)  # the output of tests goes elsewhere
    chosen = [names[name] for name in options.module] or TARGETS
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        work_in_a_copy(Path(folder).resolve())
        for target in chosen:
            report = _Report(target, results / f"{target.name}.json", known[target.name], console)
            try:
                with_tests(target, partial(report.examine, again=options.again), quick=options.quick)
            except RuntimeError as error:
                print(error, file=console)
                (results / f"{target.name}.new").touch()
        os.chdir(results)  # the folder goes
    return 1 if any((results / f"{target.name}.new").exists() for target in chosen) else 0


def known_survivors(guide: str) -> dict[str, set[str]]:
    """The mutants that the guide lists, by the module that is its section's heading."""
    known: dict[str, set[str]] = defaultdict(set)
    module = ""
    for line in guide.splitlines():
        if line.startswith("#"):
            module = line.removeprefix("### ")
        elif row := ROW.fullmatch(line) if "->" in line else None:
            known[module].add(row[1].replace("\\|", "|"))
    return known


class _Report:
    """Judges a module's mutants, prints the survivors and the score, and keeps the outcomes in `file`."""

    def __init__(self, target: Target, file: Path, known: set[str], console: TextIO) -> None:
        self._target, self._file, self._known, self._console = target, file, known, console

    def examine(self, trials: Trials, *, again: bool) -> None:
        begun = time.monotonic()
        made = mutants(Path(self._target.path).read_text())
        before: dict[str, Outcome] = json.loads(self._file.read_text()) if again else {}
        outcomes = {m.name: before[m.name] for m in made if before.get(m.name) in NOTICED}
        for mutant in made:
            if mutant.name in outcomes:
                continue
            outcome = outcomes[mutant.name] = trials.judge(mutant)
            if outcome not in NOTICED:
                state = "known" if mutant.name in self._known else f"NEW, {outcome}"
                self._print(f"{self._target.name}: `{mutant.name}` ({state})")
            self._file.write_text(json.dumps(outcomes, indent=1))
        survivors = {name for name, outcome in outcomes.items() if outcome not in NOTICED}
        for name in sorted(self._known - survivors):
            self._print(f"{self._target.name}: `{name}` is in {GUIDE}, but it does not survive")
        new = self._file.with_suffix(".new")
        new.touch() if survivors - self._known else new.unlink(missing_ok=True)
        counts, killed = Counter(outcomes.values()), len(outcomes) - len(survivors)
        self._print(
            f"{self._target.path}: {killed} of {len(outcomes)} mutants killed ({killed / len(outcomes):.1%}, "
            f"{counts['timeout']} by a time-out), {len(survivors)} survive, of them "
            f"{len(survivors - self._known)} new; {(time.monotonic() - begun) / 60:.1f} minutes"
        )

    def _print(self, line: str) -> None:
        print(line, file=self._console, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
