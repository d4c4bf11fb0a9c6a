"""`make local` before and around the deployment: clear errors instead of half a cloud."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml

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


@pytest.mark.parametrize(
    "own", [{}, {"mwaa-openlineage:update_owner_in_place": "false"}], ids=["", "refused"]
)
def test_a_run_may_update_both_sides_unless_the_stacks_own_settings_say_no(
    tmp_path: Path, own: dict[str, str]
) -> None:
    file = tmp_path / "Pulumi.fullha.yaml"
    file.write_text(yaml.safe_dump({"config": {"aws:region": "us-east-1", **own}}))
    before = file.read_text()
    copy = yaml.safe_load(up.settings_of_run(Home(tmp_path / "home"), "fullha", tmp_path).read_text())
    assert copy["config"] == {
        "aws:region": "us-east-1",
        "mwaa-openlineage:update_owner_in_place": "true",
        **own,
    }
    assert file.read_text() == before
