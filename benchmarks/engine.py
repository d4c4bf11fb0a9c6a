"""How long `pulumi up` of full HA takes on the local engine, without the start of the Airflows.

    python -m benchmarks.engine [RUNS]

Each run is `pulumi up --yes` (a preview and an update) on an empty local cloud, again with nothing to do,
`pulumi preview` and `pulumi destroy`. Goals on 2 cores: 12 s and 8 s. Needs an otherwise idle machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local.home import Home
from tests.engine.deployment import LocalCloud, Project

STACK = "fullha"
STEPS = {
    "up": ("up", "--yes"),
    "up, nothing to do": ("up", "--yes"),
    "preview": ("preview",),
    "destroy": ("destroy", "--yes"),
}


def measure(project: Project) -> dict[str, float]:
    """Seconds of each step. Raises SystemExit with the CLI's output if a step fails."""
    times = {}
    for step, command in STEPS.items():
        started = time.monotonic()
        result = project.run(*command)
        times[step] = time.monotonic() - started
        if result.returncode != 0:
            raise SystemExit(f"pulumi {' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return times


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    os.environ["MWAA_LOCAL_TOOLS"] = str(Home.find().tools)
    with tempfile.TemporaryDirectory(prefix="engine-benchmark-") as folder:
        home = Home(Path(folder) / "home")
        try:
            cloud = LocalCloud.start(home)
            (Path(folder) / "project").mkdir()
            project = Project.of_checkout(cloud, Path(folder) / "project", STACK)
            measured = [measure(project) for _ in range(runs)]
        finally:
            LocalCloud(home, {}).stop()
    table = Table(
        "step", "min (s)", "median (s)", title=f"{STACK}, {runs} runs, load {os.getloadavg()[0]:.1f}"
    )
    for step in STEPS:
        times = [run[step] for run in measured]
        table.add_row(step, f"{min(times):.1f}", f"{statistics.median(times):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
