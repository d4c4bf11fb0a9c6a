"""Which schedules have the same due instants on both sides, by the timetables of real Airflows.

The second side may have been away for longer than a period, or have been created later.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.airflow.install import Image
from local.home import Home

SCRIPT = Path(__file__).parent / "timetables" / "instants.py"
VERSIONS = ("2.11.2", "3.3.1")


@pytest.fixture(scope="module")
def instants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By version and case, the instants of each history."""
    home = tmp_path_factory.mktemp("timetables")
    reported = {}
    for version in VERSIONS:
        image = Image(Home.find(), version)
        image.install()
        done = subprocess.run(
            [str(image.venv / "bin" / "python"), str(SCRIPT)],
            env={**os.environ, "AIRFLOW_HOME": str(home / version), "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        reported[version] = json.loads(done.stdout.splitlines()[-1])
    return reported


@pytest.mark.parametrize("case", ["timedelta from 09:00", "timedelta from 09:02, catchup", "cron"])
def test_these_have_the_same_instants_whatever_happened_to_a_side(instants: Any, case: str) -> None:
    histories = [due for version in VERSIONS for due in instants[version][case].values()]
    assert len(histories) == 6
    assert all(due == histories[0] and len(due) == 3 for due in histories)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_timedelta_from_any_other_start_is_out_of_phase_after_a_gap(instants: Any, version: str) -> None:
    """Why the check `same-instants` fails for it, and what docs/checks.md says about start dates."""
    assert instants[version]["timedelta from 09:02"] == {
        "always up": ["09:52", "09:57", "10:02"],
        "away for 15 minutes": ["09:55", "10:00", "10:05"],
        "created later": ["09:55", "10:00", "10:05"],
    }
