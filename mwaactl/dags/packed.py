"""The plugins.zip of an environment: what of it an environment runs, without reading the wheels beside it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# What the setting `wheels_folder` adds at the top: packages of one Airflow version, for pip.
CONSTRAINTS = "constraints.txt"
# What `zipfile` raises besides: cut off, by an unknown method, encrypted, with a name of no text, damaged.
UNPACKED = (EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, zlib.error)
BLOCK = 256 * 1024  # bytes that are read at once


def opened(s3: S3Client, request: Mapping[str, Any]) -> zipfile.ZipFile:
    """The archive of which this is the request for `head_object`; only what is used of it is read.

    Raises BadZipFile, and boto3's errors, also while it is read.
    """
    size = s3.head_object(**request)["ContentLength"]
    with _unpacking():
        return zipfile.ZipFile(io.BufferedReader(_Ranges(s3, request, size), BLOCK))


def plugins(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files that Airflow may load."""
    return [each for each in archive.infolist() if not each.is_dir() and not of_wheels(each.filename)]


def contents(s3: S3Client, request: Mapping[str, Any]) -> dict[str, bytes]:
    """The files that Airflow may load, by name. Raises BadZipFile for all that cannot be unpacked."""
    archive = opened(s3, request)
    with _unpacking():
        return {each.filename: archive.read(each) for each in plugins(archive)}


@contextmanager
def _unpacking() -> Iterator[None]:
    try:
        yield
    except UNPACKED as error:
        raise zipfile.BadZipFile(str(error)) from error


def of_wheels(name: str) -> bool:
    """Whether pip installs from it."""
    return name == CONSTRAINTS or ("/" not in name and name.endswith(".whl"))


class _Ranges(io.RawIOBase):
    """An object in a bucket as a file."""

    def __init__(self, s3: S3Client, request: Mapping[str, Any], size: int) -> None:
        self._s3, self._request, self._size, self._at = s3, request, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if self._at < 0:  # as a file says it
            raise OSError(22, "Invalid argument")
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        with self._s3.get_object(**self._request, Range=f"bytes={self._at}-{end - 1}")["Body"] as body:
            content = body.read()
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
