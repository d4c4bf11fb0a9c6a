"""The operator's folder of DAGs: the files that a push uploads, links followed as Airflow follows them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from stat import S_ISDIR, S_ISREG

from bluegreen.proof import WRITTEN_FILES

from mwaactl.errors import CheckFailed, UsageError

IGNORE_FILE = ".airflowignore"
LONGEST_NAME = 900  # bytes; S3 takes keys of 1,024, and a push stores more than the name
NAMED = 20  # how many problems are named before the rest is counted


@dataclass(frozen=True)
class File:
    """A file to upload, read once so that every environment gets the same bytes."""

    content: bytes

    @cached_property
    def md5(self) -> str:
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Folder:
    """The files to upload by relative name, and the links that lead out of the folder with their targets."""

    path: Path
    files: Mapping[str, File]
    links_out: Mapping[str, str] = field(default_factory=dict)


def read_folder(path: Path) -> Folder:
    """The files to upload: not `__pycache__`, nothing hidden but `.airflowignore`, and not what `pulumi up`
    writes.

    Buckets have no links: what a link leads to is uploaded under the link's name. Raises UsageError if there
    is no such folder or it is empty, CheckFailed naming everything in it that cannot be uploaded.
    """
    if shown(path) != str(path):
        raise UsageError(
            f"the path {shown(path)} is not valid UTF-8, and a push records it: rename the folder"
        )
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder. Name the folder of your DAGs: mwaactl dags push DIR")
    reading = _Reading(path.resolve())
    reading.read()
    if reading.problems:
        raise nothing_uploaded(f"{path / name}: {why}" for name, why in sorted(reading.problems.items()))
    if not reading.files:
        raise UsageError(f"{path} has no files to upload")
    return Folder(path, dict(sorted(reading.files.items())), reading.links_out)


def nothing_uploaded(problems: Iterable[str]) -> CheckFailed:
    """The error for files that stop a push."""
    every = list(problems)
    rest = [f"and {len(every) - NAMED} more"] if len(every) > NAMED else []
    return CheckFailed("nothing was uploaded; " + "; ".join([*every[:NAMED], *rest]))


class _Reading:
    """One walk through a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.files: dict[str, File] = {}
        self.links_out: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def read(self) -> None:
        # Not recursive: folders may be nested more deeply than Python's calls.
        waiting = [(PurePosixPath(), self._root, frozenset({self._root}))]
        while waiting:
            folder, place, above = waiting.pop()
            try:
                names = sorted(path.name for path in (self._root / folder).iterdir())
            except OSError as error:
                self.problems[str(folder)] = _reason(error)
                continue
            for name in names:
                inner = self._visit(folder / name, place / name, above)
                if inner is not None:
                    waiting.append((folder / name, inner, above | {inner}))

    def _visit(self, name: PurePosixPath, path: Path, above: frozenset[Path]) -> Path | None:
        """Read a file; of a folder, return where it really is."""
        if not _wanted(name):
            return None
        if problem := _unfit(name):
            self.problems[shown(name)] = problem
            return None
        try:
            kind = path.stat().st_mode
            place = path.resolve() if path.is_symlink() else path
            if place is not path and not place.is_relative_to(self._root):
                self.links_out[str(name)] = shown(place)
            if S_ISDIR(kind):
                return self._folder(name, place, above)
            if not S_ISREG(kind):
                self.problems[shown(name)] = "neither a file nor a folder: move it out of the DAGs folder"
            else:
                self.files[str(name)] = File(path.read_bytes())
        except (OSError, RuntimeError) as error:  # before Python 3.13, resolve() of a loop is a RuntimeError
            self.problems[shown(name)] = _reason(error, link=path.is_symlink())
        return None

    def _folder(self, name: PurePosixPath, place: Path, above: frozenset[Path]) -> Path | None:
        if place not in above:
            return place
        self.problems[shown(name)] = (
            "a link to a folder that contains it, which Airflow refuses as a recursive loop: remove the link"
        )
        return None


def _wanted(name: PurePosixPath) -> bool:
    """Whether a file, or what is in a folder, is uploaded; what is above it has been judged before."""
    if name.name == "__pycache__" or name.suffix == ".pyc" or name.as_posix() in WRITTEN_FILES:
        return False
    return not name.name.startswith(".") or name.name == IGNORE_FILE


def _unfit(name: PurePosixPath) -> str | None:
    """Why S3 cannot have an object of this name; None if it can."""
    try:
        size = len(str(name).encode())
    except UnicodeEncodeError:
        return "the name is not valid UTF-8, so S3 does not take it: rename it"
    if size > LONGEST_NAME:
        return f"the name has {size} bytes, and S3 takes about {LONGEST_NAME}: shorten it"
    return None


def shown(path: PurePath) -> str:
    """The path as text; what is not valid UTF-8 in it is escaped."""
    return str(path).encode(errors="backslashreplace").decode()


def _reason(error: Exception, *, link: bool = False) -> str:
    if link:
        return "a link that leads to nothing readable: remove or repair it"
    text = getattr(error, "strerror", None) or str(error)
    return f"{text}: make it readable, or move it out of the DAGs folder"
