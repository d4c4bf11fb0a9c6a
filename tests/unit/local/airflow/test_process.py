"""Airflow's processes: restarted with patience, and told apart from a person's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil

from local.airflow.process import FORGET_SECONDS, BackOff, _is_airflow
from local.processes import wait_until


def test_a_process_that_keeps_dying_is_started_ever_more_slowly() -> None:
    back_off = BackOff()
    started = [second for second in range(0, 200) if back_off.may_start("scheduler", float(second))]
    assert started[:4] == [0, 5, 20, 50]
    assert started[-1] - started[-2] == 60
    assert back_off.may_start("triggerer", 1.0)
    assert back_off.may_start("scheduler", 200.0 + FORGET_SECONDS)


def test_a_persons_shell_in_an_airflow_folder_is_not_taken_for_airflow(tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "airflow"
    folder.mkdir(parents=True)
    shell = subprocess.Popen(["sleep", "30"], cwd=folder)
    worker = subprocess.Popen(["airflow worker", "30"], executable="/bin/sleep", cwd=folder)
    try:
        # The kernel shows a process's arguments an instant after its start.
        processes = [psutil.Process(worker.pid), psutil.Process(shell.pid)]
        wait_until(lambda: _is_airflow(processes[0], folder), "the worker is recognised", seconds=5)
        wait_until(lambda: processes[1].cmdline() == ["sleep", "30"], "the shell has started", seconds=5)
        assert not _is_airflow(psutil.Process(worker.pid), tmp_path / "other")
        assert not _is_airflow(psutil.Process(shell.pid), folder)
    finally:
        for process in (shell, worker):
            process.kill()
            process.wait()
