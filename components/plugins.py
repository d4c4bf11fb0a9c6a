"""What an Airflow environment loads besides its DAGs: plugins.zip and requirements.txt, as bytes and text."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from components.settings import EnvironmentSettings

FOLDER = Path(__file__).resolve().parent.parent / "plugins"


def requirements_txt(environment: EnvironmentSettings) -> str:
    """OpenLineage at the versions that fit this Airflow, then the stack's own lines."""
    fits = environment.airflow
    ours = (
        f"apache-airflow-providers-openlineage=={fits.openlineage_provider}",
        f"openlineage-python=={fits.openlineage_client}",
    )
    return "\n".join([*ours, *environment.requirements, ""])


def plugins_zip(folder: Path = FOLDER) -> bytes:
    """The files of a folder at a zip's root; the same bytes for the same content, wherever it is."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_files(folder)):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix())  # dated 1980, whatever the file is
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, also when packed elsewhere
            archive.writestr(info, path.read_bytes())
    return packed.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path
