"""The Pulumi program without Pulumi's engine: every registration recorded with its options.

It runs in the program's own Python. No credentials, no network and no `pulumi` command are needed. The unit
tests run the program and its components in the same way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import grpc
import yaml
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.settings import set_root_resource
from pulumi.runtime.stack import run_in_stack

from mwaactl.cost.aws_answers import AwsMocks

SECRET_SIGNATURE = rpc._special_sig_key


class EngineError(grpc.RpcError):
    """What the SDK receives where an invoke fails."""

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._details


@dataclass(frozen=True)
class Registration:
    """One resource as the engine would see it; secrets in `inputs` still wrapped."""

    type: str
    name: str
    urn: str
    inputs: Mapping[str, Any]
    request: Any  # the protocol's RegisterResourceRequest

    @property
    def parent(self) -> str:
        """The parent's URN."""
        return str(self.request.parent)

    @property
    def ignore_changes(self) -> list[str]:
        return list(self.request.ignoreChanges)


@dataclass
class Deployment:
    """What one run of a program registered, exported and asked for."""

    resources: list[Registration] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)
    invokes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def of_type(self, *types: str) -> list[Registration]:
        """The resources of these types, given by their last part (`Environment`)."""
        return [each for each in self.resources if each.type.rpartition(":")[2] in types]

    def resource(self, type: str, name: str) -> Registration:
        """The only resource of a type (its last part) and a logical name."""
        (resource,) = [each for each in self.of_type(type) if each.name == name]
        return resource

    def secrets(self) -> Iterator[tuple[Registration, str]]:
        """Every top-level input that is a secret, with its key."""
        for each in self.resources:
            for key, value in each.inputs.items():
                if is_secret(value):
                    yield each, key


def is_secret(value: Any) -> bool:
    """Whether an input went to the engine wrapped as a secret."""
    return isinstance(value, Mapping) and value.get(SECRET_SIGNATURE) == rpc._special_secret_sig


def plain(value: Any) -> Any:
    """The value inside a secret's wrapper, or the value itself."""
    return value["value"] if is_secret(value) else value


class Warnings(logging.Handler):
    """Keeps what the program, or the SDK on its behalf, warns of."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(logging.WARNING)
        self.deployment = deployment

    def emit(self, record: logging.LogRecord) -> None:
        self.deployment.warnings.append(record.getMessage())


class Monitor(mocks.MockMonitor):
    """The mocked engine; records what MockMonitor forgets: options and the stack's outputs."""

    def __init__(self, answers: AwsMocks, deployment: Deployment) -> None:
        super().__init__(answers)
        self.deployment = deployment
        deployment.invokes = answers.asked

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        with _loop_of_this_thread():
            return super().Invoke(request)  # type: ignore[no-untyped-call]

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        with _loop_of_this_thread():
            response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            inputs = rpc.deserialize_properties(request.object, keep_unknowns=True)
            self.deployment.resources.append(
                Registration(request.type, request.name, response.urn, inputs, request)
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            self.deployment.exports.update(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


@contextmanager
def _loop_of_this_thread() -> Iterator[None]:
    """MockMonitor makes an event loop in each of its threads and forgets it; this one is closed."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def stack_config(folder: Path, stack_file: str, changes: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The configuration that the engine hands to the program: defaults, the stack file's values, `changes`.

    A change to None leaves the key unset.
    """
    project = parsed((folder / "Pulumi.yaml").read_text())
    name = project["name"]
    values = {f"{name}:{key}": declared["default"] for key, declared in project["config"].items()}
    values |= parsed((folder / f"Pulumi.{stack_file}.yaml").read_text())["config"]
    for key, value in (changes or {}).items():
        values[key if ":" in key else f"{name}:{key}"] = value
    return {key: _as_text(value) for key, value in values.items() if value is not None}


@cache
def parsed(text: str) -> Any:
    """What is not to be changed: the program is run many times, and a tenth of a run would be the parsing."""
    return yaml.safe_load(text)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def run(
    program: Callable[[], object],
    *,
    config: Mapping[str, str] | None = None,
    project: str,
    stack: str,
    answers: AwsMocks,
) -> Deployment:
    """Run a program (or a function that makes one component) as an update, and wait for all of it."""
    deployment = Deployment()
    logger = logging.Logger("program")
    logger.addHandler(Warnings(deployment))

    def within() -> None:
        program()

    async def update() -> None:
        set_all_config(dict(config or {}))
        monitor = Monitor(answers, deployment)
        mocks.set_mocks(
            monitor.mocks,
            project=project,
            stack=stack,
            preview=False,
            monitor=monitor,
            logger=logger,
            organization="organization",
        )
        set_root_resource(cast(Any, None))  # set_mocks made one; the run below makes its own
        await run_in_stack(within)

    asyncio.run(update())
    return deployment
