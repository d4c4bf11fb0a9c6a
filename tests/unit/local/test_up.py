"""`make local` before and around the deployment: clear errors instead of half a cloud."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from local import up
from local.home import Home
from local.processes import LocalError


def test_an_unknown_mode_is_refused_before_anything_is_set_up(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="MODE=ha is not one of standard, bluegreen, hamarquez, fullha"):
        up.up(Home(tmp_path), "ha", print)
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_reported_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * up.GIB))
    with pytest.raises(LocalError, match=r"fullha needs about 3.0 GB .*\n.*MODE=standard"):
        up.up(Home(tmp_path), "fullha", print)
