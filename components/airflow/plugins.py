"""What an Airflow environment loads besides its DAGs: plugins.zip and requirements.txt."""

from __future__ import annotations

from pathlib import Path

from components.archive import zip_bytes
from components.config.settings import EnvironmentSettings

# Not in MWAA's images. Without versions: MWAA installs under the constraints of the Airflow version, which
# name both and which Amazon changes in place. With one version outside them, pip installs nothing at all.
OPENLINEAGE = ("apache-airflow-providers-openlineage", "openlineage-python")
FOLDER = Path(__file__).resolve().parents[2] / "plugins"


def requirements_txt(environment: EnvironmentSettings) -> str:
    """OpenLineage, then the stack's own lines."""
    return "\n".join([*OPENLINEAGE, *environment.requirements, ""])


def plugins_zip(folder: Path = FOLDER) -> bytes:
    """A zip archive of a folder's files, without caches; the same bytes for the same content."""
    return zip_bytes(
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        }
    )
