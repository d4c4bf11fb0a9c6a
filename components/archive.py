"""Zip archives whose bytes depend only on their content: an unchanged archive is never uploaded again."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that the format can express


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """An archive of `{path inside: content}`: members in order of their paths, fixed times and modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(members):
            info = zipfile.ZipInfo(path, EPOCH)
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, on whatever system this runs
            archive.writestr(info, members[path])
    return buffer.getvalue()


def content_hash(members: Mapping[str, bytes]) -> str:
    """16 hex digits that change with any member's path or content (and not with zlib's version)."""
    digest = hashlib.sha256()
    for path in sorted(members):
        digest.update(f"{path}\0{len(members[path])}\0".encode())
        digest.update(members[path])
    return digest.hexdigest()[:16]


def package_files(
    package: Path, *, suffixes: frozenset[str] = frozenset({".py", ".txt"})
) -> dict[str, bytes]:
    """The files of a Python package, under paths that start with the package's name; without caches."""
    return {
        path.relative_to(package.parent).as_posix(): path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.suffix in suffixes and "__pycache__" not in path.parts
    }
