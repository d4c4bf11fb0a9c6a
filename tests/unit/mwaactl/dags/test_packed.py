"""plugins.zip in a bucket, of which only what is used is read."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

import pytest

from mwaactl.dags.packed import BLOCK, opened, plugins
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
    archive = opened(s3, REQUEST)
    assert {each.filename: archive.read(each) for each in plugins(archive)} == own
    assert len(aws.s3.read) < 7


@pytest.mark.parametrize("content", [b"", b"no archive", os.urandom(100_000)])
def test_what_is_no_archive_is_said_to_be_none(aws: FakeClients, content: bytes) -> None:
    aws.s3.buckets[BUCKETS[0]].put("plugins.zip", content)
    s3: Any = aws.s3
    with pytest.raises(zipfile.BadZipFile):
        opened(s3, REQUEST)
