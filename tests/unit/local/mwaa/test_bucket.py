"""What MWAA reads from an environment's bucket."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from local.mwaa.bucket import Bucket, DagSync, extract
from local.mwaa.rules import ValidationError
from local.processes import LocalError
from tests.fakes.aws.s3 import FakeS3


def shop(objects: dict[str, bytes]) -> FakeS3:
    """The bucket of an environment."""
    s3 = FakeS3("shop", page_size=2)
    for key, content in objects.items():
        s3.buckets["shop"].put(key, content)
    return s3


def test_dags_follow_the_bucket_and_other_files_stay(tmp_path: Path) -> None:
    s3 = shop({"dags/a.py": b"1", "dags/sub/b.py": b"2", "plugins.zip": b"3", "dags/sub/": b""})
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "own.pyc").touch()
    sync = DagSync(Bucket("arn:aws:s3:::shop", s3), "dags/", folder, tmp_path / "dags.json")
    assert sync.sync() == 2
    assert (folder / "sub" / "b.py").read_text() == "2"
    assert sync.sync() == 0
    s3.buckets["shop"].objects = {"dags/a.py": b"changed"}
    assert sync.sync() == 2
    assert (folder / "a.py").read_text() == "changed"
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["a.py", "own.pyc"]


def test_a_key_that_points_outside_the_dags_folder_is_ignored(tmp_path: Path) -> None:
    bucket = Bucket(
        "arn:aws:s3:::shop", shop({"dags/../evil.py": b"1", "dags//etc/evil.py": b"1", "dags/good.py": b"2"})
    )
    assert list(bucket.list("dags")) == ["good.py"]


def test_plugins_are_replaced_as_a_whole(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "old.py").touch()
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("gate/new.py", "")
    extract(archive, plugins)
    assert [p.name for p in plugins.rglob("*.py")] == ["new.py"]


def test_plugins_that_are_no_zip_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "plugins.zip"
    archive.write_text("no zip")
    with pytest.raises(LocalError, match=r"plugins\.zip is not a zip file"):
        extract(archive, tmp_path / "plugins")


def test_an_object_version_that_cannot_be_read_is_a_validation_error() -> None:
    bucket = Bucket("arn:aws:s3:::shop", shop({"plugins.zip": b"3"}))
    with pytest.raises(ValidationError, match=r"unable to read version 7 of plugins\.zip in bucket shop"):
        bucket.newest_versions({"PluginsS3Path": "plugins.zip", "PluginsS3ObjectVersion": "7"})
