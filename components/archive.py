"""Zip archives whose bytes depend only on their content: an unchanged archive is never uploaded again."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that the format can express


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """An archive of `{path inside: content}`: members in order of their paths, fixed times and modes."""
    buffer = io.BytesIO()
    write_zip(buffer, members)
    return buffer.getvalue()


def write_zip(file: IO[bytes], members: Mapping[str, bytes | Path]) -> None:
    """The same, into a file. A member that is a path is copied from there as it is: it is compressed already
    (a wheel), and may be larger than memory."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(members):
            content = members[path]
            info = zipfile.ZipInfo(path, EPOCH)
            info.external_attr = 0o100644 << 16
            info.create_system = 3  # Unix, on whatever system this runs
            if isinstance(content, Path):
                info.file_size = content.stat().st_size  # whether the member needs the format for large ones
                with content.open("rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target)
            else:
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, content)


def content_hash(members: Mapping[str, bytes | Path]) -> str:
    """16 hex digits that change with any member's path or content (and not with zlib's version)."""
    digest = hashlib.sha256()
    for path in sorted(members):
        content = members[path]
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        digest.update(f"{path}\0{size}\0".encode())
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as source:
            while block := source.read(1024 * 1024):
                digest.update(block)
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
