"""What an Airflow environment loads besides its DAGs: plugins.zip and requirements.txt."""

from __future__ import annotations

from components.archive import zip_bytes
from components.config.files import PLUGINS, folder_files, located, requirement_lines
from components.config.settings import EnvironmentSettings

# Not in MWAA's images. Without versions: MWAA installs under the constraints of the Airflow version, which
# name both and which Amazon changes in place. With one version outside them, pip installs nothing at all.
OPENLINEAGE = ("apache-airflow-providers-openlineage", "openlineage-python")


def requirements_txt(environment: EnvironmentSettings) -> str:
    """OpenLineage, then the stack's own lines."""
    of_file = [line for _, line in requirement_lines(environment.requirements_file)]
    return "\n".join([*OPENLINEAGE, *environment.requirements, *of_file, ""])


def plugins_zip(own: str | None = None) -> bytes:
    """A zip archive of the program's plugins and of those in the stack's own folder; the same bytes for the
    same content. `components.config.files` has seen to it that no file is in both."""
    return zip_bytes({**folder_files(PLUGINS), **(folder_files(located(own)) if own else {})})
