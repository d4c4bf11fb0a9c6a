"""Mutation testing: change the code in small ways, and see whether a test notices each change.

    python -m tests.mutation [MODULE ...] [--again] [--quick]

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
from pathlib import Path

from tests.mutation.mutants import mutants
from tests.mutation.targets import TARGETS, Target
from tests.mutation.trials import Copy, Outcome

GUIDE = Path("docs/mutation.md")
RESULTS = Path(".local/mutation")
NOTICED: tuple[Outcome, ...] = ("killed", "timeout")
ROW = re.compile(r"\| `(.+?)` \| .+ \|")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.split("\n")[0])
    names = {target.name: target for target in TARGETS}
    parser.add_argument("module", nargs="*", help=f"one or more of {', '.join(names)}; default: all")
    parser.add_argument("--again", action="store_true", help="only the mutants that survived the last run")
    parser.add_argument("--quick", action="store_true", help="without the slowest tests: reports too many")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.module if name not in names]:
        parser.error(f"no such module: {', '.join(unknown)}; there are {', '.join(names)}")
    os.nice(10)
    results, known = RESULTS.resolve(), known_survivors(GUIDE.read_text() if GUIDE.exists() else "")
    results.mkdir(parents=True, exist_ok=True)
    new = 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Copy(Path(folder).resolve())
        for target in [names[name] for name in options.module] or TARGETS:
            file = results / f"{target.name}.json"
            new += _examine(copy, target, file, known[target.name], options)
        os.chdir(results)  # the folder goes
    return 1 if new else 0


def _examine(copy: Copy, target: Target, file: Path, known: set[str], options: argparse.Namespace) -> int:
    """Judge a module's mutants, print the survivors and the score; return the number of new survivors."""
    begun = time.monotonic()
    baseline = copy.baseline(target)
    outcomes: dict[str, Outcome] = json.loads(file.read_text()) if options.again else {}
    chosen = mutants(Path(target.path).read_text())
    current = {mutant.name for mutant in chosen}
    outcomes = {name: outcome for name, outcome in outcomes.items() if name in current}
    for mutant in chosen:
        if outcomes.get(mutant.name) in NOTICED:
            continue
        outcome = outcomes[mutant.name] = copy.judge(target, mutant, baseline, quick=options.quick)
        if outcome not in NOTICED:
            state = "known" if mutant.name in known else f"NEW, {outcome}"
            print(f"{target.name}: `{mutant.name}` ({state})", flush=True)
        file.write_text(json.dumps(outcomes, indent=1))
    for name in sorted(known - {name for name, outcome in outcomes.items() if outcome not in NOTICED}):
        print(f"{target.name}: `{name}` is in {GUIDE}, but it does not survive")
    counts = Counter(outcomes.values())
    killed = sum(counts[outcome] for outcome in NOTICED)
    print(
        f"{target.path}: {killed} of {len(outcomes)} mutants killed ({killed / len(outcomes):.1%}), "
        f"{counts['timeout']} by a time-out; {len(outcomes) - killed} survive; "
        f"{(time.monotonic() - begun) / 60:.1f} minutes",
        flush=True,
    )
    return sum(outcome not in NOTICED and name not in known for name, outcome in outcomes.items())


def known_survivors(guide: str) -> dict[str, set[str]]:
    """The mutants that the guide lists, by the module that is its section's heading."""
    known: dict[str, set[str]] = defaultdict(set)
    module = ""
    for line in guide.splitlines():
        if line.startswith("#"):
            module = line.strip("# `")
        elif row := ROW.fullmatch(line):
            known[module].add(row[1].replace("\\|", "|"))
    return known


if __name__ == "__main__":
    raise SystemExit(main())
