"""Ask the program what it registers: in its own checkout, with its own Python, without AWS and engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from bluegreen.timeline import COLOURS

from mwaactl.cost.resources import Resource, resources_in_state
from mwaactl.errors import Unusable, UsageError
from mwaactl.stack import pulumi

PROJECT = "mwaa-openlineage"
MODES = ("standard", "bluegreen", "hamarquez", "fullha")
REGION = "aws:region"


@dataclass(frozen=True)
class Settings:
    """What the program is to be run with.

    `config`: `{"project:key": text}` of a stack, None for that of the stack file of this name; `changes`:
    settings that replace or, as `key.part`, become part of these.
    """

    stack: str
    config: Mapping[str, str] | None = None
    changes: Mapping[str, str] = field(default_factory=dict)

    def changed(self, changes: Mapping[str, str]) -> Settings:
        return Settings(self.stack, self.config, {**self.changes, **changes})


def registered(folder: Path, runs: Sequence[Settings]) -> list[list[Resource]]:
    """The resources of each run.

    Raises as `answered`, and UsageError for settings that the program refuses.
    """
    return [_accepted(each) for each in answered(folder, runs)]


def _accepted(answer: list[Resource] | UsageError) -> list[Resource]:
    if isinstance(answer, UsageError):
        raise answer
    return answer


def answered(folder: Path, runs: Sequence[Settings]) -> list[list[Resource] | UsageError]:
    """Of each run the resources, or why the program refuses its settings.

    Raises Unusable where the program does not run: it is no checkout, or its packages are not installed.
    """
    if not (folder / "__main__.py").is_file():
        raise UsageError(
            f"{folder} has no __main__.py: this needs a checkout of the program, as `pulumi` does. Name its "
            "folder with --cwd"
        )
    return [
        UsageError(_as_options(each["error"]))
        if "error" in each
        else [Resource(**resource) for resource in each["resources"]]
        for each in _dry_runs(folder, [vars(each) for each in runs])
    ]


def _dry_runs(folder: Path, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The answer to each request, in the words of `dry_run`. Raises Unusable."""
    answer = subprocess.run(  # noqa: S603 - our own module
        [_python(folder), "-m", "mwaactl.cost.dry_run"],
        cwd=folder,
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unusable(f"the program in {folder} does not run ({reason}). If packages are missing: uv sync")
    answers: list[dict[str, Any]] = json.loads(answer.stdout)
    return answers


def _as_options(error: str) -> str:
    """The program's words, with this command's options in place of commands that change a stack."""
    text = error.replace("; nothing was changed:", ":")
    text = re.sub(r"pulumi config set aws:region <region>.*", "--region <region>", text)
    return re.sub(r"pulumi config set (?:--path )?([\w.]+) (<\w+>) -s .*", r"--set \1=\2", text)


def overrides(settings: Settings, folder: Path) -> set[str]:
    """The settings, accepted by the program, that one environment has of its own, as `blue.schedulers`."""
    config = settings.config
    if config is None:
        config = yaml.safe_load((folder / f"Pulumi.{settings.stack}.yaml").read_text())["config"]
    result = set()
    for key, value in {**config, **settings.changes}.items():
        colour, _, part = key.removeprefix(f"{PROJECT}:").partition(".")
        if colour in COLOURS:
            whole = json.loads(value or "{}") if isinstance(value, str) and not part else value
            result |= {f"{colour}.{each}" for each in ([part] if part else whole)}
    return result


def _python(folder: Path) -> str:
    """The one with the program's packages: of Pulumi.yaml's `virtualenv`, which is the default of `uv`."""
    for name in ("bin/python", "Scripts/python.exe"):
        if (folder / ".venv" / name).is_file():
            return str(folder / ".venv" / name)
    return sys.executable


def settings_of_stack(stack: str, folder: Path) -> Settings:
    """The settings that a stack has now. Raises as `mwaactl.stack.load`."""
    found = json.loads(pulumi(["config", "--json"], stack, folder))
    # A secret has no value here, and no price depends on one.
    config = {key: about["value"] for key, about in found.items() if "value" in about}
    return Settings(stack.rpartition("/")[2], config)


def deployed(stack: str, folder: Path) -> list[Resource]:
    """The resources that a stack has now, by Pulumi's state; none if it is not deployed."""
    return resources_in_state(json.loads(pulumi(["stack", "export"], stack, folder)))
