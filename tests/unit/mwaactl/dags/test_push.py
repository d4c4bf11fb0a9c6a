"""One folder to all buckets."""

from __future__ import annotations

import itertools
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
from bluegreen.proof import PROBE_FILE

from mwaactl.dags import journal
from mwaactl.dags.push import SYNTAX_OPTION, PushResult, push_dags
from mwaactl.errors import CheckFailed, LostRace, Unreachable, Unusable, UsageError
from tests.fakes.aws.clients import deployment, fresh_clients, outputs
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import Clock, stop_time

BLUE, GREEN = "mwaa-openlineage-fullha-blue-dags", "mwaa-openlineage-fullha-green-dags"
PUSHED = ["dags/.airflowignore", "dags/daily.py", "dags/lib/tools.py"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dags = tmp_path / "dags"
    (dags / "lib" / "__pycache__").mkdir(parents=True)
    (dags / ".git").mkdir()
    (dags / "daily.py").write_text("x = 1\n")
    (dags / "lib" / "tools.py").write_text("y = 2\n")
    (dags / "lib" / "__pycache__" / "tools.cpython-311.pyc").write_bytes(b"\0")
    (dags / ".airflowignore").write_text("lib/\n")
    (dags / ".env").write_text("SECRET=1\n")
    (dags / ".git" / "config").write_text("x")
    return dags


def pushed(folder: Path, s3: FakeS3, **options: Any) -> PushResult:
    aws = fresh_clients()
    aws.s3 = s3
    return push_dags(deployment(aws), folder, **options)


def test_both_buckets_get_the_same_files_and_no_hidden_ones(folder: Path) -> None:
    s3 = FakeS3()
    done = pushed(folder, s3)
    assert (
        s3.buckets[BLUE].keys()
        == s3.buckets[GREEN].keys()
        == ["dags/.airflowignore", "dags/daily.py", "dags/lib/tools.py"]
    )
    blue, green = (s3.buckets[name] for name in (BLUE, GREEN))
    assert (blue.objects, blue.metadata) == (green.objects, green.metadata)
    assert done.behind == ()


@pytest.mark.parametrize("kms", [False, True])
def test_only_what_changed_is_uploaded_again(folder: Path, kms: bool) -> None:
    s3 = FakeS3(kms=kms)
    pushed(folder, s3)
    (folder / "daily.py").write_text("x = 2\n")  # the same size
    s3.written.clear()
    done = pushed(folder, s3)
    assert sorted(key for _, key in s3.written if key.startswith("dags/")) == ["dags/daily.py"] * 2
    assert done.environments["green"].changed == ("daily.py",)
    assert done.environments["green"].uploaded == ("daily.py",)
    assert done.environments["green"].unchanged == 2
    assert s3.buckets[GREEN].objects["dags/daily.py"] == b"x = 2\n"


def test_what_is_gone_stays_unless_delete_is_asked_for(folder: Path) -> None:
    s3 = FakeS3()
    pushed(folder, s3)
    s3.buckets[BLUE].put("requirements.txt", b"")
    (folder / "daily.py").unlink()
    assert pushed(folder, s3).environments["blue"].left == ("daily.py",)
    done = pushed(folder, s3, delete=True)
    assert done.environments["blue"].deleted == ("daily.py",)
    assert s3.buckets[BLUE].keys() == ["dags/.airflowignore", "dags/lib/tools.py", "requirements.txt"]


def test_the_probe_is_the_programs_own(folder: Path) -> None:
    """`pulumi up` writes it: a push neither deletes nor replaces it, nor calls it a leftover."""
    s3 = FakeS3()
    for bucket in (BLUE, GREEN):
        s3.buckets[bucket].put(f"dags/{PROBE_FILE}", b"the program's")
    (folder / PROBE_FILE).write_text("x = 1\n")
    done = pushed(folder, s3, delete=True)
    assert done.environments["blue"].left == done.environments["blue"].deleted == ()
    assert s3.buckets[BLUE].objects[f"dags/{PROBE_FILE}"] == b"the program's"


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    s3 = FakeS3()
    s3.buckets[BLUE].put("dags/old.py", b"")
    done = pushed(folder, s3, delete=True, dry_run=True)
    assert len(done.environments["green"].uploaded) == 3
    assert done.environments["blue"].deleted == ("old.py",)
    assert s3.buckets[BLUE].keys() == ["dags/old.py"]
    assert s3.buckets[GREEN].keys() == []


def test_a_bucket_that_refuses_keeps_both_as_they_are(folder: Path) -> None:
    s3 = FakeS3()
    del s3.buckets[GREEN]
    with pytest.raises(Unreachable, match=f"nothing was pushed, to no environment: .*{GREEN}"):
        pushed(folder, s3)
    assert s3.buckets[BLUE].keys() == s3.lineage.keys() == []


def test_a_bucket_that_refuses_new_contents_keeps_both_as_they_are(folder: Path) -> None:
    s3 = Refusing(GREEN, "dag-pushes/")
    with pytest.raises(Unreachable, match=f"nothing was pushed, to no environment: .*{GREEN}"):
        pushed(folder, s3)
    assert s3.buckets[BLUE].keys("dags/") == []
    s3.refused = ""
    assert pushed(folder, s3).finished is None
    assert s3.buckets[BLUE].keys() == s3.buckets[GREEN].keys() == PUSHED
    assert s3.lineage.keys() == []


def test_what_one_bucket_refuses_half_way_is_finished_by_the_next_push(folder: Path) -> None:
    s3 = Refusing(GREEN, "dags/daily.py")
    done = pushed(folder, s3)
    assert done.behind == ("mwaa-openlineage-fullha-green",)
    assert len(s3.buckets[BLUE].keys()) > len(PUSHED)  # the contents that green still needs are kept
    with pytest.raises(Unreachable, match="died half way and cannot be finished"):
        pushed(folder, s3)
    s3.refused = ""
    (folder / "daily.py").unlink()  # the next push is one of a folder without it: both sides keep it
    done = pushed(folder, s3)
    assert done.finished is not None
    assert s3.buckets[BLUE].keys() == s3.buckets[GREEN].keys() == PUSHED
    assert (done.environments["green"].left, done.left_apart) == (("daily.py",), ())
    assert s3.lineage.keys() == []


class Died(BaseException):
    """The process is gone: nothing of it runs any more."""


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("dies_at", range(24))
def test_a_push_that_dies_at_any_write_leaves_both_sides_alike_after_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int, delete: bool
) -> None:
    monkeypatch.setattr("mwaactl.dags.changes.AT_ONCE", 1)
    s3 = Dying(dies_at)
    for bucket in (BLUE, GREEN):
        s3.buckets[bucket].put("dags/old.py", b"x = 0\n")
        s3.buckets[bucket].put("dags/daily.py", b"x = 0\n")
    try:
        pushed(folder, s3, delete=delete)
    except Died:
        s3.dead.set()
        stop_time(monkeypatch, Clock())
    survivor = FakeS3()
    survivor.buckets = s3.buckets
    unfinished = journal.unfinished_push(cast(Any, survivor), LINEAGE_LOG)
    changed = survivor.buckets[BLUE].objects["dags/daily.py"] != b"x = 0\n"
    assert not changed or dies_at > 8
    assert (unfinished is None) or unfinished.alive
    (folder / "lib" / "tools.py").rename(folder / "later.py")  # the next push is one of another folder
    done = pushed(folder, survivor, delete=delete)
    blue, green = (survivor.buckets[name].objects for name in (BLUE, GREEN))
    assert blue == green
    maybe_left = set() if delete else {"dags/lib/tools.py"}
    assert blue.keys() - maybe_left == {
        *{*PUSHED, "dags/later.py"} - {"dags/lib/tools.py"},
        *(() if delete else ("dags/old.py",)),
    }
    assert survivor.lineage.keys() == []
    assert done.left_apart == ()


def test_a_push_is_refused_while_another_is_at_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = FakeS3()
    other = journal.new_push("elsewhere")
    beats = itertools.count(1)

    def sleep(_: float) -> None:
        beating = other.model_copy(update={"beat": next(beats)})
        s3.lineage.put(journal.KEY, beating.model_dump_json().encode())

    monkeypatch.setattr("mwaactl.clock.sleep", sleep)
    sleep(0)
    with pytest.raises(LostRace, match=r"the push of elsewhere that .* is at work"):
        pushed(folder, s3)
    assert s3.buckets[BLUE].keys() == []


def test_a_holder_that_was_asleep_changes_nothing_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(0, 30)
    monkeypatch.setattr("mwaactl.dags.journal._now", lambda: (float(next(now)), 0.0))
    s3 = FakeS3()
    with pytest.raises(LostRace, match="another push may have taken over"):
        pushed(folder, s3)
    assert s3.buckets[BLUE].keys() == s3.buckets[GREEN].keys() == []


def test_a_record_that_another_has_taken_over_stops_a_push(folder: Path) -> None:
    s3 = Stolen()
    with pytest.raises(LostRace, match="another push has taken over"):
        pushed(folder, s3)
    assert s3.buckets[BLUE].keys("dags/") == []
    assert s3.lineage.keys() == [journal.KEY]  # the thief's


def test_a_record_of_another_version_stops_a_push(folder: Path) -> None:
    s3 = FakeS3()
    s3.lineage.put(journal.KEY, b'{"format": 9}')
    with pytest.raises(Unusable, match="another version of mwaactl"):
        pushed(folder, s3)


def test_files_that_differ_between_the_sides_and_are_not_in_the_folder_are_named(folder: Path) -> None:
    s3 = FakeS3()
    s3.buckets[BLUE].put("dags/old.py", b"x = 0\n")
    assert pushed(folder, s3).left_apart == ("old.py",)
    assert pushed(folder, s3, delete=True).left_apart == ()


def test_files_that_do_not_parse_stop_everything_and_are_all_named(folder: Path) -> None:
    (folder / "bad.py").write_text("def f(:\n")
    (folder / "lib" / "worse.py").write_text("x = 1\nif\n")
    (folder / ".airflowignore").unlink()
    s3 = FakeS3()
    with pytest.raises(CheckFailed) as error:
        pushed(folder, s3)
    assert "bad.py:1" in str(error.value)
    assert "worse.py:2" in str(error.value)
    assert s3.written == []


def test_a_file_that_airflow_does_not_look_at_may_be_anything(folder: Path) -> None:
    (folder / "lib" / "template.py").write_text("{{ body }}}\n")
    assert "lib/template.py" in pushed(folder, FakeS3()).environments["blue"].uploaded


@pytest.mark.parametrize(
    ("airflow", "option", "stops"),
    [("2.11.2", None, False), ("3.0.6", None, True), ("3.0.6", "regexp", False), ("2.11.2", "glob", True)],
)
def test_each_side_reads_airflowignore_in_its_own_way(
    folder: Path, airflow: str, option: str | None, stops: bool
) -> None:
    (folder / ".airflowignore").write_text("temp.*\n")  # a pattern of gitignore: what begins with "temp."
    (folder / "template.py").write_text("{{ body }}}\n")
    aws = fresh_clients()
    sides = outputs()["airflow_environments"]
    for side in sides.values():
        side["airflow_version"] = airflow
        if option is not None:
            aws.mwaa.environments[side["name"]]["AirflowConfigurationOptions"] = {SYNTAX_OPTION: option}
    with pytest.raises(CheckFailed, match=r"template\.py:1") if stops else nullcontext():
        push_dags(deployment(aws, airflow_environments=sides), folder)


def test_python_of_the_older_side_decides(folder: Path) -> None:
    (folder / "daily.py").write_text("type Row = dict[str, int]\n")
    sides = outputs()["airflow_environments"]
    sides["green"]["airflow_version"] = "2.10.3"
    with pytest.raises(CheckFailed, match=r"daily.py:1: .*type.* \(Python 3.11\)"):
        push_dags(deployment(fresh_clients(), airflow_environments=sides), folder)
    assert pushed(folder, FakeS3()).behind == ()


def test_a_pattern_at_which_airflow_would_stop_is_refused(folder: Path) -> None:
    (folder / ".airflowignore").write_text("lib/\n!\n")
    with pytest.raises(CheckFailed, match=r"\.airflowignore:2: '!' is not a pattern"):
        pushed(folder, FakeS3())


def test_an_empty_folder_cannot_empty_the_buckets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no files"):
        pushed(tmp_path, FakeS3())


class Refusing(FakeS3):
    """S3 of which one bucket refuses to write below a prefix."""

    def __init__(self, bucket: str, prefix: str) -> None:
        super().__init__()
        self.bucket, self.refused = bucket, prefix

    def _write(self, bucket: str, key: str, content: bytes, metadata: dict[str, str] | None) -> None:
        if self.refused and bucket == self.bucket and key.startswith(self.refused):
            raise client_error("AccessDenied", 403, "PutObject")
        super()._write(bucket, key, content, metadata)


class Dying(FakeS3):
    """S3 whose caller dies at its n-th change; what its threads still ask for is not done."""

    def __init__(self, dies_at: int) -> None:
        super().__init__()
        self.left, self.dead = dies_at, threading.Event()

    def _write(self, bucket: str, key: str, content: bytes, metadata: dict[str, str] | None) -> None:
        self._count()
        super()._write(bucket, key, content, metadata)

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        self._count()
        super().delete_object(Bucket=Bucket, Key=Key)

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        self._count()
        return super().delete_objects(Bucket=Bucket, Delete=Delete)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.dead.set()
        if self.dead.is_set():
            raise Died


class Stolen(FakeS3):
    """S3 in which another push takes the record over once the new contents are there."""

    def _write(self, bucket: str, key: str, content: bytes, metadata: dict[str, str] | None) -> None:
        super()._write(bucket, key, content, metadata)
        if key.startswith("dag-pushes/") and bucket == BLUE:
            self.lineage.put(journal.KEY, journal.new_push("elsewhere").model_dump_json().encode())
