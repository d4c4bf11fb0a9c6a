"""The deployed stack as `mwaactl` knows it: its Pulumi outputs, read once and typed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from bluegreen.timeline import Colour, other_colour
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, ValidationError

from mwaactl.errors import Unreachable, Unusable, UsageError

GATE = "options.bluegreen.life"  # among `Environment.deployed` of one that has the gate
CHECKOUT = Path(__file__).resolve().parent.parent
# In the environment: where the local cloud's back ends answer, by stack (JSON); the outputs name the VPC's.
LOCAL_LINEAGE = "MWAACTL_LINEAGE_URLS"
_LOCAL_HINT = 'for the local cloud: eval "$(make -s local-env)"'


class _Outputs(BaseModel):
    # Not "forbid": a newer program may export more outputs than this version reads.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Environment(_Outputs):
    """One Airflow environment of the stack."""

    name: str
    life: str
    """Born with the environment, and replaced exactly when it is."""
    arn: str
    webserver_url: str
    bucket: str
    dags_prefix: str
    execution_role_arn: str
    airflow_version: str
    environment_class: str
    lineage_namespace: str
    deployed: Mapping[str, str]
    """Everything whose change would update it; `plugins.zip` and `requirements.txt` as digests."""

    @property
    def major(self) -> int:
        return Version(self.airflow_version).major


class Stack(_Outputs):
    """The outputs that `mwaactl` uses; the same keys in all four modes."""

    mode: str
    region: str
    project: str
    stack: str
    name: str
    airflow_environments: Mapping[Colour, Environment]
    ownership_parameter: str
    active_environment_parameter: str
    switch_lead_seconds: float
    gate_probe_minutes: int
    lineage: Literal["marquez", "log", "none"]
    """What becomes of it: in the log and Marquez, in the log alone, or Airflow emits none."""
    lineage_sinks: tuple[str, ...]
    """The names of what the log is carried to beside Marquez."""
    lineage_log_bucket: str
    """Also of what is no lineage: every stack has it."""
    lineage_url: str
    """Of Marquez; empty: the stack has none."""
    lineage_open_command: str
    """For a shell: forwards Marquez's web pages to a port of this machine; empty like `lineage_url`."""
    dashboard_url: str
    """Empty: the stack has none."""
    operator_policies: Mapping[str, Mapping[str, Any]]
    """IAM documents by the task of an operator: read, switch, on_call."""

    def other(self, colour: Colour) -> Environment | None:
        return self.airflow_environments.get(other_colour(colour))

    @property
    def lead(self) -> timedelta:
        """The time from a decision to its begin, which readers also apply to late writes."""
        return timedelta(seconds=self.switch_lead_seconds)

    @property
    def probe_period(self) -> timedelta:
        """The time from one run of the probe to the next."""
        return timedelta(minutes=self.gate_probe_minutes)

    @property
    def lacks(self) -> str:
        """Which part of lineage the stack does not have, and the setting that says so; empty: it has all."""
        if self.lineage == "marquez":
            return ""
        part = "Marquez" if self.lineage == "log" else "lineage"
        return f"stack {self.stack} has no {part} (lineage: {self.lineage})"

    def back_end(self, to: str | None) -> str:
        """Where Marquez answers: `to`, or the local cloud's, or the stack's own; empty if there is none."""
        try:
            here = json.loads(os.environ.get(LOCAL_LINEAGE) or "{}").get(self.stack)
        except (ValueError, AttributeError):
            raise UsageError(f"{LOCAL_LINEAGE} is not a JSON object; {_LOCAL_HINT}") from None
        return to or here or self.lineage_url

    def marquez(self, to: str | None) -> str:
        """Like `back_end`; UsageError if there is none."""
        if url := self.back_end(to):
            return url
        raise UsageError(
            f"{self.lacks}. Name a Marquez with --to, or make one: "
            f"pulumi config set lineage marquez -s {self.stack} && pulumi up -s {self.stack}"
        )

    def require(self, colour: Colour) -> Environment:
        """The environment of that colour; UsageError with the commands that create it if there is none."""
        environment = self.airflow_environments.get(colour)
        if environment is None:
            raise UsageError(
                f"stack {self.stack} (mode {self.mode}) has no {colour} environment. To add it: "
                f"pulumi config set enable_blue_green true -s {self.stack} && pulumi up -s {self.stack}"
            )
        return environment


def find_project(start: Path | None = None) -> Path:
    """The folder with Pulumi.yaml: `start` or one above it, else the checkout this package runs from."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    if start is None and (CHECKOUT / "Pulumi.yaml").is_file():
        return CHECKOUT
    raise UsageError(f"no Pulumi.yaml in {here} or above it: name the project's folder with --cwd")


def selected(folder: Path) -> str:
    """The name of the selected stack. Raises as `load` does."""
    return pulumi(["stack", "--show-name"], None, folder).strip()


def load(stack: str | None = None, cwd: Path | None = None) -> Stack:
    """Read the outputs of `stack` (None: the selected one) of the project in `cwd`.

    It does not select the stack and needs no passphrase: no output used here is a secret. Raises UsageError
    (no such stack, none selected), Unreachable (no CLI, no backend), Unusable (not deployed, or by an older
    program).
    """
    folder = find_project(cwd)
    return parse(_outputs(stack, folder), stack)


def parse(outputs: Mapping[str, Any], stack: str | None = None) -> Stack:
    """Parse the outputs; Unusable if the stack is not deployed, or by a program that exports fewer."""
    named = f"stack {stack or outputs.get('stack') or '(the selected one)'}"
    up = "pulumi up" + (f" -s {stack}" if stack else "")
    if not outputs:
        raise Unusable(f"{named} is not deployed (it has no outputs): {up}")
    try:
        return Stack.model_validate(outputs)
    except ValidationError as error:
        wrong = sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})
        raise Unusable(
            f"{named} lacks outputs that mwaactl needs ({', '.join(wrong)}): it is only partly deployed, or "
            f"by an older program. Deploy it again: {up}"
        ) from error


def _outputs(stack: str | None, folder: Path) -> dict[str, Any]:
    # `select_stack(...).outputs()` would change the selected stack, and run the CLI twice as often.
    loaded: dict[str, Any] = json.loads(pulumi(["stack", "output", "--json"], stack, folder))
    return loaded


def pulumi(arguments: list[str], stack: str | None, folder: Path, given: str = "") -> str:
    """What `pulumi <arguments>` prints about `stack` of the project in `folder`; `given`: its standard input,
    which no list of processes shows. Raises as `load` does."""
    from pulumi.automation import CommandError, CommandResult, StackNotFoundError
    from pulumi.automation.errors import create_command_error

    try:
        # The SDK's PulumiCommand gives no input.
        done = subprocess.run(  # noqa: S603 - no shell
            ["pulumi", "--non-interactive", *arguments, *(["--stack", stack] if stack else [])],  # noqa: S607
            cwd=folder,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_AUTOMATION_API": "true"},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise create_command_error(CommandResult(done.stdout, done.stderr, done.returncode))
        return done.stdout
    except FileNotFoundError as error:
        raise Unreachable(
            f"the pulumi command is not on PATH: https://www.pulumi.com/docs/install/, or {_LOCAL_HINT}"
        ) from error
    except StackNotFoundError as error:
        raise UsageError(
            f"there is no stack {stack!r} in this backend: see `pulumi stack ls` and `pulumi whoami -v`; "
            f"{_LOCAL_HINT}"
        ) from error
    except CommandError as error:
        raise _explained(" ".join(arguments[:2]), str(error)) from error


def _explained(command: str, text: str) -> Unreachable | UsageError:
    if "no stack selected" in text:
        return UsageError("no stack is selected: add -s STACK, or `pulumi stack select STACK`")
    lines = [line.strip() for line in text.splitlines()]
    reason = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "it failed")
    hint = ""
    if "PULUMI_ACCESS_TOKEN" in text:
        hint = f". Log in first (`pulumi login`); {_LOCAL_HINT}"
    return Unreachable(f"`pulumi {command}`: {reason.removeprefix('error:').strip()}{hint}")
