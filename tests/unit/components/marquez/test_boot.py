"""The nodes' scripts, run: with every command that touches a machine replaced by one that only says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.marquez.userdata import BOOT
from tests.unit.components.marquez.test_userdata import SCRIPTS

# Each call is written to $CALLS; the first $FAIL calls of the command $FAILING fail.
STAND_IN = """#!/bin/bash
echo "${0##*/} $*" >>"$CALLS"
if [[ ${0##*/} == "$FAILING" && $(grep -c "^$FAILING " "$CALLS") -le $FAIL ]]; then exit 1; fi
"""
COMMANDS = ["dnf", "systemctl", "docker", "aws", "curl", "unzip", "python3.12", "pip", "sleep"]
COMMANDS += ["blkid", "mkfs.xfs", "mount", "xfs_growfs"]
NEW = "truncate --size 2M"  # makes the device file of a new volume
PLACES = ("/etc/", "/usr/local/bin/", "/opt/forwarder/", "/run/marquez", "/var/lib/marquez", "/dev/disk/")


class Node:
    """A folder that stands for a machine's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls_file = root / "calls"
        self.calls_file.touch()
        self.commands = root / "commands"
        for place in (
            "etc/systemd/system",
            "usr/local/bin",
            "opt/forwarder/venv/bin",
            "dev/disk/by-id",
            "run",
        ):
            (root / place).mkdir(parents=True)
        self.commands.mkdir()
        for name in COMMANDS:
            self.command(name, "")
        (root / "opt/forwarder/venv/bin/pip").symlink_to(self.commands / "pip")

    def command(self, name: str, script: str) -> None:
        """Let the command do `script` (bash), once its call is written down."""
        path = self.commands / name
        path.write_text(STAND_IN + script)
        path.chmod(0o755)

    def run(
        self, script: str, *arguments: str, failing: str = "", times: int = 0
    ) -> subprocess.CompletedProcess[str]:
        for place in PLACES:
            script = script.replace(place, f"{self.root}{place}")
        environment = {
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "CALLS": str(self.calls_file),
            "FAILING": failing,
            "FAIL": str(times),
        }
        return subprocess.run(
            ["bash", "-c", script, "script", *arguments], env=environment, capture_output=True, text=True
        )

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()

    def first(self, pattern: str) -> int:
        """Position of the first call that matches; one after the last if there is none."""
        return next((i for i, call in enumerate(self.calls()) if re.search(pattern, call)), len(self.calls()))

    def called(self, pattern: str) -> bool:
        return self.first(pattern) < len(self.calls())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def boot(
    node: Node, kind: str, failing: str = "", times: int = 0, appears: str = NEW, blkid: int = 2
) -> subprocess.CompletedProcess[str]:
    """First boot; the volume of the single node appears while the script waits for it the second time.

    Twenty pauses end it.
    """
    device = node.root / "dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"
    node.command(
        "sleep",
        f'(($(grep -c "^sleep" "$CALLS") < 2)) || {appears} {device}\n'
        'if (($(grep -c "^sleep" "$CALLS") > 20)); then kill $PPID; fi',
    )
    node.command("blkid", f"exit {blkid}")
    script = SCRIPTS[kind]().replace("retry test -b", "retry test -e")
    return node.run(script, failing=failing, times=times)


def pauses(node: Node) -> list[int]:
    return [int(call.split()[1]) for call in node.calls() if call.startswith("sleep ")]


@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize(
    "failing", ["dnf", "aws", "curl", "pip", "docker", "mount", "unzip", "python3.12", "mkfs.xfs"]
)
def test_a_node_boots_however_late_things_are_there(node: Node, kind: str, failing: str) -> None:
    done = boot(node, kind, failing, times=12)
    assert done.returncode == 0, done.stderr
    assert node.called(r"systemctl start .*\bmarquez\b")
    assert node.called(r"systemctl start .*\blineage-forwarder\b")
    assert node.called("complete-lifecycle-action") is (kind == "ha")


@pytest.mark.parametrize("kind", SCRIPTS)
def test_marquez_does_not_wait_for_the_forwarders_packages(node: Node, kind: str) -> None:
    assert boot(node, kind).returncode == 0
    assert node.first(r"systemctl start .*\bmarquez\b") < node.first("^pip ")
    assert node.first("^pip ") < node.first("systemctl start .*lineage-forwarder")
    if kind == "ha":
        assert node.first("complete-lifecycle-action") < node.first("^pip ")


def test_the_pauses_between_attempts_grow(node: Node) -> None:
    assert boot(node, "ha", "dnf", times=8).returncode == 0
    assert pauses(node) == [5, 10, 20, 40, 60, 60, 60, 60]


def test_a_volume_with_data_on_it_is_mounted_and_never_formatted(node: Node) -> None:
    assert boot(node, "ec2", blkid=0).returncode == 0
    assert not node.called("^mkfs.xfs ")
    assert node.called("^mount ")


@pytest.mark.parametrize(("content", "blkid"), [("echo data >", 2), ("touch", 2), ("mkdir -p", 2), (NEW, 8)])
def test_a_volume_that_is_not_certainly_new_is_left_alone(node: Node, content: str, blkid: int) -> None:
    """blkid's code 2 may also mean that it could not read the volume, and 8 that it cannot tell."""
    boot(node, "ec2", appears=content, blkid=blkid)
    assert len(pauses(node)) > 20
    assert not node.called("^mkfs.xfs ")
    assert not node.called("^mount ")


def test_the_database_starts_on_its_own_volume_only(node: Node) -> None:
    assert boot(node, "ec2").returncode == 0
    assert (
        node.first("^sleep ")
        < node.first("^mkfs.xfs ")
        < node.first("^mount /")
        < node.first("systemctl start .*marquez-db")
    )
    (guard, *_) = re.findall("^ExecStartPre=(.*)$", (BOOT / "marquez-db.service").read_text(), re.M)
    assert guard == "/usr/bin/mountpoint --quiet /var/lib/marquez"


# marquez-secret


def secret(node: Node, password: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = json.dumps({"username": "marquez", "password": password})
    (node.root / "secret").write_text(text + "\n")
    node.command("aws", "exit 254" if password is None else f"cat {node.root}/secret")
    node.command("python3.12", f'exec {sys.executable} "$@"')
    (node.root / "etc/marquez").mkdir(exist_ok=True)
    (node.root / "etc/marquez/node.env").write_text("AWS_REGION=r\nDATABASE_SECRET=s\n")
    return node.run((BOOT / "marquez-secret").read_text(), *arguments)


@pytest.mark.parametrize("password", ["plain", "it's", "a'b''c", 'a: b#c"\\', "{x}$(y)"])
def test_whatever_the_password_is_marquez_reads_it_as_it_is(node: Node, password: str) -> None:
    assert secret(node, password).returncode == 0
    _, _, written = (node.root / "run/marquez/secret.env").read_text().rstrip("\n").partition("=")
    text = (BOOT / "marquez.yml").read_text().replace("${POSTGRES_PASSWORD}", written)
    assert yaml.safe_load(text)["db"]["password"] == password


def test_nobody_else_can_read_the_password(node: Node) -> None:
    assert secret(node, "one").returncode == 0
    folder = node.root / "run/marquez"
    assert [each.name for each in folder.iterdir()] == ["secret.env"]
    assert folder.stat().st_mode & 0o077 == (folder / "secret.env").stat().st_mode & 0o077 == 0


def test_a_rotated_password_is_noticed_and_an_unreadable_secret_is_none(node: Node) -> None:
    assert secret(node, "one").returncode == 0
    assert secret(node, "one", "--changed").returncode != 0
    assert secret(node, "two", "--changed").returncode == 0
    assert secret(node, None, "--changed").returncode != 0
    assert secret(node, None).returncode != 0
    assert (node.root / "run/marquez/secret.env").read_text() == "POSTGRES_PASSWORD=one\n"


# marquez-watchdog


def watch(node: Node, *, rounds: int, ping: bool, healthy: bool, rotated: bool, active: bool = True) -> int:
    """How often the watchdog restarts Marquez in so many rounds."""
    node.command("sleep", f'(($(grep -c "^sleep" "$CALLS") <= {rounds})) || kill $PPID')
    node.command("curl", f"case $* in */ping) exit {int(not ping)} ;; *) exit {int(not healthy)} ;; esac")
    node.command("marquez-secret", f"exit {int(not rotated)}")
    node.command("systemctl", f"[[ $1 != is-active ]] || exit {int(not active)}")
    node.run((BOOT / "marquez-watchdog").read_text())
    return len([call for call in node.calls() if call == "systemctl restart marquez"])


def test_a_database_that_is_away_restarts_nothing(node: Node) -> None:
    assert watch(node, rounds=40, ping=True, healthy=False, rotated=False) == 0


def test_marquez_is_restarted_after_twelve_silent_rounds(node: Node) -> None:
    assert watch(node, rounds=11, ping=False, healthy=False, rotated=False) == 0
    node.calls_file.write_text("")
    assert watch(node, rounds=24, ping=False, healthy=False, rotated=False) == 2


def test_marquez_is_not_silent_while_its_image_is_pulled(node: Node) -> None:
    assert watch(node, rounds=40, ping=False, healthy=False, rotated=False, active=False) == 0
    for service in ("marquez", "marquez-web", "marquez-db"):
        lines = (BOOT / f"{service}.service").read_text()
        assert re.search(r"^ExecStartPre=/usr/local/bin/marquez-pull \$\{\w+_IMAGE\}$", lines, re.M)
        assert "TimeoutStartSec=infinity" in lines


# marquez-pull


def test_an_image_is_pulled_with_pauses_that_double(node: Node) -> None:
    node.command("docker", 'if (($(grep -c "^docker" "$CALLS") < 17)); then exit 1; fi')
    assert node.run((BOOT / "marquez-pull").read_text(), "image").returncode == 0
    assert pauses(node) == [5, 10, 20, 40, 80, 160, 300, 300]
    assert node.called("^docker pull --quiet image$")


def test_an_image_that_is_here_is_not_pulled(node: Node) -> None:
    assert node.run((BOOT / "marquez-pull").read_text(), "image").returncode == 0
    assert node.calls() == ["docker image inspect image"]


def test_a_rotated_password_restarts_marquez(node: Node) -> None:
    assert watch(node, rounds=1, ping=True, healthy=False, rotated=True) == 1
    node.calls_file.write_text("")
    assert watch(node, rounds=19, ping=True, healthy=True, rotated=True) == 0  # still open connections work
    node.calls_file.write_text("")
    assert watch(node, rounds=20, ping=True, healthy=True, rotated=True) == 1
