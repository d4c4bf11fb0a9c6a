"""The settings of a stack, written by Pulumi's own command: into its file, or into a copy to try them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mwaactl.adopt.environment import Files
from mwaactl.adopt.settings import Reproduction
from mwaactl.errors import UsageError
from mwaactl.stack import pulumi

REGION = "aws:region"


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

    def write(self, reproduced: Reproduction, files: Mapping[str, str]) -> None:
        """Write all of them; lists and objects have nothing else afterwards."""
        settings = {**reproduced.settings, **files}
        present = {key.partition(":")[2] for key in json.loads(self._config("--json"))}
        # In the copy, a key with a default of Pulumi.yaml may be listed that the file does not have.
        for key in sorted({path.partition("[")[0] for path in settings if "[" in path} & present):
            self._config("rm", key)
        words = [
            word
            for path, value in settings.items()
            for word in ("--secret" if path in reproduced.secret else "--plaintext", f"{path}={value}")
        ]
        self._config("set-all", "--path", *words)

    def _config(self, *arguments: str) -> str:
        file = ["--config-file", str(self.file)] if self.file else []
        return pulumi(["config", *arguments, *file], self.stack, self.folder)


def store(files: Files, folder: Path, shown: Path) -> dict[str, str]:
    """Write an environment's files into `folder`; return the settings that name them, below `shown`."""
    named = {}
    shutil.rmtree(folder, ignore_errors=True)
    for name, setting, content in (
        ("requirements.txt", "requirements_file", files.requirements),
        ("startup.sh", "startup_script", files.script),
    ):
        if content is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            named[setting] = str(shown / name)
    for path, content in (files.plugins or {}).items():
        target = folder / "plugins" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    if files.plugins:
        named["plugins_folder"] = str(shown / "plugins")
    return named
