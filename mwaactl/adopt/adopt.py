"""Adoption as a Python API. It keeps no state of its own: the stack says how far it has come. Its outputs do,
and after a `pulumi up` that failed, when they are those of before, a preview in which nothing is left to do.

Nothing here prints or asks: `on_event` and `ask` do.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mwaactl.adopt.dags import Place, copy_all
from mwaactl.adopt.environment import Files, Found, compiled, make_log_groups, read, read_files
from mwaactl.adopt.settings import Reproduction, notes, reproduce
from mwaactl.adopt.stack_file import StackFile, changed, contents, files_of, named, removed, store
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
    """How far it has come, or in a dry run: what it would write. `differs`: what stands in the stack file and
    in its folder, and does not stay; `update`: what the one update changes; `notes`: what to know; `command`:
    what goes on from here."""

    environment: str
    stack: str
    stage: Stage
    dry_run: bool = False
    settings: dict[str, str] = Field(default_factory=dict)
    files: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dags: int | None = None
    command: str = ""


@dataclass(frozen=True)
class How:
    """`files`: taken instead of the environment's; `later`: end before the update."""

    drop: Sequence[str] = ()
    requirements: Path | None = None
    plugins: Path | None = None
    script: Path | None = None
    later: bool = False
    dry_run: bool = False

    @property
    def corrections(self) -> tuple[str, ...]:
        """What of the environment is to be otherwise, as words of the command."""
        files = {"--requirements": self.requirements, "--plugins": self.plugins, "--script": self.script}
        return (
            *(word for option in self.drop for word in ("--drop", option)),
            *(word for option, path in files.items() if path is not None for word in (option, str(path))),
        )


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
            return self._result("updated", notes=self._unused())
        clients = self.clients(self.stack_file.region())
        if blue is None:
            result = self._import(clients, self._found(clients))
            if self.how.dry_run:
                return result
            blue = self._blue() or {}
        elif self.how.later and self.how.corrections:
            raise UsageError(
                f"{self.name} is imported: {shlex.join(self.how.corrections)} has its effect with the one "
                f"update. Without --later: {self._again}"
            )
        if self.how.later:
            return self._result("imported")
        return self._update(clients, blue)

    @property
    def stack(self) -> str:
        return self.stack_file.stack

    @property
    def _again(self) -> str:
        return shlex.join(["mwaactl", "adopt", self.name, "-s", self.stack, *self.how.corrections])

    def _unused(self) -> tuple[str, ...]:
        """What was asked for and comes too late."""
        if not self.how.corrections:
            return ()
        return (
            f"the one update is made, so {shlex.join(self.how.corrections)} was not used: change the "
            f"settings instead, then: pulumi up -s {self.stack}",
        )

    def _result(self, stage: Stage, **about: Any) -> Adoption:
        return Adoption(environment=self.name, stack=self.stack, stage=stage, command=self._again, **about)

    def _blue(self) -> dict[str, Any] | None:
        outputs = json.loads(pulumi(["stack", "output", "--json"], self.stack, self.stack_file.folder))
        blue: dict[str, Any] | None = (outputs.get("airflow_environments") or {}).get("blue")
        return blue

    def _in_state(self) -> str | None:
        """The URN of the environment if it is imported, also where the outputs do not have it yet."""
        state = json.loads(pulumi(["stack", "export"], self.stack, self.stack_file.folder))
        resources = (state.get("deployment") or {}).get("resources") or ()
        found = (each for each in resources if each["type"] == ENVIRONMENT and each.get("id") == self.name)
        return next((str(each["urn"]) for each in found), None)

    def _found(self, clients: Clients) -> Found:
        """The environment as it is now, with those files that were named instead of its own. One that has the
        gate already: without files. Raises UsageError, and as `read` does."""
        self.say(f"Reading {self.name}")
        found, how = read(clients, self.name), self.how
        if found.has_gate:
            return found
        try:
            instead = Files(
                None if how.requirements is None else how.requirements.read_bytes(),
                None if how.plugins is None else _folder(how.plugins),
                None if how.script is None else how.script.read_bytes(),
            )
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from error
        return replace(found, files=read_files(clients, found.about, instead))

    # --- the import ---

    def _import(self, clients: Clients, found: Found) -> Adoption:
        reproduced = self._reproduced(found)
        self.say("Asking the program and Pulumi what this would do (nothing is touched)")
        _must_be(self._try(found, reproduced, {}), "import", self.name, done=self._in_state() is not None)
        planned = self._result(
            "settings",
            dry_run=self.how.dry_run,
            settings={
                path: "(secret)" if path in reproduced.secret else value
                for path, value in reproduced.settings.items()
            },
            files=tuple(str(self._shown / path) for path in contents(found.files)),
            differs=tuple(removed(self.stack_file.stands(), self._all(found, reproduced))),
            update=reproduced.changes,
            notes=tuple(notes(found.about.get("Tags") or {})),
        )
        if self.how.dry_run:
            return planned
        self.ask(planned)
        self._write(found, reproduced)
        make_log_groups(clients, found)
        self.say(f"Importing {self.name}; the rest of the stack is created (some minutes)")
        self._up({})
        return planned

    def _reproduced(self, found: Found) -> Reproduction:
        reproduced = reproduce(found, self.how.drop)
        if reproduced.refused:
            raise _refused(self.name, reproduced.refused)
        return reproduced

    def _try(self, found: Found, reproduced: Reproduction, variables: Mapping[str, str]) -> Seen:
        """Preview with the settings in a copy of the stack's file. Raises CheckFailed."""
        with tempfile.TemporaryDirectory(prefix="adopt-") as folder:
            copy, files = self.stack_file.copy(Path(folder)), Path(folder) / "files"
            store(found.files, files)
            copy.write(reproduced, named(found.files, files))
            try:
                return self.engine(copy.file, variables).preview()
            except CheckFailed as error:
                raise CheckFailed(
                    f"{error}\nThese settings come from {self.name}. What cannot be kept can be left out "
                    "(--drop OPTION) or corrected in a copy (--requirements, --plugins, --script)."
                ) from error

    # --- the files of the project ---

    @property
    def _shown(self) -> Path:
        return Path(WHEREABOUTS) / self.name

    @property
    def _target(self) -> Path:
        return self.stack_file.folder / self._shown

    def _named(self, found: Found) -> dict[str, str]:
        # From the project's folder, where that is the program's, too.
        whole = not (self.stack_file.folder / "components").is_dir()
        return named(found.files, self._target if whole else self._shown)

    def _all(self, found: Found, reproduced: Reproduction) -> dict[str, str]:
        return {**reproduced.settings, **self._named(found)}

    def _write(self, found: Found, reproduced: Reproduction) -> None:
        store(found.files, self._target)
        self.stack_file.write(reproduced, self._named(found))

    def _differs(self, found: Found, reproduced: Reproduction) -> Iterator[str]:
        """What stands there, and not as the environment is now."""
        stood = self.stack_file.stands()
        yield from changed(stood, reproduced, self._named(found))
        yield from removed(stood, self._all(found, reproduced))
        before, now = files_of(self._target), contents(found.files)
        for path in sorted(before.keys() | now.keys()):
            if before.get(path) != now.get(path):
                how = "is removed" if path not in now else "is another" if path in before else "is new"
                yield f"file {self._shown / path} {how}"

    # --- the update ---

    def _update(self, clients: Clients, blue: Mapping[str, Any]) -> Adoption:
        """From the environment as it is now: since its import it may have changed, also back, where Amazon
        did not complete an update."""
        found, variables = self._found(clients), {VARIABLE: self.name}
        if not self.how.dry_run and (urn := self._in_state()) is not None:
            self.engine(None, {}).refresh(urn)
        if found.has_gate:
            return self._complete(variables)
        reproduced = self._reproduced(found)
        self.say("Asking the program and Pulumi what the update would do (nothing is touched)")
        with self._goes_on():
            seen = self._try(found, reproduced, variables)
        # Without a refresh, the state may have an update that Amazon took back.
        change = _must_be(seen, "update", self.name, done=self.how.dry_run)
        differs, (source, target) = tuple(self._differs(found, reproduced)), _places(found, blue)
        result = self._result(
            "imported",
            differs=differs,
            update=(
                f"its DAGs come from {target} instead of {source}, where they stay",
                *reproduced.changes,
                *(change.keys if change is not None else ()),
            ),
            dry_run=self.how.dry_run,
        )
        if self.how.dry_run:
            return result
        self.ask(result)
        if self._found(clients) != found:
            raise CheckFailed(f"{self.name} has changed meanwhile, and nothing was touched: {self._again}")
        if differs:
            self._write(found, reproduced)
        self.say(f"Copying its DAGs to {target}")
        copied = copy_all(clients, source, target)
        self.say(f"Updating {self.name} (20-30 minutes; it starts no task meanwhile)")
        self._up(variables)
        return self._result("updated", dags=copied)

    def _complete(self, variables: Mapping[str, str]) -> Adoption:
        """The environment is updated, and a later resource failed: its DAGs are where they belong."""
        if self.how.dry_run:
            return self._result("imported", dry_run=True, notes=self._unused())
        with self._goes_on():
            seen = self.engine(None, variables).preview()
        if (change := _must_be(seen, "update", self.name, done=True)) is not None:
            self.ask(self._result("imported", update=change.keys, notes=self._unused()))
        self.say(f"{self.name} is updated already: updating the rest of the stack")
        self._up(variables)
        return self._result("updated", notes=self._unused())

    def _up(self, variables: Mapping[str, str]) -> None:
        with self._goes_on():
            self.engine(None, variables).update((), (), lambda _: None)

    @contextmanager
    def _goes_on(self) -> Iterator[None]:
        """Say in each error that the same command goes on."""
        again = f"\nThen go on: {self._again}"
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
    """The files of a folder of plugins. Raises UsageError for what plugins.zip cannot have."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    links = (each for each in folder.rglob("*") if each.is_symlink() and not each.is_file())
    files = files_of(folder)
    unfit = [f"{each.relative_to(folder)}, a link to a folder or to nothing" for each in sorted(links)]
    if unfit := [*unfit, *compiled(files)]:
        raise UsageError(f"{folder} has {'; '.join(unfit)}: put files or sources in their place")
    return files
