"""Pulumi's engine for a rollout: previews and updates by its Automation API. Its events tell the steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from bluegreen.timeline import COLOURS, Colour

from mwaactl.errors import CheckFailed, ControlError, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.stack import pulumi

if TYPE_CHECKING:
    from pulumi.automation import Stack
    from pulumi.automation.events import EngineEvent, StepEventMetadata

VARIABLE = "MWAA_ROLLOUT_LEAVES_ALONE"  # components/left_alone.py reads it
COMPONENT = "mwaa-openlineage:index:Mwaa"
Action = Literal["create", "import", "update", "replace", "delete"]
ACTIONS: Mapping[str, Action] = {
    "create": "create",
    "import": "import",
    "update": "update",
    "replace": "replace",
    "create-replacement": "replace",
    "import-replacement": "replace",
    "delete-replaced": "replace",
    "delete": "delete",
}


@dataclass(frozen=True)
class Change:
    """One resource that the engine would change. `keys`: the inputs that differ, as far as it tells."""

    urn: str
    action: Action
    keys: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return type_of(self.urn)

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]


@dataclass
class Seen:
    """What the events of one run tell: every resource with its parent, the changes, and the errors."""

    parents: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def take(self, event: EngineEvent) -> Change | None:
        """Note what an event tells; return the change that it begins."""
        if (diagnostic := event.diagnostic_event) is not None and diagnostic.severity == "error":
            self.errors.append(diagnostic.message.strip())
        if event.resource_pre_event is None:
            return None
        about = event.resource_pre_event.metadata
        states = [state for state in (about.new, about.old) if state is not None]
        self.parents[about.urn] = next((state.parent for state in states if state.parent), "")
        # Components have no existence of their own.
        action = ACTIONS.get(str(about.op.value)) if any(state.custom for state in states) else None
        if action is None:
            return None
        known, change = self.changes.get(about.urn), Change(about.urn, action, _keys(about))
        if known is None or change.keys:  # a replacement has several steps, of which some tell nothing
            self.changes[about.urn] = change
        return change if known is None else None

    def side(self, urn: str) -> Colour | None:
        """The environment to which a resource belongs: that of the component above it. None: to both."""
        while urn:
            if type_of(urn) == COMPONENT:
                name = urn.rpartition("::")[2]
                return next((colour for colour in COLOURS if name == f"mwaa-{colour}"), None)
            urn = self.parents.get(urn, "")
        return None

    def of(self, colour: Colour) -> list[str]:
        """Every resource of one environment, changed or not."""
        return sorted(urn for urn in self.parents if self.side(urn) == colour)


def type_of(urn: str) -> str:
    """The type in a URN, without those of its parents."""
    return urn.split("::")[2].rpartition("$")[2]


def _keys(about: StepEventMetadata) -> tuple[str, ...]:
    """The inputs that differ: as the states have them, and what is secret there as the engine tells it."""
    keys: set[str] = set()
    if about.old is not None and about.new is not None:
        keys |= set(_differing(about.old.inputs or {}, about.new.inputs or {}))
    for told in (*(about.detailed_diff or ()), *(about.diffs or ())):
        if not any(key == told or key.startswith((f"{told}.", f"{told}[")) for key in keys):
            keys.add(told)
    return tuple(sorted(keys))


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from (f"{key}.{part}" for part in _differing(before, after))
        elif before != after:
            yield key


class Engine:
    """The engine on one stack of a project."""

    def __init__(
        self,
        folder: Path,
        stack: str,
        config_file: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`config_file`: the settings to use instead of those of the stack's file; `variables`: what else the
        program's environment has."""
        self._folder, self.stack, self._variables = folder, stack, variables or {}
        self.config_file = str(config_file.resolve()) if config_file else None

    def preview(self) -> Seen:
        """Everything that the stack's configuration and the program ask for, whoever owns the work.

        Raises CheckFailed if the program refuses it, Unreachable, UsageError.
        """
        seen = Seen()

        def failed(reason: str) -> ControlError:
            return CheckFailed(f"the preview failed, and nothing was touched: {reason}")

        with self._errors(seen, failed):
            self._stack(COLOURS).preview(on_event=_noting(seen), config_file=self.config_file)
        return seen

    def update(
        self, leaves: Collection[Colour], exclude: Sequence[str], on_change: Callable[[Change], None]
    ) -> None:
        """Apply all but the resources in `exclude`, which make up the sides in `leaves`.

        Raises Unfinished if a resource fails, LostRace if another update is under way, Unreachable.
        """
        seen = Seen()

        def failed(reason: str) -> ControlError:
            return Unfinished(f"`pulumi up` failed: {reason}")

        with self._errors(seen, failed):
            self._stack(leaves).up(
                exclude=list(exclude) or None,
                on_event=_noting(seen, on_change),
                show_secrets=False,
                suppress_outputs=True,
                config_file=self.config_file,
            )

    def refresh(self, urn: str) -> None:
        """Let the state have one resource as it is in AWS. Raises CheckFailed, LostRace, Unreachable."""
        seen = Seen()

        def failed(reason: str) -> ControlError:
            return CheckFailed(f"`pulumi refresh --target '{urn}'` failed, and nothing was touched: {reason}")

        with self._errors(seen, failed):
            self._stack(COLOURS).refresh(
                target=[urn],
                on_event=_noting(seen),
                show_secrets=False,
                suppress_outputs=True,
                config_file=self.config_file,
            )

    def needs(self) -> dict[str, list[str]]:
        """What each resource of the state depends on."""
        state = json.loads(pulumi(["stack", "export"], self.stack, self._folder))
        resources: list[dict[str, Any]] = state["deployment"].get("resources") or []
        return {each["urn"]: list(each.get("dependencies") or ()) for each in resources}

    def _stack(self, leaves: Collection[Colour]) -> Stack:
        from pulumi.automation import LocalWorkspace, PulumiCommand, Stack
        from pulumi.automation._stack import StackInitMode

        workspace = LocalWorkspace(
            work_dir=str(self._folder),
            pulumi_command=PulumiCommand(skip_version_check=True),
            env_vars={
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                **self._variables,
                VARIABLE: ",".join(leaves),
            },
        )
        stack = Stack.__new__(Stack)  # its constructor would select the stack for everybody
        stack.name, stack.workspace, stack._mode = self.stack, workspace, StackInitMode.SELECT
        return stack

    @contextmanager
    def _errors(self, seen: Seen, failed: Callable[[str], ControlError]) -> Iterator[None]:
        from pulumi.automation import CommandError, StackNotFoundError
        from pulumi.automation.errors import ConcurrentUpdateError

        try:
            yield
        except FileNotFoundError as error:
            raise Unreachable(
                "the pulumi command is not on PATH: https://www.pulumi.com/docs/install/"
            ) from error
        except ConcurrentUpdateError as error:
            raise LostRace(
                f"another update of {self.stack} is under way: wait until it has ended, then repeat. If "
                f"its process was killed: pulumi cancel -s {self.stack}"
            ) from error
        except StackNotFoundError as error:
            raise UsageError(f"there is no stack {self.stack!r} in this backend: pulumi stack ls") from error
        except CommandError as error:
            reason = "\n".join(dict.fromkeys(seen.errors)) or _last_words(str(error))
            raise failed(reason) from error


def _last_words(text: str) -> str:
    """What the CLI says where the engine did not even begin."""
    _, mark, words = text.partition("error: ")
    return (words if mark else text).strip()


def _noting(
    seen: Seen, on_change: Callable[[Change], None] = lambda _: None
) -> Callable[[EngineEvent], None]:
    def note(event: EngineEvent) -> None:
        if (change := seen.take(event)) is not None:
            on_change(change)

    return cast("Callable[[EngineEvent], None]", note)
