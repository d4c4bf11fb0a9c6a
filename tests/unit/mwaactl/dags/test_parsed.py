"""`dags push --wait` and `dags diff`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bluegreen.proof import PROBE, PROBE_FILE

from tests.fakes.aws.clients import BLUE, GREEN, FakeClients
from tests.fakes.aws.errors import refused
from tests.fakes.mwaactl.commands import Command, output

ROOT = "/usr/local/airflow/dags/"
SOURCE = "from airflow import DAG\n"


class Airflow:
    """An Airflow that reads its bucket every 20 s, `delay` seconds behind it, and parses all files then."""

    def __init__(self, aws: FakeClients, name: str, *, delay: float, first_find: float = 0) -> None:
        self._aws, self._bucket = aws, aws.s3.buckets[f"{name}-dags"]
        self.delay, self._first_find = delay, first_find
        self.broken: set[str] = set()
        self.shows_sources = True
        self.stuck: dict[str, str] = {}  # files that it goes on parsing, whatever is in its bucket
        aws.mwaa.airflow[name]["/dags"] = self._dags
        aws.mwaa.airflow[name]["/importErrors"] = self._errors
        self._sources = aws.mwaa.airflow[name]

    @property
    def _now(self) -> datetime:
        return self._aws.ssm.clock.now

    def _files(self) -> dict[str, tuple[str, datetime]]:
        """What it has, with the time at which it was last parsed."""
        parsed = self._now - timedelta(seconds=self._now.timestamp() % 20)
        if self.stuck:
            return {name: (source, parsed) for name, source in self.stuck.items()}
        return {
            key.removeprefix("dags/"): (self._bucket.objects[key].decode().replace("\r\n", "\n"), parsed)
            for key in self._bucket.keys("dags/")
            if self._bucket.modified[key] + timedelta(seconds=self.delay) < parsed
        }

    def _dags(self, _query: Any) -> dict[str, Any]:
        dags = [{"dag_id": PROBE, "is_paused": False, "fileloc": ROOT + PROBE_FILE}]
        for name, (source, parsed) in self._files().items():
            if "DAG" in source and name not in self.broken:
                dag_id = name.replace("/", ".").removesuffix(".py")
                place = {"fileloc": ROOT + name, "last_parsed_time": parsed.isoformat()}
                dags.append({"dag_id": dag_id, "is_paused": False, **place})
                answer = {"content": source} if self.shows_sources else refused(404, detail="not found")
                self._sources[f"/dagSources/{dag_id}"] = answer
        return {"dags": dags, "total_entries": len(dags)}

    def _errors(self, _query: Any) -> dict[str, Any]:
        errors = [
            {"filename": ROOT + name, "timestamp": parsed.isoformat(), "stack_trace": "NameError: no x"}
            for name, (_, parsed) in self._files().items()
            if name in self.broken
        ]
        return {"import_errors": errors, "total_entries": len(errors)}


@pytest.fixture
def airflows(aws: FakeClients, monkeypatch: pytest.MonkeyPatch) -> tuple[Airflow, Airflow]:
    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return aws.ssm.clock.now

    monkeypatch.setattr("tests.fakes.aws.s3.datetime", Now)
    return Airflow(aws, BLUE, delay=10), Airflow(aws, GREEN, delay=35)


@pytest.fixture
def push(run: Command, airflows: object, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    (tmp_path / "daily.py").write_text(SOURCE)

    def pushed(*options: str, code: int = 0) -> dict[str, Any]:
        result = run("dags", "push", str(tmp_path), "--wait", "--json", *options)
        assert result.exit_code == code, result.output
        return output(result)

    return pushed


Push = Callable[..., dict[str, Any]]


def test_it_waits_until_each_airflow_shows_exactly_this_source(
    push: Push, aws: FakeClients, tmp_path: Path
) -> None:
    parsed = push()["parsed"]
    assert {side["by_source"] == ["daily.py"] for side in parsed.values()} == {True}
    (tmp_path / "daily.py").write_text(SOURCE + "x = 2\n")
    before = aws.ssm.clock.seconds
    assert push()["parsed"]["green"]["by_source"] == ["daily.py"]
    assert 35 < aws.ssm.clock.seconds - before <= 60, "green's copy is 35 s behind"
    before = aws.ssm.clock.seconds
    push()
    assert aws.ssm.clock.seconds == before, "nothing has changed"


def test_without_sources_the_time_of_the_parsing_decides(
    push: Push, airflows: tuple[Airflow, Airflow], aws: FakeClients
) -> None:
    for airflow in airflows:
        airflow.shows_sources = False
    before = aws.ssm.clock.seconds
    assert push()["parsed"]["green"]["by_time"] == ["daily.py"]
    assert 60 <= aws.ssm.clock.seconds - before <= 85


def test_a_module_is_read_when_every_dag_has_been_parsed_so_long_after_it(
    push: Push, aws: FakeClients, tmp_path: Path
) -> None:
    push()
    aws.ssm.clock.forward(100)
    (tmp_path / "tools.py").write_text("y = 1\n")
    before = aws.ssm.clock.seconds
    push()
    assert 60 <= aws.ssm.clock.seconds - before <= 85


def test_a_file_of_which_no_dag_appears_is_named(push: Push, aws: FakeClients, tmp_path: Path) -> None:
    (tmp_path / "none.py").write_text("import airflow  # dag\n")
    before = aws.ssm.clock.seconds
    assert push()["parsed"]["blue"]["without_dags"] == ["none.py"]
    assert aws.ssm.clock.seconds - before >= 360, "Airflow looks for new files every 5 minutes"


def test_an_import_error_of_the_new_file_ends_the_wait(push: Push, airflows: tuple[Airflow, Airflow]) -> None:
    airflows[1].broken.add("daily.py")
    assert f"cannot import them: {GREEN}: daily.py: NameError: no x" in push(code=1)["error"]


def test_an_airflow_that_never_parses_is_not_waited_for_forever(
    push: Push, airflows: tuple[Airflow, Airflow]
) -> None:
    airflows[1].delay = 10_000
    error = push("--timeout", "200", code=5)["error"]
    assert f"not parsed after 200 s: {GREEN}: daily.py, of which no DAG has appeared" in error


def test_an_airflow_that_goes_on_with_an_old_file_is_seen_by_its_source(
    push: Push, airflows: tuple[Airflow, Airflow]
) -> None:
    airflows[1].stuck = {"daily.py": SOURCE + "x = 1\n"}
    error = push("--timeout", "200", code=5)["error"]
    assert f"not parsed after 200 s: {GREEN}: daily.py, of which it has another source" in error


def test_the_ends_of_lines_are_those_that_airflow_reads(push: Push, tmp_path: Path) -> None:
    (tmp_path / "daily.py").write_bytes(b"from airflow import DAG\r\n")
    assert push()["parsed"]["blue"]["by_source"] == ["daily.py"]


def test_what_was_deleted_must_be_gone(push: Push, aws: FakeClients, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(SOURCE)
    push()
    (tmp_path / "old.py").unlink()
    assert push()["environments"]["blue"]["left"] == ["old.py"]
    stays = aws.mwaa.airflow[GREEN]["/dags"](None)
    aws.mwaa.airflow[GREEN]["/dags"] = stays
    error = push("--delete", "--timeout", "100", code=5)["error"]
    assert f"{GREEN}: old.py is deleted, and old still there" in error


def test_the_difference_is_shown_by_side_and_line(run: Command, aws: FakeClients, tmp_path: Path) -> None:
    (tmp_path / "daily.py").write_text("x = 1\ny = 2\n")
    (tmp_path / "data.bin").write_bytes(b"\xff\xfe")
    aws.s3.buckets[f"{BLUE}-dags"].put("dags/daily.py", b"x = 1\ny = 1\n")
    aws.s3.buckets[f"{BLUE}-dags"].put("dags/data.bin", b"\xff")
    aws.s3.buckets[f"{GREEN}-dags"].put("dags/daily.py", b"x = 1\ny = 2\n")
    aws.s3.buckets[f"{GREEN}-dags"].put("dags/old.py", b"")
    sides = output(run("dags", "diff", str(tmp_path), "--json"))["environments"]
    assert sides["blue"]["changed"]["daily.py"].splitlines()[3:] == [" x = 1", "-y = 1", "+y = 2"]
    assert sides["blue"]["changed"]["data.bin"] == ""
    assert (sides["green"]["new"], sides["green"]["only_in_bucket"]) == (["data.bin"], ["old.py"])
    shown = run("dags", "diff", str(tmp_path)).stdout
    assert "  changed  data.bin (not text)\n" in shown
    assert "    -y = 1\n    +y = 2\n" in shown
    assert aws.s3.written == []


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("x\n", "x\r\n", ["-x", "+x\u240d"]),
        ("x\r\n", "x\r", ["-x\u240d", "+x\u240d", "\\ No newline at end of file"]),
        ("x\n", "x", ["-x", "+x", "\\ No newline at end of file"]),
        ("x\ry\n", "x\r\ny\n", ["-x\u240dy", "+x\u240d", "+y"]),
        ("", "x\n", ["+x"]),
        ("x\x0cy\n", "x\x0cz\n", ["-x\x0cy", "+x\x0cz"]),
        (
            "-i https://me:old@pypi.it\n",
            "-i https://me:new@pypi.it\n",
            ["--i https://****@pypi.it", "+-i https://****@pypi.it"],
        ),
    ],
)
def test_ends_of_lines_are_differences_too_and_passwords_are_masked(
    run: Command, aws: FakeClients, tmp_path: Path, before: str, after: str, shown: list[str]
) -> None:
    (tmp_path / "daily.txt").write_bytes(after.encode())
    for name in (BLUE, GREEN):
        aws.s3.buckets[f"{name}-dags"].put("dags/daily.txt", before.encode())
    blue = output(run("dags", "diff", str(tmp_path), "--json"))["environments"]["blue"]
    assert blue["changed"]["daily.txt"].split("\n")[3:] == shown
    printed = run("dags", "diff", str(tmp_path)).stdout
    assert all(f"    {line}\n".replace("\x0c", "") in printed for line in shown)
