"""Contents that do not fit into the parameter: read once, verified, kept on the host."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bluegreen import aws, objects
from bluegreen.aws import AwsError
from bluegreen.objects import Objects

CONTENT = '{"owners": "ä"}'
NAME = hashlib.sha256(CONTENT.encode()).hexdigest()
MISSING = "0" * 64


class Bucket:
    """S3, for requests of the gate's kind."""

    def __init__(self) -> None:
        self.objects = {f"/ownership/{NAME}.json": CONTENT.encode()}
        self.asked: list[str] = []

    def request(
        self, service: str, method: str, path: str, *, bucket: str, body: bytes, headers: Any, timeout: float
    ) -> bytes:
        assert (service, method, bucket, body, headers) == ("s3", "GET", "log", b"", {})
        assert timeout > 0
        self.asked.append(path)
        if path not in self.objects:
            raise AwsError("https://log.s3: 404 NoSuchKey")
        return self.objects[path]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()
    monkeypatch.setattr(aws, "request", bucket.request)
    return bucket


@pytest.fixture
def process(tmp_path: Path) -> Callable[[], Objects]:
    """A new process of the same host."""
    return lambda: Objects("log", tmp_path / "host")


def test_an_object_is_read_once_by_a_host(s3: Bucket, process: Callable[[], Objects]) -> None:
    assert [process().fetch(NAME) for _ in range(3)] == [CONTENT] * 3
    assert process().kept(NAME) == CONTENT
    assert len(s3.asked) == 1


def test_a_process_reads_its_files_once(s3: Bucket, process: Callable[[], Objects], tmp_path: Path) -> None:
    mine = process()
    mine.fetch(NAME)
    for file in (tmp_path / "host").iterdir():
        file.unlink()
    assert (mine.kept(NAME), mine.fetch(NAME)) == (CONTENT, CONTENT)
    assert len(s3.asked) == 1


def test_what_only_the_host_may_tell_never_asks_s3(s3: Bucket, process: Callable[[], Objects]) -> None:
    with pytest.raises(AwsError, match=f"the ownership object {NAME} is not on this host"):
        process().kept(NAME)
    assert s3.asked == []


@pytest.mark.parametrize("damage", [b"", b'{"owners": "b"}', b"\xff"])
def test_a_damaged_file_is_read_again(
    damage: bytes, s3: Bucket, process: Callable[[], Objects], tmp_path: Path
) -> None:
    process().fetch(NAME)
    [file] = (tmp_path / "host").iterdir()
    file.write_bytes(damage)
    with pytest.raises(AwsError, match="not on this host"):
        process().kept(NAME)
    assert process().fetch(NAME) == CONTENT
    assert file.read_text() == CONTENT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, f"s3://log/ownership/{NAME}.json: https://log.s3: 404 NoSuchKey"),
        (b"other", "ownership/.* does not have the content that its name states"),
    ],
)
def test_an_object_that_is_missing_or_not_the_one_is_no_content(
    content: bytes | None, reason: str, s3: Bucket, process: Callable[[], Objects], tmp_path: Path
) -> None:
    s3.objects = {} if content is None else {f"/ownership/{NAME}.json": content}
    with pytest.raises(AwsError, match=reason):
        process().fetch(NAME)
    assert list((tmp_path / "host").iterdir()) == []


def test_a_content_that_is_no_text_is_refused(s3: Bucket, process: Callable[[], Objects]) -> None:
    name = hashlib.sha256(b"\xff").hexdigest()
    s3.objects[f"/ownership/{name}.json"] = b"\xff"
    with pytest.raises(AwsError, match="the content is no text"):
        process().fetch(name)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", NAME.upper(), NAME + "\n"])
def test_a_name_is_a_hash_and_nothing_else(name: str, s3: Bucket, process: Callable[[], Objects]) -> None:
    with pytest.raises(AwsError, match="is not named by a SHA-256 hash"):
        process().fetch(name)
    assert s3.asked == []


def test_a_host_without_a_folder_reads_for_each_process(s3: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert Objects("log", tmp_path / "file" / "host").fetch(NAME) == CONTENT
    assert len(s3.asked) == 2


def test_a_full_disk_costs_only_more_reads(
    s3: Bucket, process: Callable[[], Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(objects, "write", full)
    assert [process().fetch(NAME) for _ in range(2)] == [CONTENT] * 2
    assert len(s3.asked) == 2


def test_a_host_keeps_what_it_used_last(s3: Bucket, process: Callable[[], Objects], tmp_path: Path) -> None:
    names = []
    for number in range(objects.KEPT + 3):
        content = f"content {number}".encode()
        names.append(hashlib.sha256(content).hexdigest())
        s3.objects[f"/ownership/{names[-1]}.json"] = content
    other = tmp_path / "host" / "other.json"
    for number, name in enumerate(names):
        process().fetch(name)
        process().kept(names[0])  # in use all the time
        for file in (tmp_path / "host").glob(f"ownership-{name}*"):
            os.utime(file, (number, number))
        other.touch()
    left = {file.name for file in (tmp_path / "host").glob("ownership-*")}
    assert left == {f"ownership-{name}.json" for name in (names[0], *names[4:])}
    assert other.exists()
