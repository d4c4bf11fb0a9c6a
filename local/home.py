"""The folder where the local cloud keeps everything, ignored by git.

`MWAA_LOCAL_HOME` moves it (tests use a folder of their own); default `<checkout>/.local`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
ACCOUNT = "000000000000"  # MiniStack's default account


def max_workers() -> int:
    """The account's quota of workers in an environment; `MWAA_LOCAL_MAX_WORKERS` raises it."""
    return int(os.environ.get("MWAA_LOCAL_MAX_WORKERS") or 25)


def change_seconds() -> float:
    """The least time that an environment is CREATING or UPDATING; `MWAA_LOCAL_CHANGE_SECONDS` sets it."""
    return float(os.environ.get("MWAA_LOCAL_CHANGE_SECONDS") or 0)


def typed(path: str) -> Path:
    """A path as it is typed after `make NAME=`: relative to the checkout, where make runs."""
    # Path.expanduser raises for the home of a user that there is not; this one is not found, as any other.
    return (CHECKOUT / os.path.expanduser(path)).resolve()  # noqa: PTH111


@dataclass(frozen=True)
class Home:
    root: Path

    @classmethod
    def find(cls) -> Home:
        return cls(Path(os.environ.get("MWAA_LOCAL_HOME") or CHECKOUT / ".local").resolve())

    def dir(self, *parts: str) -> Path:
        """A folder below the home, created if absent."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    # Kept by `make local-down`, removed by `make clean`:
    @property
    def tools(self) -> Path:
        """Pulumi CLI, plugins, virtual environments: what is slow to set up and the same for every home.

        With `MWAA_LOCAL_TOOLS`, several homes (tests) share one folder of tools.
        """
        path = Path(os.environ.get("MWAA_LOCAL_TOOLS") or self.root / "tools").resolve()
        path.mkdir(parents=True, exist_ok=True)
        return path

    # Of the running cloud:
    @property
    def run(self) -> Path:
        """One JSON file per running process (see `local.processes`)."""
        return self.dir("run")

    @property
    def logs(self) -> Path:
        return self.dir("logs")

    @property
    def door_record(self) -> Path:
        """Which statement allowed which call, and what was denied (`local/aws/door.py`)."""
        return self.dir("state", "aws") / "door.jsonl"

    @property
    def state(self) -> Path:
        """Pulumi's state, the emulated AWS's data, Airflow homes and databases."""
        return self.dir("state")
