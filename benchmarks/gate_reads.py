"""What the hosts of two environments ask of SSM, and how long their tasks wait for the gate, in virtual time.

    python -m benchmarks.gate_reads [--minutes 2]

2,000 tasks a minute, 1,000 of them at once on the minute, one in ten a retry. Each simulated process is the
gate's own store with the files of its host; only SSM, the clock and the sleeping are doubles.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.fakes.airflow.fleet import START, Fleet, Quota, VirtualTime

ALL, DEFAULT = (25, 5), (5, 2)  # workers and schedulers of each environment
CASES: dict[str, tuple[tuple[int, int], int, dict[str, Any]]] = {
    "the default, 14 hosts": (DEFAULT, 60, {}),
    "the largest, 60 hosts": (ALL, 60, {}),
    "60 hosts, no switch has known a DAG": (ALL, 60, {"unknown": True}),
    "60 hosts, runs due at every second": (ALL, 1, {}),
    "60 hosts, SSM gives them 5 a second": (ALL, 60, {"rate": 5.0, "burst": 5.0}),
    "60 hosts, SSM is silent for 90 s": (ALL, 60, {"outage": (START + 30, START + 120)}),
}


def simulate(case: str, minutes: int) -> list[str]:
    """The cells of a row."""
    (workers, schedulers), every, how = CASES[case]
    unknown = how.get("unknown", False)
    random.seed(16)
    with tempfile.TemporaryDirectory() as folder:
        ssm = Quota(VirtualTime(), **{name: value for name, value in how.items() if name != "unknown"})
        fleet = Fleet(Path(folder), ssm, workers, schedulers, retries=5, unknown=unknown)
        fleet.minutes(minutes, every=every)
    waits = sorted(fleet.waits)
    if len(waits) != 2000 * minutes:
        raise SystemExit(f"{case}: only {len(waits)} tasks had a verdict in the end")
    return [
        case,
        f"{ssm.average():.1f}",
        f"{ssm.busiest(5):.1f}",
        f"{ssm.busiest(1):.0f}",
        f"{statistics.median(waits):.1f}",
        f"{waits[len(waits) * 99 // 100]:.1f}",
        str(fleet.outcomes["task: no verdict"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=int, default=2)
    chosen = parser.parse_args()
    table = Table(
        *("reads of SSM", "a second", "busiest 5 s", "busiest second"),
        *("a task waits, s", "99th percentile", "tries without a verdict"),
        title=f"{chosen.minutes} minutes",
    )
    for case in CASES:
        table.add_row(*simulate(case, chosen.minutes))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
