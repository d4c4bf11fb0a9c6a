"""The CLI as the local cloud sets it up: stack files stay clean, nothing outlives it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from local.home import Home
from local.processes import LocalError
from local.pulumi import cli, shim
from tests.engine.deployment import LocalCloud, Project

FILE = """\
# Why this stack is
config:
  aws:region: us-east-1  # where

  test:flag: true
  test:nested: {key: "1.0"}
"""


@pytest.fixture
def project(cloud: LocalCloud, tmp_path: Path) -> Project:
    """A project whose program exports a secret, with a stack file as a person writes it."""
    (tmp_path / "Pulumi.test.yaml").write_text(FILE)
    program = "import pulumi\npulumi.export('secret', pulumi.Output.secret('geheim'))\n"
    return Project.of_program(cloud, tmp_path, program)


def stack_file(project: Project) -> str:
    return (project.folder / "Pulumi.test.yaml").read_text()


@pytest.mark.parametrize("command", ["up --yes", "preview", "refresh --yes", "stack output", "destroy --yes"])
def test_plain_commands_leave_the_stack_file_byte_by_byte(project: Project, command: str) -> None:
    assert project.up().ok
    done = project.run(*command.split())
    assert done.returncode == 0, done.stderr
    assert stack_file(project) == FILE


def test_setting_a_value_changes_its_own_line(project: Project) -> None:
    project.set(**{"test:flag": False})
    assert stack_file(project) == FILE.replace("flag: true", 'flag: "false"')
    project.set(**{"test:new": 3})
    assert stack_file(project).splitlines()[-1].strip() == 'test:new: "3"'


def test_a_secret_of_one_run_is_read_by_the_next(project: Project) -> None:
    assert project.up().ok
    assert project.run("stack", "output", "secret", "--show-secrets").stdout.strip() == "geheim"
    assert "geheim" not in project.state_text()


def test_somebody_elses_salt_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.theirs.yaml"
    theirs, ours = "encryptionsalt: v1:theirs\n", "encryptionsalt: v1:ours\n"
    before = (theirs + FILE).encode()
    file.write_bytes(before + ours.encode())
    shim.clean(file, before, {theirs.encode()})
    assert file.read_text() == theirs + FILE


def test_a_salt_left_by_a_killed_run_is_taken_out_by_the_next(project: Project) -> None:
    assert project.up().ok
    state = project.cloud.home.state / "pulumi" / ".pulumi" / "stacks" / project.folder.name.lower()
    [salt] = shim.ours(state)
    (project.folder / "Pulumi.test.yaml").write_bytes(FILE.encode() + salt)
    assert project.preview().ok
    assert stack_file(project) == FILE


def test_the_stack_file_is_clean_while_an_update_still_runs(project: Project) -> None:
    (project.folder / "__main__.py").write_text("import time\ntime.sleep(6)\n")
    running = threading.Thread(target=project.up)
    running.start()
    time.sleep(5)
    during = stack_file(project)
    running.join()
    assert during == FILE


def test_nothing_outlives_a_killed_cli_and_its_lock_is_no_obstacle(project: Project) -> None:
    (project.folder / "__main__.py").write_text("import time\ntime.sleep(60)\n")
    command = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "-s", "test"],
        cwd=project.folder,
        env=dict(project.cloud.env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    locks = project.cloud.home.state / "pulumi" / ".pulumi" / "locks"
    while time.monotonic() < deadline and not (len(family) >= 2 and list(locks.rglob("*.json"))):
        family = psutil.Process(command.pid).children(recursive=True)
        time.sleep(0.2)
    family[0].send_signal(signal.SIGKILL)
    command.wait(30)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert list(locks.rglob("*.json"))
    cli.init_stack(project.cloud.home, "test", project.folder)
    (project.folder / "__main__.py").write_text("")
    assert project.up().ok


def test_a_shim_on_path_is_not_taken_for_the_cli(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cloud.home.dir("bin")))
    assert cli.on_path() is None


@pytest.mark.parametrize(
    ("version", "found"), [("v3.259.0", True), ("3.200.1-alpha", True), ("v2.9.0", False)]
)
def test_a_cli_on_path_is_used_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, found: bool
) -> None:
    file = tmp_path / "pulumi"
    file.write_text(f"#!/bin/sh\necho {version}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.on_path() == (file if found else None)


@pytest.fixture
def reports() -> list[str]:
    return []


def test_an_installer_that_never_answers_is_given_up_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    def never(*_arguments: object, **_options: object) -> None:
        time.sleep(3)
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", never)
    monkeypatch.setattr(cli, "INSTALLER_ANSWERS_SECONDS", 0.2)
    started = time.monotonic()
    assert not cli.run_installer(tmp_path, reports.append)
    assert time.monotonic() - started < 2
    assert "is not reachable" in reports[-1]


def test_without_a_cli_and_without_go_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MWAA_LOCAL_TOOLS", raising=False)
    monkeypatch.setattr(cli, "run_installer", lambda _root, _report: False)
    with pytest.raises(LocalError, match=r"https://go\.dev/dl"):
        cli.ensure(Home(tmp_path), reports.append)


def test_a_build_that_fails_shows_the_compilers_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{Path(shutil.which('sh') or '/bin/sh').parent}")
    with pytest.raises(LocalError, match="no such module"):
        cli.build(tmp_path / "tools" / "pulumi", reports.append)


def test_a_build_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    go = tmp_path / "go"
    lines = "go: downloading example.com/a v1", "example.com/a", "example.com/b"
    go.write_text("#!/bin/sh\n" + "".join(f"echo {line} >&2\n" for line in lines) + "> pulumi\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{Path(shutil.which('sh') or '/bin/sh').parent}")
    monkeypatch.setattr(cli, "PROGRESS_SECONDS", -1)
    cli.build(tmp_path / "tools" / "pulumi", reports.append)
    assert "1 modules downloaded, 1 packages compiled" in reports[-2]
    assert "1 modules downloaded, 2 packages compiled" in reports[-1]
