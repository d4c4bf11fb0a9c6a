"""The nodes' scripts, run: with every command that touches a machine replaced by one that only says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
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
COMMANDS = ["dnf", "systemctl", "docker", "aws", "curl", "unzip", "python3.12", "sleep"]
COMMANDS += ["blkid", "mkfs.xfs", "mount", "xfs_growfs"]
NEW = "truncate --size 2M"  # makes the device file of a new volume
PLACES = (
    *("/etc/", "/usr/local/bin/", "/opt/forwarder/", "/run/marquez", "/var/lib/marquez", "/var/tmp/"),
    "/dev/disk/",
)


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
            "opt/forwarder",
            "dev/disk/by-id",
            "run",
        ):
            (root / place).mkdir(parents=True)
        self.commands.mkdir()
        for name in COMMANDS:
            self.command(name, "")

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
    "failing", ["dnf", "aws", "curl", "docker", "mount", "unzip", "python3.12", "mkfs.xfs"]
)
def test_a_node_boots_however_late_things_are_there(node: Node, kind: str, failing: str) -> None:
    done = boot(node, kind, failing, times=12)
    assert done.returncode == 0, done.stderr
    assert node.called(r"systemctl start .*\bmarquez\b")
    assert node.called(r"systemctl start .*\blineage-forwarder\b")
    assert node.called("complete-lifecycle-action") is (kind == "ha")


@pytest.mark.parametrize("kind", SCRIPTS)
def test_marquez_does_not_wait_for_the_forwarder(node: Node, kind: str) -> None:
    assert boot(node, kind).returncode == 0
    assert node.first(r"systemctl start .*\bmarquez\b") < node.first("^unzip ")
    assert node.first("^unzip ") < node.first("systemctl start .*lineage-forwarder")
    if kind == "ha":
        assert node.first("complete-lifecycle-action") < node.first("^unzip ")


def test_a_node_enters_service_when_both_its_api_and_its_pages_answer(node: Node) -> None:
    assert boot(node, "ha").returncode == 0
    assert node.first("^curl .*:5001/ping") < node.first("complete-lifecycle-action")
    assert node.first("^curl .*:3000/healthcheck") < node.first("complete-lifecycle-action")


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


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What works on a node. `database`: it accepts connections; `rotated`: its password."""

    disk: bool = True
    docker: bool = True
    web: bool = True
    ping: bool = True
    healthy: bool = True
    database: bool = True
    images: bool = True
    rotated: bool = False


SOUND = Condition()
DATABASE_AWAY = Condition(healthy=False, database=False)
NEVER_STARTED = Condition(healthy=False, database=False, ping=False)
"""Marquez was restarted while its database is away: it answers nothing at all."""


def watch(node: Node, condition: Condition, *, rounds: int, kind: str = "ha") -> list[str]:
    """What the watchdog does in so many rounds: the arguments of each `systemctl`."""
    node.calls_file.write_text("")
    node.command("sleep", f'(($(grep -c "^sleep" "$CALLS") <= {rounds})) || kill $PPID')
    node.command("dd", f"exit {int(not condition.disk)}")
    node.command("timeout", 'shift; exec "$@"')
    node.command(
        "curl",
        "case $* in"
        f" *:5001/ping) exit {int(not condition.ping)} ;;"
        f" *:5001/healthcheck) exit {int(not condition.healthy)} ;;"
        f" *:3000/healthcheck | *:80/healthcheck) exit {int(not condition.web)} ;;"
        " *) exit 3 ;; esac",
    )
    node.command(
        "docker",
        f"(( {int(condition.docker)} )) || exit 1\n"
        "case $* in ps) ;;"
        f" image*) exit {int(not condition.images)} ;;"
        f" *pg_isready*) exit {0 if condition.database else 2} ;;"
        " *) exit 3 ;; esac",
    )
    node.command("marquez-secret", f"exit {int(not condition.rotated)}")
    settings = re.search(r"node.env <<'END-OF-FILE'\n(.*?)END-OF-FILE", SCRIPTS[kind](), re.S)
    assert settings is not None
    (node.root / "etc/marquez").mkdir(exist_ok=True)
    (node.root / "etc/marquez/node.env").write_text(settings[1])
    node.run((BOOT / "marquez-watchdog").read_text())
    return [call.removeprefix("systemctl ") for call in node.calls() if call.startswith("systemctl ")]


@pytest.mark.parametrize("condition", [SOUND, DATABASE_AWAY, NEVER_STARTED])
def test_a_node_whose_database_is_away_is_left_alone_however_long(node: Node, condition: Condition) -> None:
    assert watch(node, condition, rounds=200) == []


BROKEN = {
    "the disk is full": (Condition(disk=False), []),
    "Docker is dead": (Condition(docker=False, web=False, ping=False, healthy=False), ["restart docker"]),
    "the web pages are dead": (Condition(web=False), ["restart marquez-web"]),
    "Marquez hangs": (Condition(ping=False, healthy=False), ["restart marquez"]),
    "the web pages are dead and the database is away": (
        replace(NEVER_STARTED, web=False),
        ["restart marquez-web"],
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_restarted_after_three_minutes(node: Node, broken: str) -> None:
    condition, restarts = BROKEN[broken]
    assert watch(node, condition, rounds=11) == []
    assert watch(node, condition, rounds=12) == restarts
    assert watch(node, condition, rounds=47) == restarts * 3


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(("kind", "end"), [("ha", "poweroff --force"), ("ec2", "reboot")])
def test_a_node_that_still_cannot_serve_after_twelve_minutes_is_given_up(
    node: Node, broken: str, kind: str, end: str
) -> None:
    condition, restarts = BROKEN[broken]
    assert watch(node, condition, rounds=48, kind=kind) == [*restarts * 3, end]


def test_a_node_that_serves_again_in_between_is_kept(node: Node) -> None:
    (node.root / "flaky").write_text("")
    watch(node, SOUND, rounds=0)  # lays the files
    # Every tenth round, the web pages answer.
    node.command("sleep", '(($(grep -c "^sleep" "$CALLS") <= 100)) || kill $PPID')
    node.command(
        "curl", 'case $* in *:3000/*) (($(grep -c "^sleep" "$CALLS") % 10 == 0)) || exit 1 ;; *) ;; esac'
    )
    node.calls_file.write_text("")
    node.run((BOOT / "marquez-watchdog").read_text())
    assert not node.called("^systemctl")


def test_a_node_is_not_given_up_while_its_images_are_pulled(node: Node) -> None:
    pulling = Condition(web=False, ping=False, healthy=False, images=False)
    assert watch(node, pulling, rounds=100) == []
    for service in ("marquez", "marquez-web", "marquez-db"):
        lines = (BOOT / f"{service}.service").read_text()
        assert re.search(r"^ExecStartPre=/usr/local/bin/marquez-pull \$\{\w+_IMAGE\}$", lines, re.M)
        assert "TimeoutStartSec=infinity" in lines


def test_a_rotated_password_restarts_marquez(node: Node) -> None:
    assert watch(node, Condition(healthy=False, rotated=True), rounds=1) == ["restart marquez"]
    rotated = Condition(rotated=True)
    assert watch(node, rotated, rounds=19) == []  # still open connections work
    assert watch(node, rotated, rounds=20) == ["restart marquez"]


def test_an_error_of_its_own_does_not_end_the_watchdog_and_its_count(node: Node) -> None:
    watch(node, SOUND, rounds=0)
    watch(node, Condition(disk=False), rounds=0)
    node.command("sleep", '(($(grep -c "^sleep" "$CALLS") <= 48)) || kill $PPID')
    node.command("dd", "exit 1")
    node.command("systemctl", "exit 1")
    node.command("rm", "exit 1")
    node.calls_file.write_text("")
    node.run((BOOT / "marquez-watchdog").read_text())
    assert node.called("^systemctl poweroff --force")


# marquez-pull


ECR_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/marquez:0.51.1"


def pull(node: Node, image: str, *, failing: int = 0) -> None:
    """Pull an image that is not here; the first calls of `docker pull` fail."""
    node.command(
        "docker",
        "case $* in image*) exit 1 ;; "
        'login*) printf \'with %s in %s\\n\' "$(cat)" "$DOCKER_CONFIG" >>"$CALLS" ;; '
        f'pull*) if (($(grep -c "^docker pull" "$CALLS") <= {failing})); then exit 1; fi ;; esac',
    )
    node.command("aws", "echo a-password")
    assert node.run((BOOT / "marquez-pull").read_text(), image).returncode == 0


def test_an_image_is_pulled_with_pauses_that_double(node: Node) -> None:
    pull(node, "registry.example/image:1", failing=8)
    assert pauses(node) == [5, 10, 20, 40, 80, 160, 300, 300]
    assert node.called("^docker pull --quiet registry.example/image:1$")


def test_an_image_that_is_here_is_not_pulled(node: Node) -> None:
    assert node.run((BOOT / "marquez-pull").read_text(), ECR_IMAGE).returncode == 0
    assert node.calls() == [f"docker image inspect {ECR_IMAGE}"]


def test_a_node_logs_in_to_amazon_ecr_before_each_attempt(node: Node) -> None:
    """The password is good for 12 hours, and a registry may be away for longer."""
    pull(node, ECR_IMAGE, failing=1)
    calls = [call for call in node.calls() if not call.startswith(("docker image", "sleep", "with"))]
    attempt = [
        "aws ecr get-login-password --region eu-west-1",
        "docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        f"docker pull --quiet {ECR_IMAGE}",
    ]
    # The two ends of a pipe start in either order.
    assert [sorted(calls[:3]), sorted(calls[3:])] == [attempt, attempt]
    assert (calls[2], calls[5]) == (attempt[2], attempt[2])
    assert node.called(f"^with a-password in {node.root}/run/marquez/login")


def test_the_login_does_not_stay_on_the_node(node: Node) -> None:
    pull(node, ECR_IMAGE)
    assert list((node.root / "run/marquez").iterdir()) == []


@pytest.mark.parametrize("image", ["docker.io/a/b:1", "public.ecr.aws/docker/library/postgres:16.11"])
def test_other_registries_are_read_without_a_login(node: Node, image: str) -> None:
    pull(node, image)
    assert not node.called("^aws ")
    assert not node.called("^docker login")
