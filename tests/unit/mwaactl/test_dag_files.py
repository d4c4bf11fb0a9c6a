"""One folder to all buckets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mwaactl.dag_files import PushResult, collect, push_dags
from mwaactl.errors import CheckFailed, UsageError
from tests.fakes.aws import client_error, cloud, deployment

BLUE, GREEN = "mwaa-openlineage-fullha-blue-dags", "mwaa-openlineage-fullha-green-dags"


class S3:
    """Buckets of key -> (content, metadata); `kms` ones answer ETags that are no MD5, as S3 does."""

    def __init__(self, kms: bool = False) -> None:
        self.kms, self.buckets = kms, {BLUE: cast(dict[str, Any], {}), GREEN: cast(dict[str, Any], {})}
        self.broken: set[str] = set()
        self.puts = 0

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"

        def paginate(*, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's names
            if Bucket in self.broken:
                raise client_error("NoSuchBucket", 404)
            found = [
                {"Key": key, "Size": len(content), "ETag": f'"{self._etag(content)}"'}
                for key, (content, _) in sorted(self.buckets[Bucket].items())
                if key.startswith(Prefix)
            ]
            yield {"Contents": found} if found else {}

        return SimpleNamespace(paginate=paginate)

    def _etag(self, content: bytes) -> str:
        return "of-kms" if self.kms else hashlib.md5(content).hexdigest()

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, Metadata: dict[str, str]) -> None:  # noqa: N803
        self.puts += 1
        self.buckets[Bucket][Key] = (Body, Metadata)

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        return {"Metadata": self.buckets[Bucket][Key][1]}

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        for item in Delete["Objects"]:
            del self.buckets[Bucket][item["Key"]]
        return {}

    def keys(self, bucket: str) -> list[str]:
        return sorted(self.buckets[bucket])


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


def pushed(folder: Path, s3: S3, **options: Any) -> PushResult:
    aws = cloud()
    aws.s3 = s3
    return push_dags(deployment(aws), folder, **options)


def test_both_buckets_get_the_same_files_and_no_hidden_ones(folder: Path) -> None:
    s3 = S3()
    done = pushed(folder, s3)
    assert s3.keys(BLUE) == s3.keys(GREEN) == ["dags/.airflowignore", "dags/daily.py", "dags/lib/tools.py"]
    assert s3.buckets[BLUE] == s3.buckets[GREEN]
    assert done.behind == ()


@pytest.mark.parametrize("kms", [False, True])
def test_only_what_changed_is_uploaded_again(folder: Path, kms: bool) -> None:
    s3 = S3(kms)
    pushed(folder, s3)
    (folder / "daily.py").write_text("x = 2\n")  # the same size
    s3.puts = 0
    done = pushed(folder, s3)
    assert s3.puts == 2
    assert done.environments["green"].uploaded == ("daily.py",)
    assert done.environments["green"].unchanged == 2
    assert s3.buckets[GREEN]["dags/daily.py"][0] == b"x = 2\n"


def test_what_is_gone_stays_unless_delete_is_asked_for(folder: Path) -> None:
    s3 = S3()
    pushed(folder, s3)
    s3.buckets[BLUE]["requirements.txt"] = (b"", {})
    (folder / "daily.py").unlink()
    assert pushed(folder, s3).environments["blue"].left == ("daily.py",)
    done = pushed(folder, s3, delete=True)
    assert done.environments["blue"].deleted == ("daily.py",)
    assert s3.keys(BLUE) == ["dags/.airflowignore", "dags/lib/tools.py", "requirements.txt"]


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    s3 = S3()
    s3.buckets[BLUE]["dags/old.py"] = (b"", {})
    done = pushed(folder, s3, delete=True, dry_run=True)
    assert len(done.environments["green"].uploaded) == 3
    assert done.environments["blue"].deleted == ("old.py",)
    assert s3.keys(BLUE) == ["dags/old.py"]
    assert s3.keys(GREEN) == []


def test_one_bucket_that_fails_is_named_as_behind_and_the_other_is_served(folder: Path) -> None:
    s3 = S3()
    s3.broken.add(GREEN)
    done = pushed(folder, s3)
    assert done.behind == ("mwaa-openlineage-fullha-green",)
    assert len(s3.keys(BLUE)) == 3


def test_files_that_do_not_parse_stop_everything_and_are_all_named(folder: Path) -> None:
    (folder / "bad.py").write_text("def f(:\n")
    (folder / "lib" / "worse.py").write_text("x = 1\nif\n")
    s3 = S3()
    with pytest.raises(CheckFailed) as error:
        pushed(folder, s3)
    assert "bad.py:1" in str(error.value)
    assert "worse.py:2" in str(error.value)
    assert s3.puts == 0


def test_a_doubtful_escape_is_no_error(folder: Path) -> None:
    (folder / "daily.py").write_text('x = "\\d"\n')
    assert "daily.py" in collect(folder)


def test_an_empty_folder_cannot_empty_the_buckets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no files"):
        collect(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        collect(tmp_path / "nowhere")
