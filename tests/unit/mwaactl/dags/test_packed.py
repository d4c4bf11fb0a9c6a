"""plugins.zip in a bucket, of which only what is used is read."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

import pytest

from mwaactl.dags.packed import BLOCK, contents, opened
from tests.fakes.aws.clients import FakeClients
from tests.fakes.aws.s3 import BUCKETS

REQUEST = {"Bucket": BUCKETS[0], "Key": "plugins.zip"}


def put(aws: FakeClients, files: dict[str, bytes]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    aws.s3.buckets[BUCKETS[0]].put("plugins.zip", packed.getvalue())


def test_files_are_read_and_wheels_are_not(aws: FakeClients) -> None:
    gate = os.urandom(3 * BLOCK)  # in several parts
    own = {
        "bluegreen/gate.py": gate,
        "empty.py": b"",
        "team/old.whl": b"of a plugin",
        "x/constraints.txt": b"y",
    }
    put(aws, {"a-1-py3-none-any.whl": os.urandom(9 * BLOCK), "constraints.txt": b"a==1", **own})
    s3: Any = aws.s3
    assert contents(s3, REQUEST) == own
    assert len(aws.s3.read) < 7


@pytest.mark.parametrize("content", [b"", b"no archive", os.urandom(100_000)])
def test_what_is_no_archive_is_said_to_be_none(aws: FakeClients, content: bytes) -> None:
    aws.s3.buckets[BUCKETS[0]].put("plugins.zip", content)
    s3: Any = aws.s3
    with pytest.raises(zipfile.BadZipFile):
        opened(s3, REQUEST)


def damaged(at: int, new: bytes, *, name: str = "a.py") -> bytes:
    """An archive with other bytes at a place of its file's entry in the directory; < 0: of its content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"x = 1\n" * 100)
    content = bytearray(packed.getvalue())
    start = content.index(b"PK\1\2") + at
    content[start : start + len(new)] = new
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        damaged(8, b"\1"),  # encrypted
        damaged(10, b"\x63"),  # an unknown method
        damaged(6, b"\xff"),  # of a later version
        damaged(46, b"\xff\xff", name="\xe9.py"),  # a name that is not UTF-8
        damaged(-12, b"\xff" * 8),  # damaged
        damaged(20, b"\2"),  # cut off
    ],
)
def test_what_cannot_be_unpacked_is_no_archive(aws: FakeClients, content: bytes) -> None:
    aws.s3.buckets[BUCKETS[0]].put("plugins.zip", content)
    s3: Any = aws.s3
    with pytest.raises(zipfile.BadZipFile):
        contents(s3, REQUEST)
