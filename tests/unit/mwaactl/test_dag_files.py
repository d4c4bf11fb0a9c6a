"""One folder to all buckets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bluegreen.proof import PROBE_FILE

from mwaactl.dag_files import PushResult, collect, push_dags
from mwaactl.errors import CheckFailed, UsageError
from tests.fakes.aws.clients import deployment, fresh_clients
from tests.fakes.aws.s3 import FakeS3

BLUE, GREEN = "mwaa-openlineage-fullha-blue-dags", "mwaa-openlineage-fullha-green-dags"


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
    assert len(s3.written) == 2
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


def test_one_bucket_that_fails_is_named_as_behind_and_the_other_is_served(folder: Path) -> None:
    s3 = FakeS3()
    del s3.buckets[GREEN]
    done = pushed(folder, s3)
    assert done.behind == ("mwaa-openlineage-fullha-green",)
    assert len(s3.buckets[BLUE].keys()) == 3


def test_files_that_do_not_parse_stop_everything_and_are_all_named(folder: Path) -> None:
    (folder / "bad.py").write_text("def f(:\n")
    (folder / "lib" / "worse.py").write_text("x = 1\nif\n")
    s3 = FakeS3()
    with pytest.raises(CheckFailed) as error:
        pushed(folder, s3)
    assert "bad.py:1" in str(error.value)
    assert "worse.py:2" in str(error.value)
    assert s3.written == []


def test_a_doubtful_escape_is_no_error(folder: Path) -> None:
    (folder / "daily.py").write_text('x = "\\d"\n')
    assert "daily.py" in collect(folder)


def test_an_empty_folder_cannot_empty_the_buckets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no files"):
        collect(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        collect(tmp_path / "nowhere")
