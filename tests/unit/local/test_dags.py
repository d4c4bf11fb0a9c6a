"""Which folder `make local` runs, and which of its DAGs it says that a switch treats unlike others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from local import dags
from local.home import CHECKOUT, Home
from local.processes import LocalError, all_running, clean_environ, start

SERIAL = "serial (one run or task at a time): it moves when it is idle"
ASSETS = "triggered by assets: its runs follow their producers"


@pytest.mark.parametrize(
    ("runs", "folder", "exact"),
    [
        ([""], dags.EXAMPLES, False),  # what was pushed beside the examples by hand stays
        (["mine"], None, True),
        (["mine", ""], None, True),
        (["dags"], dags.EXAMPLES, True),
        (["mine", "dags"], dags.EXAMPLES, True),
        (["mine", "dags", ""], dags.EXAMPLES, True),  # also if the run before it had failed
    ],
    ids=lambda value: " then ".join(each or "none" for each in value) if isinstance(value, list) else "",
)
def test_the_buckets_hold_exactly_the_folder_that_was_named_now_or_last_time(
    tmp_path: Path, runs: list[str], folder: Path | None, exact: bool
) -> None:
    mine, home = tmp_path / "mine", Home(tmp_path / "home")
    mine.mkdir()
    for given in runs:
        chosen = dags.chosen(home, str(mine) if given == "mine" else given)
    assert chosen == dags.Chosen(folder or mine, exact=exact)
    assert ("--delete" in dags.push(chosen, "fullha")) is exact
    assert str(chosen.folder) in dags.push(chosen, "fullha")


def test_the_folder_of_the_last_time_is_pushed_no_more_once_another_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    command = tmp_path / "mwaactl"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked; ls {home.run} > {tmp_path}/running\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    start(home, dags.NAME, ["sleep", "60"], env=clean_environ())
    dags.bring(home, dags.Chosen(dags.EXAMPLES, exact=True), "fullha", {}, print)
    assert (tmp_path / "asked").read_text().startswith(f"dags push {dags.EXAMPLES} ")
    assert (tmp_path / "running").read_text() == ""
    assert all_running(home) == [], "the examples are not watched"


def test_a_folder_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    home, mine = Home(tmp_path / "home"), tmp_path / "mine"
    with pytest.raises(LocalError, match=r"DAGS=nowhere: .*/nowhere is not a folder"):
        dags.chosen(home, "nowhere")
    mine.mkdir()
    dags.chosen(home, str(mine))
    mine.rmdir()
    with pytest.raises(LocalError, match=r"last .*/mine is not a folder any more\..* DAGS=dags"):
        dags.chosen(home, "")


def answer(**fields: Any) -> str:
    return json.dumps({"versions": [{"import_errors": []}], "special": {}, **fields})


def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, code: int = 0
) -> tuple[tuple[str, ...], str]:
    """The lines, and what was reported, when `mwaactl dags check` prints this."""
    (tmp_path / "output").write_text(output)
    command = tmp_path / "mwaactl"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/output\nexit {code}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    reports: list[str] = []
    lines = dags.unlike_others(tmp_path / "mine", "fullha", {}, reports.append)
    assert (tmp_path / "asked").read_text().strip() == f"dags check {tmp_path}/mine -s fullha --json"
    return lines, "\n".join(reports)


def test_the_dags_stand_in_a_table_with_the_page_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = {"nightly": [SERIAL, ASSETS], "ab": [ASSETS]}
    lines, _ = told(tmp_path, monkeypatch, answer(special=special))
    assert lines == (
        "A switch treats these DAGs unlike others (see docs/switching.md):",
        f"  ab       {ASSETS}",
        f"  nightly  {SERIAL}",
        f"           {ASSETS}",
    )
    assert (CHECKOUT / dags.ABOUT_SWITCHES).exists()


def test_of_many_the_command_shows_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    special = {f"dag_{number:02}": [SERIAL] for number in range(dags.SHOWN + 3)}
    lines, _ = told(tmp_path, monkeypatch, answer(special=special))
    assert len(lines) == dags.SHOWN + 2
    assert lines[-1] == f"  and 3 more: mwaactl dags check {tmp_path}/mine -s fullha"


def test_where_there_are_none_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, reported = told(tmp_path, monkeypatch, answer())
    assert lines == ()
    assert reported.count("\n") == 0, "the command itself"


def test_a_file_that_cannot_be_imported_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [{"file": "broken.py", "message": "Traceback\nNameError: x", "unknown": False}]
    text = answer(versions=[{"import_errors": errors}], special={"ab": [SERIAL]}, error="cannot be imported")
    lines, reported = told(tmp_path, monkeypatch, text, code=1)
    assert "broken.py was not looked at: NameError: x" in reported
    assert lines[1:] == (f"  ab  {SERIAL}",)


@pytest.mark.parametrize("output", ["", '{"error": "requirements cannot be installed"}'])
def test_a_check_that_fails_is_reported_and_does_not_fail_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    lines, reported = told(tmp_path, monkeypatch, output, code=2)
    assert lines == ()
    assert f"they are not known: {output}" in reported


def test_the_examples_are_not_looked_at() -> None:
    assert dags.unlike_others(dags.EXAMPLES, "fullha", {}, print) == ()
