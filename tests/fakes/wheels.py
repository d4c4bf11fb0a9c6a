"""Folders as `mwaactl requirements package` makes them. The wheels are empty: only their names matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mwaactl.dag_check.airflows import OPENLINEAGE
from mwaactl.dag_check.wheels import write
from mwaactl.dags.syntax import python_of

OURS = (
    "apache_airflow_providers_openlineage-2.20.0-py3-none-any.whl",
    "openlineage_integration_common-1.52.0-py3-none-any.whl",
    "openlineage_python-1.52.0-py3-none-any.whl",
    "openlineage_sql-1.52.0-cp310-abi3-manylinux_2_28_x86_64.whl",
)


def write_wheels(
    folder: Path, version: str = "3.3.1", lines: Sequence[str] = (), more: Sequence[str] = ()
) -> str:
    """The folder, with OpenLineage's wheels and `more` of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted([*OURS, *more])
    for name in names:
        (folder / name).touch()
    write(folder, version, python_of(version), [*OPENLINEAGE.splitlines(), *lines], names)
    return str(folder)
