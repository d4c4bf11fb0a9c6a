"""Marquez in containers, or the receiver in its place."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from local.home import Home
from local.marquez import back_end


def test_without_a_container_engine_the_receiver_takes_the_place_of_marquez(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/docker")
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda *a, **k: subprocess.CompletedProcess(a, returncode=1, stdout="", stderr=""),
    )
    assert back_end.docker_runs() is False


def test_marquez_containers_are_published_on_loopback_only() -> None:
    commands = back_end._run_arguments("mwaa-openlineage-fullha")
    published = [a[i + 1] for a in commands for i, word in enumerate(a) if word == "--publish"]
    assert len(published) == 2
    assert all(p.startswith("127.0.0.1:") for p in published)
    assert [a[-1] for a in commands] == [back_end.POSTGRES, back_end.MARQUEZ, back_end.MARQUEZ_WEB]


@pytest.mark.parametrize(
    ("stack", "asked"),
    [(None, []), ("standard", ["--filter", "name=mwaa-openlineage-standard-"])],
    ids=["all", "one"],
)
def test_containers_are_removed_of_one_stack_or_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: str | None, asked: list[str]
) -> None:
    commands: list[tuple[str, ...]] = []

    def docker(*arguments: str) -> str:
        commands.append(arguments)
        return "1a\n2b\n"

    monkeypatch.setattr(back_end, "docker_runs", lambda: True)
    monkeypatch.setattr(back_end, "_docker", docker)
    back_end.stop(Home(tmp_path), stack)
    assert commands == [
        ("ps", "--all", "--quiet", "--filter", "label=mwaa-openlineage.local", *asked),
        ("rm", "--force", "1a", "2b"),
    ]
    assert all(name.startswith("mwaa-openlineage-standard-") for name in names_of("standard"))


def names_of(stack: str) -> list[str]:
    commands = back_end._run_arguments(back_end._prefix(stack))
    return [words[words.index("--name") + 1] for words in commands]
