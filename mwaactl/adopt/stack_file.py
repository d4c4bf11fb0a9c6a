"""The settings of a stack, written by Pulumi's own command: into its file, or into a copy to try them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaactl.adopt.environment import Files
from mwaactl.adopt.settings import Reproduction, path_of
from mwaactl.errors import UsageError
from mwaactl.stack import pulumi

REGION = "aws:region"
FREE = ("airflow_options", "tags")  # objects whose keys and values may be any text
# What would change the environment if it stayed from before: these have what it has, and nothing else.
WHOLE = (
    *("airflow_options", "blue", "log_levels", "max_webservers", "min_webservers", "plugins_folder"),
    *("private_subnet_ids", "requirements", "requirements_file", "security_group_ids", "startup_script"),
    *("tags", "wheels_folder"),
)
EMPTY = ("", "{}", "[]")  # their defaults in Pulumi.yaml, which Pulumi may write into the file


@dataclass(frozen=True)
class StackFile:
    """`file`: None for the stack's own."""

    folder: Path
    stack: str
    file: Path | None = None

    def copy(self, into: Path) -> StackFile:
        """A copy of the stack's file, to try settings on."""
        own, copy = self.folder / f"Pulumi.{self.stack}.yaml", into / "settings.yaml"
        if own.exists():
            shutil.copyfile(own, copy)
        else:
            copy.touch()
        return StackFile(self.folder, self.stack, copy)

    def region(self) -> str:
        """Raises UsageError if none is set."""
        about = json.loads(self._config("--json")).get(REGION)
        if about is None:
            raise UsageError(
                f"the stack has no region: pulumi config set {REGION} <the environment's> -s {self.stack}"
            )
        return str(about["value"])

    def stands(self) -> dict[str, str]:
        """Every setting that it has, by path, secrets as they are; not what is empty."""
        found = json.loads(self._config("--json", "--show-secrets"))
        return {
            path: text
            for key, about in found.items()
            if not key.startswith("aws:")
            for path, text in _flat(key.partition(":")[2], about.get("objectValue", about.get("value", "")))
            if text not in EMPTY
        }

    def write(self, reproduced: Reproduction, files: Mapping[str, str]) -> None:
        """Write all of them; each of WHOLE has nothing else afterwards."""
        settings = {**reproduced.settings, **files}
        for key in sorted({_key(path) for path in self.stands()} & {*WHOLE}):
            self._config("rm", key)
        free = {path: value for path, value in settings.items() if _key(path) in FREE}
        plain = [f"{path}={value}" for path, value in settings.items() if path not in free]
        self._config("set-all", "--path", *(word for each in plain for word in ("--plaintext", each)))
        # One by one: no command of many takes values from its input, and a key may have `=` in it.
        for path, value in free.items():
            kind = ["--secret"] if path in reproduced.secret else ["--type", "string"]
            self._config("set", "--path", "--raw", *kind, path, given=value)

    def _config(self, *arguments: str, given: str = "") -> str:
        file = ["--config-file", str(self.file)] if self.file else []
        return pulumi(["config", *arguments, *file], self.stack, self.folder, given)


def removed(stood: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[str]:
    """What a file of settings loses when these are written into it."""
    for path in sorted(stood.keys() - settings.keys()):
        if _key(path) in WHOLE:
            yield f"{path} is removed: the environment does not have it"


def changed(stood: Mapping[str, str], reproduced: Reproduction, files: Mapping[str, str]) -> Iterator[str]:
    """What it gets otherwise; of secrets, no value."""
    for path, value in {**reproduced.settings, **files}.items():
        if (before := stood.get(path, "")) == value:
            continue
        if path in reproduced.secret:
            yield f"{path} is {'another' if path in stood else 'new'}"
        else:
            yield f"{path}: {before or '(not set)'} -> {value or '(not set)'}"


def _key(path: str) -> str:
    return path.partition("[")[0].partition(".")[0]


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for part, item in value.items():
            yield from _flat(path_of(path, part), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _flat(f"{path}[{index}]", item)
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def contents(files: Files) -> dict[str, bytes]:
    """The files as they lie in the folder of an adopted environment, by path."""
    single = {"requirements.txt": files.requirements, "startup.sh": files.script}
    return {path: content for path, content in single.items() if content is not None} | {
        f"plugins/{path}": content for path, content in sorted((files.plugins or {}).items())
    }


def named(files: Files, folder: Path) -> dict[str, str]:
    """The settings that name the files in `folder`."""
    there = {
        "requirements_file": (files.requirements is not None, "requirements.txt"),
        "startup_script": (files.script is not None, "startup.sh"),
        "plugins_folder": (bool(files.plugins), "plugins"),
    }
    return {setting: str(folder / name) for setting, (has, name) in there.items() if has}


def store(files: Files, folder: Path) -> None:
    """Write an environment's files into `folder`, which has nothing else afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in contents(files).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def files_of(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
