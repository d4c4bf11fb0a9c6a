"""Wheels of a requirements.txt, for an environment that reaches no package index.

uv resolves it as Amazon MWAA would, for the Python and the platform of Amazon's image, whatever this machine
is; pip fetches what that image does not have.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from local import processes
from local.airflow import locks
from local.airflow.install import Image
from local.home import Home
from local.uv import uv

# Amazon Linux 2023 has glibc 2.34. pip, unlike uv, does not take the older platforms for included.
GLIBC = 34
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC, 4, -1)),
    *(f"manylinux{year}_x86_64" for year in ("2014", "2010", "1")),
)
# Options of a requirements.txt that say where packages come from.
SOURCES = re.compile(r"\s*(-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host|--pre)\b")

INSTALLED = re.compile(r"^ \+ (([A-Za-z0-9._-]+)(?:==(\S+)| @ .+))$", re.MULTILINE)  # as uv says it


@dataclass(frozen=True)
class Packaged:
    """`wheels`: the files' names; with a `problem`, none is there."""

    version: str
    wheels: tuple[str, ...] = ()
    problem: str | None = None

    def fields(self) -> dict[str, object]:
        return asdict(self)


def package(home: Home, version: str, python: str, requirements: Path, folder: Path) -> Packaged:
    """Put the wheels into the folder. `python`: of Amazon's image, like "3.12".

    Raises LocalError if the version's image cannot be installed here.
    """
    image, text = Image(home, version), requirements.read_text()
    image.install()
    with tempfile.TemporaryDirectory() as scratch:
        constraints = image.constraints(Path(scratch), text)
        # As an installation into the image, parts of which have no wheels.
        command = [
            *(str(uv(home)), "pip", "install", "--dry-run", "--python", str(image.venv / "bin" / "python")),
            *("--python-version", python, "--python-platform", f"x86_64-manylinux_2_{GLIBC}"),
            *("--only-binary", ":all:"),  # the environment has no compiler
            *("--index-strategy", "unsafe-best-match", "-r", str(requirements)),
            *(argument for file in constraints for argument in ("-c", str(file))),
        ]
        resolved = _run(command, requirements.parent)
        if resolved.returncode:
            return Packaged(version, problem=resolved.stderr.strip()[-4000:])
        wanted = Path(scratch) / "wanted.txt"
        sources = [line for line in text.splitlines() if SOURCES.match(line)]
        wanted.write_text("\n".join([*sources, *_missing(resolved.stderr, version, text)]) + "\n")
        fetched = _run(_download(python, wanted, folder), requirements.parent)
        if fetched.returncode:
            return Packaged(version, problem=fetched.stderr.strip()[-4000:])
    return Packaged(version, tuple(sorted(each.name for each in folder.glob("*.whl"))))


def _missing(dry_run: str, version: str, requirements: str) -> Iterator[str]:
    """What the image does not have in this version, and of what it has, that which is asked for by name."""
    there = dict(_pins(locks.image(version)))
    for line, name, pinned in INSTALLED.findall(dry_run):
        if there.get(canonicalize_name(name)) != pinned:  # else it is for another Python than this machine's
            there.pop(canonicalize_name(name), None)
            yield line
    named = {name for line in requirements.splitlines() if (name := _name(line)) is not None}
    yield from (f"{name}=={there[name]}" for name in sorted(named & there.keys()))


def _pins(lock: str) -> Iterator[tuple[str, str]]:
    for name, pinned in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock, re.MULTILINE):
        yield canonicalize_name(name), pinned


def _name(line: str) -> str | None:
    try:
        return canonicalize_name(Requirement(line.partition(" #")[0].strip(" \\")).name)
    except InvalidRequirement:
        return None


def _download(python: str, wanted: Path, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python),
        *(argument for platform in PLATFORMS for argument in ("--platform", platform)),
        *("--dest", str(folder), "-r", str(wanted)),
    ]


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=processes.clean_environ(), cwd=folder, capture_output=True, text=True, check=False
    )
