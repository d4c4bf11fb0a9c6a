"""Archives that run elsewhere as they are: packages of ours, with those that they import, as boto3.

The packages are those of this program's own environment, which the lock file pins by hash. Where they run,
nothing is installed, so that depends on no package index, and runs what the tests ran.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, PackagePath, distribution
from pathlib import Path

from packaging.requirements import Requirement

from components.archive import content_hash, package_files, write_zip

CHECKOUT = Path(__file__).resolve().parents[1]
THEIRS = ("boto3",)
BUILT = CHECKOUT / ".local" / "archives"


def built(name: str, files: Mapping[str, bytes | Path]) -> Path:
    """The archive of these files. The name of the file changes with the content."""
    path = BUILT / f"{name}-{content_hash(files)}.zip"
    if not path.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        # Several programs may build it at once: none sees a part of it.
        descriptor, part = tempfile.mkstemp(dir=BUILT)
        with os.fdopen(descriptor, "wb") as file:
            write_zip(file, files)
        Path(part).rename(path)
    return path


def runnable_files(
    packages: Sequence[Path], services: Sequence[str], theirs: Sequence[str] = THEIRS
) -> dict[str, bytes]:
    """`{path inside: content}` of our packages, of theirs, and of all that these require.

    Of boto3, what it needs for these services.
    """
    files = {path: data for package in packages for path, data in package_files(package).items()}
    for package in required(*theirs):
        for file in package.files or ():
            if _runs(file, services):
                files[file.as_posix()] = Path(str(file.locate())).read_bytes()
    return files


def required(*wanted: str) -> list[Distribution]:
    """Packages and all that they require without extras. All of them are pure Python."""
    names, packages = [*wanted], dict[str, Distribution]()
    while names:
        package = distribution(names.pop())
        packages[package.name] = package
        for line in package.requires or ():
            requirement = Requirement(line)
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if needed and distribution(requirement.name).name not in packages:
                names.append(requirement.name)
    return list(packages.values())


def _runs(file: PackagePath, services: Sequence[str]) -> bool:
    """Whether it is needed at run time: not what is installed beside the packages, caches, other services."""
    if ".." in file.parts or file.suffix == ".pyc" or file.parts[0].endswith(".dist-info"):
        return False
    folder, *inner = file.parts
    if inner[:1] != ["data"] or len(inner) < 3:
        return True
    return folder == "botocore" and inner[1] in services
