"""An Airflow that only imports DAGs: the packages of one version's image and the customer's requirements.

Kept in the tools, once for each version and requirements.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from local.airflow.install import Image, install_requirements
from local.home import Home


@dataclass(frozen=True)
class Installed:
    """`python` runs it; None: it is not there, or `problem` says why the requirements were not installed."""

    version: str
    python: str | None
    problem: str | None = None
    changes: tuple[str, ...] = ()  # to the image's packages: "+ pandas==2.3.3", "- x==1"

    def fields(self) -> dict[str, object]:
        return asdict(self)


def find(home: Home, version: str, requirements: str) -> Installed:
    """The Airflow if it is installed. Raises LocalError if the version does not run here."""
    venv = _venv(Image(home, version), requirements)
    return _installed(version, venv) if venv.exists() else Installed(version, None)


def install(home: Home, version: str, requirements: Path) -> Installed:
    """Install the Airflow unless it is there. Raises LocalError."""
    image = Image(home, version)
    text = requirements.read_text()
    venv = _venv(image, text)
    if venv.exists():
        return _installed(version, venv)
    image.install()
    venv.parent.mkdir(parents=True, exist_ok=True)
    unfinished = venv.with_name(f"{venv.name}.unchecked")
    shutil.rmtree(unfinished, ignore_errors=True)
    image.copy_to(unfinished)
    log = _log(venv)
    constraints = image.constraints(venv.parent, text)
    if not install_requirements(home, unfinished, requirements, constraints, log):
        shutil.rmtree(unfinished)
        return Installed(version, None, log.read_text().strip()[-4000:])
    unfinished.rename(venv)
    return _installed(version, venv)


def _venv(image: Image, requirements: str) -> Path:
    return image.folder / "checks" / hashlib.sha256(requirements.encode()).hexdigest()[:10]


def _log(venv: Path) -> Path:
    return venv.with_suffix(".log")


def _installed(version: str, venv: Path) -> Installed:
    lines = map(str.strip, _log(venv).read_text().splitlines())
    changes = tuple(line for line in lines if line.startswith(("+ ", "- ", "~ ")))
    return Installed(version, str(venv / "bin" / "python"), changes=changes)
