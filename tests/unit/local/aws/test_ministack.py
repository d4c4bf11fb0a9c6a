"""The installation of the emulated AWS."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.aws import ministack
from local.home import Home


def test_two_at_once_install_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As two test processes do on a fresh machine: one would clear what the other has just made."""
    monkeypatch.setenv("MWAA_LOCAL_TOOLS", str(tmp_path / "tools"))
    both, made = threading.Barrier(2, timeout=5), []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        made.append(command[1])
        if both.n_waiting or len(made) == 1:
            with pytest.raises(threading.BrokenBarrierError):
                both.wait(0.5)  # in vain, unless the other one is here, too
        (tmp_path / "tools" / f"ministack-{ministack.VERSION}").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(ministack, "uv", lambda _: Path("uv"))
    monkeypatch.setattr("local.aws.ministack.subprocess.run", run)
    home = Home(tmp_path / "home")
    with ThreadPoolExecutor(2) as pool:
        [each.result() for each in [pool.submit(ministack.ensure, home) for _ in range(2)]]
    assert made == ["venv", "pip"]
