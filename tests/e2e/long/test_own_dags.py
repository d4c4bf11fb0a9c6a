"""`make local` with a folder of the user's own: both sides run it, and a change in it arrives at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT, FullHaCloud

DAG = """
from datetime import datetime
from airflow.sdk import dag, task

@dag(dag_id="{name}", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False)
def mine():
    @task
    def work() -> None: ...
    work()

mine()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my-dags")
    (folder / "first.py").write_text(DAG.format(name="first"))
    (folder / "alone.py").write_text(DAG.format(name="alone").replace("catchup=False", "max_active_runs=1"))
    return folder


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[FullHaCloud]:
    cloud = FullHaCloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.up("--dags", os.path.relpath(folder, CHECKOUT))
        yield cloud
    finally:
        cloud.run("python", "-m", "local", "down")
    assert cloud.leftovers() == []


def arrives(cloud: FullHaCloud, expected: set[str]) -> float:
    """Seconds until both Airflows show exactly these DAGs beside the project's own."""

    def shown(colour: str) -> bool:
        found = {each["dag_id"] for each in cloud.api(colour, "/dags")["dags"]}
        return {name for name in found if not name.startswith("bluegreen_")} == expected

    begun = time.monotonic()
    for colour in ("blue", "green"):
        cloud.wait_for(partial(shown, colour), f"{expected} on {colour}", seconds=180)
    return time.monotonic() - begun


def on_both_sides(cloud: FullHaCloud, name: str) -> Callable[[], bool]:
    folders = [*(cloud.home / "state" / "mwaa").glob("*/airflow/dags")]
    assert len(folders) == 2
    return lambda: all((each / name).exists() for each in folders)


def test_both_sides_run_the_users_dags_and_nothing_else(mine: FullHaCloud) -> None:
    arrives(mine, {"first", "alone"})
    assert "waiting for bluegreen_probe to be skipped" in mine.up_output


def test_the_dags_are_named_that_a_switch_treats_unlike_others(mine: FullHaCloud) -> None:
    told = mine.up_output
    assert "A switch treats these DAGs unlike others (see docs/switching.md):" in told
    assert "  alone  serial (one run or task at a time): it moves when it is idle" in told
    assert "  first" not in told


def test_a_changed_a_new_and_a_removed_file_arrive_by_themselves(mine: FullHaCloud, folder: Path) -> None:
    (folder / "first.py").write_text(DAG.format(name="renamed"))
    (folder / "second.py").write_text(DAG.format(name="second"))
    mine.wait_for(on_both_sides(mine, "second.py"), "the new file", seconds=30)
    print(f"changed and new: {arrives(mine, {'renamed', 'second', 'alone'}):.0f} s")
    (folder / "second.py").unlink()
    print(f"removed: {arrives(mine, {'renamed', 'alone'}):.0f} s")


def test_a_switch_works_with_them(mine: FullHaCloud) -> None:
    done = mine.run("mwaactl", "switch", "green", "--yes", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_is_remembered(mine: FullHaCloud, folder: Path) -> None:
    done = mine.run("python", "-m", "local", "up", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"mwaactl dags push {folder}" in done.stdout


def test_a_folder_that_does_not_exist_is_named(mine: FullHaCloud) -> None:
    done = mine.run("python", "-m", "local", "up", "--dags", "nowhere")
    assert done.returncode == 1
    assert "nowhere is not a folder" in done.stderr
