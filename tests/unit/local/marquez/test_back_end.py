"""Marquez in containers, or the receiver in its place."""

from __future__ import annotations

import shutil
import subprocess

import pytest

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
