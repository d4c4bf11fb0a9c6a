"""What a push would change on each side, down to the lines."""

from __future__ import annotations

import io
from difflib import unified_diff
from pathlib import Path

from bluegreen.timeline import Colour
from pydantic import Field

from mwaactl.aws import aws_errors
from mwaactl.dags.folder import read_folder
from mwaactl.dags.masked import Masked
from mwaactl.dags.push import push_dags
from mwaactl.dags.stored import stored_content
from mwaactl.deployment import Deployment
from mwaactl.json_model import Model

CARRIAGE_RETURN = "\N{SYMBOL FOR CARRIAGE RETURN}"
UNENDED = r"\ No newline at end of file"  # as diff says it


class EnvironmentDiff(Model):
    """The differences of one environment's DAGs folder from the folder; names are relative to both."""

    environment: str
    new: tuple[str, ...] = ()  # in the folder only
    # name -> unified diff, in which a carriage return is shown as ␍; empty: not text
    changed: dict[str, Masked] = Field(default_factory=dict)
    only_in_bucket: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return not (self.new or self.changed or self.only_in_bucket)


class DagsDiff(Model):
    folder: str
    environments: dict[Colour, EnvironmentDiff]
    unfinished: str | None = None  # a push that has not ended


def diff_dags(deployment: Deployment, folder: Path) -> DagsDiff:
    """Compare every environment's DAGs folder with `folder`. Raises as `push_dags` does."""
    read = read_folder(folder)
    result = push_dags(deployment, read, dry_run=True)
    environments: dict[Colour, EnvironmentDiff] = {}
    for colour, files in result.environments.items():
        side = deployment.stack.airflow_environments[colour]
        with aws_errors(f"read s3://{side.bucket}/{side.dags_prefix}"):
            stored = {name: stored_content(deployment.clients.s3, side, name) for name in files.changed}
        environments[colour] = EnvironmentDiff(
            environment=side.name,
            new=tuple(name for name in files.uploaded if name not in files.changed),
            changed={
                name: _lines(name, content, read.files[name].content) for name, content in stored.items()
            },
            only_in_bucket=files.left,
        )
    return DagsDiff(folder=result.folder, environments=environments, unfinished=result.unfinished)


def _lines(name: str, before: bytes, after: bytes) -> str:
    try:
        old, new = (_split(content.decode()) for content in (before, after))
    except UnicodeDecodeError:
        return ""
    return "\n".join(map(_shown, unified_diff(old, new, f"bucket/{name}", f"folder/{name}")))


def _split(text: str) -> list[str]:
    """The lines with their ends, which may be all that differs."""
    return list(io.StringIO(text, newline="\n"))


def _shown(line: str) -> str:
    ended = line if line.endswith("\n") else f"{line}\n{UNENDED}\n"
    return ended.removesuffix("\n").replace("\r", CARRIAGE_RETURN)
