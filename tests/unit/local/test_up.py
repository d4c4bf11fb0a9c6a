"""`make local` before and around the deployment: clear errors instead of half a cloud."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from local import up
from local.aws import callers
from local.home import Home
from local.marquez import back_end
from local.processes import LocalError, all_running, stop
from mwaactl.stack import LOCAL_LINEAGE

SERVER = """
import http.server, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
STATE = {"type": up.INSTANCE_PROFILE, "outputs": {"role": "nodes"}}
MARQUEZ = {
    "lineage_backend": "ec2",
    "lineage_log_bucket": "log-1",
    "lineage_intake_url": "http://intake",
}


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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose forwarder, intake and receiver are stand-ins, without a container engine."""
    folder = tmp_path / "modules"
    (folder / "local" / "marquez").mkdir(parents=True)
    (folder / "forwarder.py").write_text("import time; time.sleep(60)")
    for module in ("intake.py", "healthcheck", "local/__init__.py", "local/marquez/__init__.py"):
        (folder / module).touch()
    for module in ("intake.py", "local/marquez/receiver.py"):
        (folder / module).write_text(SERVER)
    namespaces = folder / "api" / "v1" / "namespaces"
    namespaces.parent.mkdir(parents=True)
    namespaces.touch()
    monkeypatch.chdir(folder)  # where `python -m` looks first
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(up, "run", lambda *_: json.dumps({"deployment": {"resources": [STATE]}}))
    monkeypatch.setattr(callers, "of_role", lambda *_: {"AWS_ACCESS_KEY_ID": "nodes"})
    home = Home(tmp_path / "home")
    home.dir("state")
    yield home
    stop(home, *(process.name for process in all_running(home)), grace=1)


def lineage_of(home: Home, **outputs: Any) -> dict[str, list[str]]:
    """The command of each process of lineage, once the stack has these outputs."""
    up._bring_lineage(home, "standard", MARQUEZ | outputs, {})
    commands = {}
    for each in all_running(home):
        process = each.process()
        assert process is not None
        commands[each.name.removesuffix("-standard")] = process.cmdline()
    return commands


def test_lineage_of_a_new_stack_is_not_read_from_the_bucket_of_the_one_before(home: Home) -> None:
    assert all("log-1" in lineage_of(home)[name] for name in ("forwarder", "intake"))
    kept = all_running(home)
    lineage_of(home)
    assert all_running(home) == kept
    commands = lineage_of(home, lineage_log_bucket="log-2")
    assert all("log-2" in commands[name] for name in ("forwarder", "intake"))
    assert len(commands) == 3


def test_only_the_processes_run_that_the_stack_asks_for(home: Home) -> None:
    assert sorted(lineage_of(home)) == ["forwarder", "intake", "receiver"]
    assert sorted(lineage_of(home, lineage_intake_url="")) == ["forwarder", "receiver"]
    assert lineage_of(home, lineage_backend="", lineage_intake_url="") == {}


def addresses(home: Home) -> dict[str, str]:
    """Where the back ends answer, as `make -s local-env` says it."""
    kept: dict[str, str] = json.loads(back_end.addresses(home).get(LOCAL_LINEAGE, "{}"))
    return kept


def test_lineage_of_another_stack_goes_on(home: Home) -> None:
    up._bring_lineage(home, "fullha", MARQUEZ, {})
    assert len(all_running(home)) == 3
    [address] = addresses(home).values()
    lineage_of(home)
    assert addresses(home).keys() == {"fullha", "standard"}
    lineage_of(home, lineage_backend="", lineage_intake_url="")
    assert addresses(home) == {"fullha": address}
    assert [each.name for each in all_running(home)] == [
        "forwarder-fullha",
        "intake-fullha",
        "receiver-fullha",
    ]
    back_end.stop(home)
    assert all_running(home) == []
