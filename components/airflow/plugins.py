"""What an Airflow environment loads besides its DAGs: plugins.zip and requirements.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from components.archive import zip_bytes
from components.config.content import OPENLINEAGE
from components.config.files import PLUGINS, folder_files, located, requirement_lines
from components.config.settings import EnvironmentSettings
from components.config.wheels import Wheels


def requirements_txt(environment: EnvironmentSettings) -> str:
    """OpenLineage, then the stack's own lines; with wheels, each package of them at its version."""
    if environment.wheels_folder is not None:
        return Wheels.of(environment.wheels_folder).requirements
    of_file = [line for _, line in requirement_lines(environment.requirements_file)]
    return "\n".join([*OPENLINEAGE, *environment.requirements, *of_file, ""])


def plugins_files(environment: EnvironmentSettings) -> Mapping[str, bytes | Path]:
    """The program's plugins, those in the stack's own folder, and wheels, by their paths in plugins.zip.
    `components.config` has seen to it that no file is in two of them."""
    own, wheels = environment.plugins_folder, environment.wheels_folder
    return {
        **folder_files(PLUGINS),
        **(folder_files(located(own)) if own else {}),
        **(Wheels.of(wheels).delivered if wheels else {}),
    }


def plugins_zip() -> bytes:
    """The program's plugins alone."""
    return zip_bytes(folder_files(PLUGINS))
