"""Adoption as a Python API. It keeps no state of its own: the stack says how far it has come. Its outputs do,
and after a `pulumi up` that failed, when they are those of before, a preview in which nothing is left to do.

Nothing here prints or asks: `on_event` and `ask` do.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mwaactl.adopt.dags import Place, copy_all
from mwaactl.adopt.environment import Files, Found, make_log_groups, read
from mwaactl.adopt.settings import Reproduction, notes, reproduce
from mwaactl.adopt.stack_file import StackFile, store
from mwaactl.aws import Clients
from mwaactl.errors import CheckFailed, Unfinished, UsageError
from mwaactl.json_model import Model
from mwaactl.rollout.engine import Change, Engine, Seen
from mwaactl.stack import GATE, pulumi

VARIABLE = "MWAA_ADOPT_UPDATES"  # components/airflow/adoption.py reads it
ENVIRONMENT = "aws:mwaa/environment:Environment"
BLUE = "mwaa-blue"
WHEREABOUTS = "adopted"  # the folder of the project for the files

Stage = Literal["settings", "imported", "updated"]


class Adoption(Model):
    """How far it has come, or in a dry run: what it would write. `update`: what the one update changes;
    `notes`: what to know before."""

    environment: str
    stack: str
    stage: Stage
    dry_run: bool = False
    settings: dict[str, str] = Field(default_factory=dict)
    files: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dags: int | None = None


@dataclass(frozen=True)
class How:
    """`files`: taken instead of the environment's; `later`: end before the update."""

    drop: Sequence[str] = ()
    requirements: Path | None = None
    plugins: Path | None = None
    script: Path | None = None
    later: bool = False
    dry_run: bool = False


@dataclass
class Adopter:
    """One run of the command. `engine`: makes the engine with a file of settings and variables; `say` tells
    what begins, `ask` shows what would happen and may raise."""

    name: str
    stack_file: StackFile
    clients: Callable[[str], Clients]
    engine: Callable[[Path | None, Mapping[str, str]], Engine]
    say: Callable[[str], None] = lambda _: None
    ask: Callable[[Adoption], None] = lambda _: None
    how: How = field(default_factory=How)

    def run(self) -> Adoption:
        """Go on from where it is. Raises CheckFailed (refused; nothing is touched), UsageError, Unreachable,
        LostRace, Unfinished."""
        blue = self._blue()
        if blue is not None and blue["name"] != self.name:
            raise UsageError(
                f"blue of stack {self.stack} is {blue['name']}, not {self.name}: adopt that into a new stack "
                f"(pulumi stack init <name>)"
            )
        if blue is not None and GATE in blue["deployed"]:
            return self._result("updated")
        clients = self.clients(self.stack_file.region())
        self.say(f"Reading {self.name}")
        found = self._with_files(read(clients, self.name))
        if blue is None:
            result = self._import(clients, found)
            if self.how.dry_run:
                return result
            blue = self._blue() or {}
        if self.how.later:
            return self._result("imported")
        return self._update(clients, found, blue)

    @property
    def stack(self) -> str:
        return self.stack_file.stack

    def _result(self, stage: Stage, **about: Any) -> Adoption:
        return Adoption(environment=self.name, stack=self.stack, stage=stage, **about)

    def _blue(self) -> dict[str, Any] | None:
        outputs = json.loads(pulumi(["stack", "output", "--json"], self.stack, self.stack_file.folder))
        blue: dict[str, Any] | None = (outputs.get("airflow_environments") or {}).get("blue")
        return blue

    def _in_state(self) -> bool:
        """Whether the environment is imported, also where the outputs do not have it yet."""
        state = json.loads(pulumi(["stack", "export"], self.stack, self.stack_file.folder))
        resources = (state.get("deployment") or {}).get("resources") or ()
        return any(each["type"] == ENVIRONMENT and each.get("id") == self.name for each in resources)

    def _with_files(self, found: Found) -> Found:
        """The environment, with those files that were named instead of its own. Raises UsageError."""
        how, files = self.how, found.files
        try:
            if how.requirements is not None:
                files = replace(files, requirements=how.requirements.read_bytes())
            if how.script is not None:
                files = replace(files, script=how.script.read_bytes())
            if how.plugins is not None:
                files = replace(files, plugins=_folder(how.plugins))
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from error
        return replace(found, files=files)

    # --- the import ---

    def _import(self, clients: Clients, found: Found) -> Adoption:
        reproduced = reproduce(found, self.how.drop)
        if reproduced.refused:
            raise _refused(self.name, reproduced.refused)
        self.say("Asking the program and Pulumi what this would do (nothing is touched)")
        self._try(found, reproduced)
        shown = Path(WHEREABOUTS) / self.name
        planned = self._result(
            "settings",
            dry_run=self.how.dry_run,
            settings={
                path: "(secret)" if path in reproduced.secret else value
                for path, value in reproduced.settings.items()
            },
            files=tuple(_names(found.files, shown)),
            update=reproduced.changes,
            notes=tuple(notes(found.about.get("Tags") or {})),
        )
        if self.how.dry_run:
            return planned
        self.ask(planned)
        target = self.stack_file.folder / shown
        # From the project's folder, where that is the program's, too.
        below = shown if (self.stack_file.folder / "components").is_dir() else target
        self.stack_file.write(reproduced, store(found.files, target, below))
        make_log_groups(clients, found)
        self.say(f"Importing {self.name}; the rest of the stack is created (some minutes)")
        self._up({})
        return planned

    def _try(self, found: Found, reproduced: Reproduction) -> None:
        """Preview the import with the settings in a copy of the stack's file. Raises CheckFailed."""
        with tempfile.TemporaryDirectory(prefix="adopt-") as folder:
            copy = self.stack_file.copy(Path(folder))
            files = Path(folder) / "files"
            copy.write(reproduced, store(found.files, files, files))
            try:
                seen = self.engine(copy.file, {}).preview()
            except CheckFailed as error:
                raise CheckFailed(
                    f"{error}\nThese settings come from {self.name}. What cannot be kept can be left out "
                    "(--drop OPTION) or corrected in a copy (--requirements, --plugins, --script)."
                ) from error
        _must_be(seen, "import", self.name, done=self._in_state())

    # --- the update ---

    def _update(self, clients: Clients, found: Found, blue: Mapping[str, Any]) -> Adoption:
        variables = {VARIABLE: self.name}
        with self._goes_on():
            seen = self.engine(None, variables).preview()
        change = _must_be(seen, "update", self.name, done=True)
        if change is None:
            return self._complete()
        source, target = _places(found, blue)
        update = (f"its DAGs come from {target} instead of {source}, where they stay", *change.keys)
        result = self._result("imported", update=update, dry_run=self.how.dry_run)
        if self.how.dry_run:
            return result
        self.ask(result)
        self.say(f"Copying its DAGs to {target}")
        copied = copy_all(clients, source, target)
        self.say(f"Updating {self.name} (20-30 minutes; it starts no task meanwhile)")
        self._up(variables)
        return self._result("updated", dags=copied)

    def _complete(self) -> Adoption:
        """The environment is updated, and a later resource failed: its DAGs are where they belong."""
        if self.how.dry_run:
            return self._result("imported", dry_run=True)
        self.say(f"{self.name} is updated already: updating the rest of the stack")
        self._up({VARIABLE: self.name})
        return self._result("updated")

    def _up(self, variables: Mapping[str, str]) -> None:
        with self._goes_on():
            self.engine(None, variables).update((), (), lambda _: None)

    @contextmanager
    def _goes_on(self) -> Iterator[None]:
        """Say in each error that the same command goes on."""
        again = f"\nThen go on: mwaactl adopt {self.name} -s {self.stack}"
        try:
            yield
        except (CheckFailed, Unfinished) as error:
            raise type(error)(f"{error}{again}") from error


def _must_be(seen: Seen, action: str, name: str, *, done: bool) -> Change | None:
    """The change of the environment, if it is this one; None if it was `done` before. Raises CheckFailed."""
    changes = [each for each in seen.changes.values() if each.type == ENVIRONMENT]
    if done and not changes:
        return None
    if len(changes) == 1 and changes[0].action == action and changes[0].name == BLUE:
        return changes[0]
    told = [f"{each.action} {each.name} ({', '.join(each.keys) or 'no inputs named'})" for each in changes]
    raise CheckFailed(
        f"Pulumi's preview must {action} {name} and nothing else of Airflow's, and it has: "
        f"{'; '.join(told) or 'no change of an environment'}. Nothing was touched"
    )


def _refused(name: str, reasons: Sequence[str]) -> CheckFailed:
    lines = "\n".join(f"  {each}" for each in reasons)
    return CheckFailed(f"the settings cannot reproduce {name}; nothing was written:\n{lines}")


def _places(found: Found, blue: Mapping[str, Any]) -> tuple[Place, Place]:
    return Place(found.bucket, found.dags_folder), Place(str(blue["bucket"]), str(blue["dags_prefix"]))


def _folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _names(files: Files, shown: Path) -> Iterator[str]:
    if files.requirements is not None:
        yield str(shown / "requirements.txt")
    if files.script is not None:
        yield str(shown / "startup.sh")
    for path in sorted(files.plugins or {}):
        yield str(shown / "plugins" / path)
