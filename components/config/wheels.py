"""Requirements as wheels, for environments that reach no package index: the folder that
`mwaactl requirements package` makes (mwaactl/dag_check/wheels.py), and whether it fits its environment."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from components.config.airflow_versions import python_of
from components.config.content import OPENLINEAGE
from components.config.files import PLUGINS, folder_files, located, requirement_lines
from components.config.rules import Problem, masked

REQUIREMENTS, CONSTRAINTS = "requirements.txt", "constraints.txt"
# What the environment's requirements.txt has before its pins. With constraints of its own it is not held to
# Amazon's, which may change while the wheels do not.
OPTIONS = (
    "--find-links /usr/local/airflow/plugins",
    "--no-index",
    "--constraint /usr/local/airflow/plugins/constraints.txt",
)
MADE = re.compile(r"# Made by `mwaactl requirements package` for Airflow (\S+) ")
NO_INDEX = re.compile(r"(?:^|\s)--no-i")  # pip takes abbreviations
PACKAGED = "#   "  # a line that was packaged
LARGEST = 1_000_000_000  # bytes of a plugins.zip that Amazon MWAA takes
# Of Amazon Linux 2023, on which its images are built: glibc 2.34.
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(34, 4, -1)),
    *(f"{each}_x86_64" for each in ("manylinux2014", "manylinux2010", "manylinux1", "linux")),
)


@dataclass(frozen=True)
class Wheels:
    """A folder of wheels. `packaged`: the lines that they fulfil, masked; `pins`: `name==version` of each."""

    folder: Path
    files: tuple[Path, ...]
    airflow_version: str
    packaged: frozenset[str]
    pins: tuple[str, ...]

    @classmethod
    def of(cls, path: str) -> Wheels:
        """The folder that a setting names. Raises OSError, ValueError if the command has not made it."""
        folder = located(path)
        lines = (folder / REQUIREMENTS).read_text().splitlines()
        made = MADE.match(lines[0]) if lines else None
        if made is None:
            raise ValueError(f"its {REQUIREMENTS} is of something else")
        return cls(
            folder=folder,
            files=tuple(sorted(folder.glob("*.whl"))),
            airflow_version=made[1],
            packaged=frozenset(each.removeprefix(PACKAGED) for each in lines if each.startswith(PACKAGED)),
            pins=tuple(each for each in lines if "==" in each and not each.startswith("#")),
        )

    @property
    def delivered(self) -> dict[str, Path]:
        """What plugins.zip has of it, by the path inside."""
        return {each.name: each for each in (*self.files, self.folder / CONSTRAINTS)}

    @property
    def requirements(self) -> str:
        """The environment's requirements.txt."""
        return "\n".join([*OPTIONS, *self.pins, ""])


def wheel_rules(known: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of an environment's wheels; `known` as in `environment_rules`."""
    path, version = known.get("wheels_folder"), known.get("airflow_version")
    try:
        of_file = [line for _, line in requirement_lines(known.get("requirements_file"))]
    except (OSError, UnicodeDecodeError):
        return  # a problem of its own
    lines = [*OPENLINEAGE, *known.get("requirements", ()), *of_file]
    if path is None:
        if any(NO_INDEX.search(line) for line in lines):
            allowed = "set with --no-index among the requirements, or pip finds nothing, not even OpenLineage"
            yield Problem("wheels_folder", None, f"{allowed}: mwaactl requirements package -o wheels")
        return
    again = f"mwaactl requirements package -o {path}"
    try:
        wheels = Wheels.of(path)
        reasons = [*_of_folder(wheels), *_of_environment(wheels, version, lines)]
    except (OSError, ValueError) as error:
        yield Problem("wheels_folder", path, f"a folder of wheels, to be made by: {again} ({error})")
        return
    for reason in reasons:
        yield Problem("wheels_folder", path, f"made anew by: {again} ({reason})")
    with suppress(OSError):  # a problem of plugins_folder's own
        yield from _of_plugins(wheels, known.get("plugins_folder"))


def _of_folder(wheels: Wheels) -> Iterator[str]:
    found = []
    for file in wheels.files:
        try:
            name, number, _, _ = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            yield f"{file.name} is not the name of a wheel"
            continue
        found.append(f"{name}=={number}")
    for pin in sorted(set(wheels.pins) - set(found)):
        yield f"{pin} is not among the wheels"
    for pin in sorted(set(found) - set(wheels.pins)):
        yield f"{pin} is among the wheels and not in {REQUIREMENTS}"
    for pin, count in sorted(Counter(found).items()):
        if count > 1:
            yield f"there are {count} wheels of {pin}"
    constraints = wheels.folder / CONSTRAINTS
    if not constraints.is_file() or sorted(constraints.read_text().split()) != sorted(wheels.pins):
        yield f"{CONSTRAINTS} has other versions than {REQUIREMENTS}"


def _of_environment(wheels: Wheels, version: str | None, lines: list[str]) -> Iterator[str]:
    if version is not None and wheels.airflow_version != version:
        yield f"it is for Airflow {wheels.airflow_version}, and this environment has {version}"
        return
    for line in lines:
        if masked(line) not in wheels.packaged and line not in OPTIONS:  # as the command writes it down
            yield f"it is without the requirement {line!r}"
    if version is None:
        return
    fitting = _tags(python_of(version))
    for file in wheels.files:
        try:
            tags = parse_wheel_filename(file.name)[3]
        except InvalidWheelFilename:
            continue
        if not {str(tag) for tag in tags} & fitting:
            yield f"{file.name} is not for Python {python_of(version)} on Linux x86_64"


def _of_plugins(wheels: Wheels, own: str | None) -> Iterator[Problem]:
    """Beside the wheels, plugins.zip has the program's plugins and the stack's own."""
    plugins = folder_files(PLUGINS)
    if own is not None and located(own).is_dir():
        theirs = folder_files(located(own))
        for name in sorted(
            each for each in theirs if each == CONSTRAINTS or re.fullmatch(r"[^/]+\.whl", each)
        ):
            allowed = (
                f"a folder without {name}: with wheels_folder, pip takes wheels and constraints from there"
            )
            yield Problem("plugins_folder", own, allowed)
        plugins |= theirs
    total = sum(map(len, plugins.values())) + sum(each.stat().st_size for each in wheels.files)
    if total > LARGEST:
        allowed = f"smaller: plugins.zip would have {total} bytes, and Amazon MWAA takes {LARGEST}"
        yield Problem("wheels_folder", str(wheels.folder), allowed)


def _tags(python: str) -> frozenset[str]:
    """What Amazon's image can install."""
    major, minor = map(int, python.split("."))
    cpython = cpython_tags((major, minor), platforms=PLATFORMS)
    return frozenset(map(str, (*cpython, *compatible_tags((major, minor), platforms=PLATFORMS))))
