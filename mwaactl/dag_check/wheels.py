"""`requirements package`: the requirements of an environment as wheels, and the requirements.txt that uses
them. The program puts both into plugins.zip (components/config/wheels.py reads what is written here)."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from packaging.utils import parse_wheel_filename

from mwaactl.dag_check.airflows import OPENLINEAGE, Checkout
from mwaactl.dag_check.model import Package, WheelFile
from mwaactl.dags.masked import masked
from mwaactl.dags.syntax import python_of
from mwaactl.errors import CheckFailed, UsageError
from mwaactl.images import StackConfig

COLOURS = ("blue", "green")
REQUIREMENTS, CONSTRAINTS = "requirements.txt", "constraints.txt"
# As Amazon documents it. With constraints of its own, the file is not held to Amazon's, which change.
OPTIONS = (
    "--find-links /usr/local/airflow/plugins",
    "--no-index",
    "--constraint /usr/local/airflow/plugins/constraints.txt",
)
MADE = "# Made by `mwaactl requirements package` for Airflow "
Form = TypeVar("Form", list[Any], dict[str, Any])
LARGEST = 1_000_000_000  # bytes of a plugins.zip that Amazon MWAA takes


def package(
    checkout: Checkout, version: str, lines: Sequence[str], folder: Path, side: str | None = None
) -> Package:
    """Write the wheels of these lines, and of those that the program adds, into the folder.

    It is new, empty, or of an earlier package; on an error it stays as it is. Raises CheckFailed if a line
    has no wheel, UsageError.
    """
    python = python_of(version)
    try:
        _check_folder(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return _package(checkout, version, python, lines, folder, side)
    except OSError as error:
        raise UsageError(f"the wheels cannot be written: {error}. Name another folder: -o DIR") from error


def _package(
    checkout: Checkout, version: str, python: str, lines: Sequence[str], folder: Path, side: str | None
) -> Package:
    every = [*OPENLINEAGE.splitlines(), *lines]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheels-") as scratch:
        fresh = Path(scratch)
        made = checkout.wheels(version, "\n".join([*every, ""]), python, fresh)
        if made.problem is not None:
            raise CheckFailed(
                f"not all of it can be had as wheels for Airflow {version}, and nothing was written: Python "
                f"{python}, Linux x86_64, constraints of that version.\n{made.problem}"
            )
        wheels = tuple(WheelFile(name=name, size=(fresh / name).stat().st_size) for name in made.wheels)
        if sum(each.size for each in wheels) > LARGEST:
            raise CheckFailed(
                f"the wheels have {sum(each.size for each in wheels)} bytes, and Amazon MWAA takes a "
                f"plugins.zip of {LARGEST} at most; nothing was written. Leave out what no DAG imports"
            )
        write(fresh, version, python, every, made.wheels)
        _replace(folder, fresh)
    whole, project = folder.resolve(), checkout.folder.resolve()
    shown = whole.relative_to(project) if whole.is_relative_to(project) else whole
    return Package(airflow_version=version, python=python, folder=str(shown), side=side, wheels=wheels)


def of_settings(config: StackConfig, side: str | None) -> tuple[str, list[str]]:
    """The Airflow version and the lines of the stack's settings, deployed or not.

    `side`: of this environment alone. Raises UsageError if the sides have different versions.
    """
    settings = config.read()
    if side not in (None, *COLOURS):
        raise UsageError(f"--side {side}: must be blue or green")
    both = settings.get("enable_blue_green") == "true"
    colours = (side,) if side else COLOURS if both else COLOURS[:1]
    sides = [{**settings, **_object(settings, colour)} for colour in colours]
    versions = {colour: own["airflow_version"] for colour, own in zip(colours, sides, strict=True)}
    if len(set(versions.values())) > 1:
        listed = " and ".join(f"{colour} Airflow {version}" for colour, version in versions.items())
        raise UsageError(
            f"the settings give {listed}, and each needs wheels of its own. Name the side: "
            "mwaactl requirements package --side green -o wheels-green"
        )
    lines = [line for own in sides for line in _lines(own, config.folder)]
    return versions[colours[0]], list(dict.fromkeys(lines))


def lines_of(file: Path) -> list[str]:
    """The lines of a requirements.txt: continued ones joined, without comments. Raises UsageError."""
    from pip._internal.req.req_file import ignore_comments, join_lines

    try:
        numbered = enumerate(file.read_text().splitlines(), 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    return [line.strip() for _, line in ignore_comments(join_lines(numbered))]


def pins(wheels: Iterable[str]) -> list[str]:
    """`name==version` of each wheel."""
    return sorted(f"{name}=={version}" for name, version, *_ in map(parse_wheel_filename, wheels))


def write(folder: Path, version: str, python: str, lines: Sequence[str], wheels: Sequence[str]) -> None:
    """Write what uses these wheels."""
    pinned = pins(wheels)
    head = [
        f"{MADE}{version} (Python {python}, Linux x86_64) of:",
        *(f"#   {masked(line)}" for line in lines),
    ]
    (folder / REQUIREMENTS).write_text("\n".join([*head, *OPTIONS, *pinned, ""]))
    (folder / CONSTRAINTS).write_text("\n".join([*pinned, ""]))


def without_wheels(requirements: str) -> str:
    """A deployed requirements.txt for where its wheels are not: its pins, from an index."""
    lines = requirements.splitlines()
    return (
        "\n".join([line for line in lines if line not in OPTIONS] + [""])
        if OPTIONS[0] in lines
        else requirements
    )


def _lines(own: Mapping[str, Any], project: Path) -> list[str]:
    given = own.get("requirements") or []
    file = own.get("requirements_file")
    lines = [
        str(line) for line in (_decoded(given, "requirements", list) if isinstance(given, str) else given)
    ]
    lines += lines_of(project / Path(file).expanduser()) if file else []
    return [line for line in lines if line not in OPTIONS]


def _object(settings: Mapping[str, str], key: str) -> dict[str, Any]:
    return _decoded(settings.get(key) or "{}", key, dict)


def _decoded(text: str, key: str, form: type[Form]) -> Form:
    """The value of a setting that is JSON. Raises UsageError without showing it: it may be a secret."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, form):
        wanted = "a list" if form is list else "an object"
        raise UsageError(f"the setting {key} must be {wanted}, in JSON. To see it: pulumi config get {key}")
    return value


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        return
    file = folder / REQUIREMENTS
    if not folder.is_dir() or (
        any(folder.iterdir()) and not (file.is_file() and file.read_text(errors="replace").startswith(MADE))
    ):
        raise UsageError(f"{folder} has other things in it: name a new folder, which then has wheels only")


def _replace(folder: Path, fresh: Path) -> None:
    folder.mkdir(exist_ok=True)
    for old in [*folder.glob("*.whl"), folder / CONSTRAINTS]:
        old.unlink(missing_ok=True)
    for each in sorted(fresh.iterdir(), key=lambda file: file.name == REQUIREMENTS):  # that one last
        shutil.move(each, folder / each.name)
