"""The guard: what a run of the program may do to an environment with work.

It compares the stack's previous outputs with what this run would deploy, before anything is registered. A run
fails if it would remove or replace the environment that owns work, or touch one whose books are not closed;
with two environments, before or after it, also if it would update the owner, unless a setting allows that.
Else it warns of it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pulumi
import pulumi_aws as aws
from bluegreen.document import content_hash, latest_valid, object_key
from bluegreen.timeline import COLOURS, Colour, Reading, TimelineError, other_colour
from packaging.version import Version

from components.airflow.definition import DIGEST
from components.config.airflow_versions import AIRFLOW_VERSIONS, at_least, major
from components.config.settings import Settings

READ_ATTEMPTS = 20
READ_PAUSE_SECONDS = 0.1
SHOWN_CHARACTERS = 30
ALLOW_IT = """To update it in place all the same:
  pulumi config set update_owner_in_place true -s {stack}"""
LAST_OF_2 = "2.11"  # AWS takes it to 3.x
Environment = Mapping[str, Any]
"""`identity` and `deployed` of one environment, as planned or as in the outputs."""


@dataclass(frozen=True)
class Touch:
    """What would happen to an environment: `removed`, `replaced` or `updated`, and why."""

    what: str
    changes: tuple[str, ...] = ()

    def only(self, key: str) -> bool:
        """Whether it is a replacement for this reason alone."""
        return self.what == "replaced" and [change.partition(" ")[0] for change in self.changes] == [key]

    def __str__(self) -> str:
        return f"{self.what} ({', '.join(self.changes)})" if self.changes else self.what


@dataclass(frozen=True)
class Judged:
    """The environments that this run updates, and those with no work that it updates, replaces or removes."""

    updated: frozenset[Colour] = frozenset()
    idle: frozenset[Colour] = frozenset()


@dataclass(frozen=True)
class Work:
    """Who has work: the owners, and those that have not drained, each with the arguments of `mwaactl switch`
    that close its books."""

    owners: frozenset[Colour]
    open_books: Mapping[Colour, str]


def previous_outputs() -> Mapping[str, Any]:
    """The stack's outputs before this run; empty on its first deployment.

    What its environments are is that of the state: the outputs lag behind after an `up` that failed or that
    left something out, and behind a `pulumi refresh`. On every backend, the engine answers from the state
    that it is working on. Raises pulumi.RunError.
    """
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    outputs = _read("readStackOutputs", stack, {"name": stack})
    existing = environments_of(outputs)
    if not existing:
        return outputs
    resources = _read("readStackResourceOutputs", stack, {"stackName": stack})
    return {
        **outputs,
        "airflow_environments": {
            colour: _as_in_state(colour, environment, resources) for colour, environment in existing.items()
        },
    }


def _as_in_state(colour: Colour, environment: Environment, resources: Mapping[str, Any]) -> Environment:
    """The environment as its outputs have it, with what the state knows better.

    What was deployed is recorded once the environment is. Its version is Amazon's, as last refreshed.
    """
    record = _outputs_of(resources, "pulumi:index:Stash", f"mwaa-{colour}-deployed").get("input") or {}
    known = _outputs_of(resources, "aws:mwaa/environment:Environment", f"mwaa-{colour}")
    if not known:  # it is no longer in the state
        return environment
    merged = {**environment, **record, "airflow_version": known["airflowVersion"]}
    return {**merged, "deployed": {**merged["deployed"], "airflow_version": known["airflowVersion"]}}


def _outputs_of(resources: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    return next(
        (
            each["outputs"]
            for urn, each in resources.items()
            if each["type"] == kind and urn.endswith(f"::{name}")
        ),
        {},
    )


def _read(function: str, stack: str, arguments: Mapping[str, str]) -> Mapping[str, Any]:
    """The `outputs` that a function of the engine's own returns. Raises pulumi.RunError."""
    attempts = READ_ATTEMPTS
    while True:
        attempts -= 1
        try:
            answer = pulumi.runtime.invoke(f"pulumi:pulumi:{function}", dict(arguments)).value
            return (answer or {}).get("outputs") or {}
        except Exception as error:  # an invoke raises nothing narrower
            if not attempts:
                raise pulumi.RunError(f"Cannot read the current outputs of {stack}: {error}") from error
            # A file backend may be writing the state at the moment: "failed to load checkpoint: EOF".
            time.sleep(READ_PAUSE_SECONDS)


def environments_of(outputs: Mapping[str, Any]) -> Mapping[Colour, Environment]:
    """The Airflow environments of a stack with these outputs."""
    return outputs.get("airflow_environments") or {}


def guard(
    settings: Settings,
    previous: Mapping[str, Any],
    planned: Mapping[Colour, Environment],
    left_alone: Collection[Colour] = (),
) -> Judged:
    """Stop the program, or warn, if it would touch an environment with work.

    `planned` has what this run would deploy, apart from the `left_alone` (of which only a removal is judged).
    Raises pulumi.RunError with the commands that help. Reads the ownership parameter only if an environment
    would be touched.
    """
    existing = environments_of(previous)
    touched = {
        colour: touch
        for colour, touch in touched_environments(existing, planned).items()
        if colour not in left_alone or touch.what == "removed"
    }
    parameter = previous.get("ownership_parameter")
    updated = frozenset(colour for colour, touch in touched.items() if touch.what == "updated")
    if not touched or not parameter:
        return Judged(updated)
    try:
        reading = reading_of(previous)
    except Exception as error:  # an invoke raises nothing narrower
        raise pulumi.RunError("\n".join(_unreadable(parameter, touched, error, settings.stack))) from error
    work = work_of(reading, lives_of(previous), datetime.now(UTC))
    upgrades = {
        colour: list(_in_place(settings, colour, existing[colour]))
        for colour, touch in touched.items()
        if touch.only("airflow_major")
    }
    lines = list(violations(touched, work, existing, settings.stack, upgrades))
    if lines:
        raise pulumi.RunError("\n".join(lines))
    for colour in sorted(touched.keys() & work.owners):
        tasks = _fate_of_tasks(
            settings.environment(colour).worker_replacement_strategy,
            existing[colour].get("last_worker_replacement"),
        )
        text = "\n".join(
            interruption(colour, touched[colour], settings.stack, existing, planned, tasks=tasks)
        )
        two = len(COLOURS) in (len(existing), len(planned))  # the work could go on beside it
        if two and not settings.update_owner_in_place:
            raise pulumi.RunError(f"{text}\n{ALLOW_IT.format(stack=settings.stack)}")
        pulumi.warn(text)
    return Judged(updated, frozenset(touched) - work.owners)


def _in_place(settings: Settings, colour: Colour, before: Environment) -> Iterator[str]:
    """The commands of Amazon's own way to the next major version, or why there is none to the one before."""
    stack, name, key = settings.stack, before["name"], settings.path(colour, "airflow_version")
    target = settings.environment(colour).airflow_version
    if major(target) < major(before["airflow_version"]):
        yield "Amazon's own way back keeps the database, and there Airflow 3 has given runs the names that"
        yield "Airflow 2 gives to the next ones: its scheduler would fail."
        return
    yield "Amazon MWAA itself upgrades it in place, with its database and history; the AWS provider does not."
    if not at_least(before["airflow_version"], LAST_OF_2):
        yield f"From {before['airflow_version']}, first to the last version before:"
        yield f"  pulumi config set {key} {_newest(LAST_OF_2)} -s {stack}"
        yield f"  pulumi up -s {stack}"
        yield f"  pulumi config set {key} {target} -s {stack}"
    yield "Try it on another stack, and stop what must not be interrupted: it starts no task meanwhile."
    yield f"  aws mwaa update-environment --region {settings.region} --name {name} --airflow-version {target}"
    yield "When its status is AVAILABLE again, and its version the new one:"
    yield (
        f"  aws mwaa get-environment --region {settings.region} --name {name}"
        " --query 'Environment.[Status,AirflowVersion]'"
    )
    yield f"  pulumi refresh -s {stack}"
    yield f"  pulumi up -s {stack}"


def _newest(series: str) -> str:
    """The newest version that this project deploys of a series: 2.11.2 of 2.11."""
    return max((each for each in AIRFLOW_VERSIONS if each.startswith(f"{series}.")), key=Version)


def _fate_of_tasks(strategy: str, last: str | None) -> str:
    """What an update does with running tasks. `last`: the strategy of the one before, as AWS gave it back."""
    if strategy == "FORCED":
        return "ends the tasks that run there (FORCED)"
    if last == "GRACEFUL":
        return (
            "may end the tasks that run there: the AWS provider passes GRACEFUL on only if the update before "
            "was another kind"
        )
    return "first waits for its tasks (GRACEFUL)"


def touched_environments(
    existing: Mapping[Colour, Environment], planned: Mapping[Colour, Environment]
) -> dict[Colour, Touch]:
    """Each existing environment that would change, and what would happen to it."""
    touched = {}
    for colour, before in existing.items():
        after = planned.get(colour)
        if after is None:
            touched[colour] = Touch("removed")
            continue
        replaced = _changes(before, after, "identity")
        updated = _changes(before, after, "deployed")
        if replaced:
            touched[colour] = Touch("replaced", replaced)
        elif updated:
            touched[colour] = Touch("updated", updated)
    return touched


def _changes(before: Environment, after: Environment, part: str) -> tuple[str, ...]:
    old, new = before.get(part) or {}, after[part]
    return tuple(
        f"{key} {_shown(old.get(key))} -> {_shown(new.get(key))}" if _is_short(old, new, key) else key
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def _is_short(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> bool:
    texts = [_shown(values.get(key)) for values in (old, new)]
    return all(len(text) <= SHOWN_CHARACTERS and not text.startswith(DIGEST) for text in texts)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)  # the engine stores numbers as floats


def lives_of(outputs: Mapping[str, Any]) -> dict[Colour, str]:
    """The lives of the environments of a stack with these outputs."""
    return {colour: str(each["life"]) for colour, each in environments_of(outputs).items()}


def reading_of(outputs: Mapping[str, Any]) -> Reading:
    """The ownership timeline of a stack with these outputs. Raises TimelineError, or as the provider does."""
    bucket = str(outputs.get("lineage_log_bucket"))

    def fetch(name: str) -> str:
        # As base64: the provider gives the body itself of some content types only.
        found = aws.s3.get_object(bucket=bucket, key=object_key(name), download_body="true")
        content = base64.b64decode(found.body_base64).decode()
        if content_hash(content) != name:
            raise TimelineError(f"s3://{bucket}/{object_key(name)} is not what its name states")
        return content

    current = aws.ssm.get_parameter(name=outputs["ownership_parameter"])
    # The provider does not tell when it was written; `work_of` allows for a late write.
    return latest_valid([(current.value, int(current.version), datetime.now(UTC))], fetch)


def work_of(reading: Reading, lives: Mapping[Colour, str], now: datetime) -> Work:
    """Who has work, now or by a decision. `lives`: of the environments that exist."""
    timeline = reading.timeline.seen_with(lives)
    entries = [*timeline.owners, *(entry for line in timeline.dags.values() for entry in line)]
    # A switch may take effect up to its lead later than recorded, so the owner just before it still counts.
    instants = [now - timeline.lead, now, *(entry.since for entry in entries if entry.since > now)]
    owned = (timeline.owner(instant, dag) for instant in instants for dag in (None, *timeline.dags))
    # Work that has come back since is no reason: then it is the owner's, of whose update the guard warns.
    closing = {colour: command for colour in COLOURS if (command := timeline.closed_by(colour))}
    return Work(frozenset(owner for owner in owned if owner is not None), closing)


def violations(
    touched: Mapping[Colour, Touch],
    work: Work,
    existing: Collection[Colour],
    stack: str,
    upgrades: Mapping[Colour, Sequence[str]],
) -> Iterator[str]:
    """Lines that name each environment that may not be touched so, and the commands that help.

    `upgrades`: for each that would be replaced for its version only, how to upgrade it in place.
    """
    for colour in COLOURS:
        if colour not in touched:
            continue
        if colour in work.owners and touched[colour].what != "updated":
            yield from _takes_the_owner_away(colour, touched, existing, stack, upgrades.get(colour, ()))
        elif colour in work.open_books:
            yield from [
                f"{colour} would be {touched[colour]}, and its books are not closed: its runs may still "
                "be at work, and what is left of them has no owner yet.",
                f"Wait until {colour} has drained, then update again:",
                f"  mwaactl switch {work.open_books[colour]} --wait -s {stack}",
                f"  pulumi up -s {stack}",
                f"If {colour} has died, take over what it had at work instead:",
                f"  mwaactl failover {other_colour(colour)} -s {stack}",
            ]


def _takes_the_owner_away(
    colour: Colour,
    touched: Mapping[Colour, Touch],
    existing: Collection[Colour],
    stack: str,
    upgrade: Sequence[str],
) -> Iterator[str]:
    other = other_colour(colour)
    yield f"{colour} owns work and would be {touched[colour]}."
    if other not in existing:
        yield from upgrade
        reason = "Without an interruption:" if upgrade else "There is no other environment to take over."
        yield f"{reason} undo the change, add {other} and switch to it:"
        yield from _enable(stack)
        yield f"  mwaactl switch {other} --wait -s {stack}"
        yield "Then make the change again."
    elif other in touched and touched[other].what == "removed":
        yield from _keep(other, stack)
    elif other in touched and touched[other].what != "updated":
        yield f"{other} cannot take over, because it would be {touched[other]}."
        yield "A change of airflow_version alone is made one environment at a time, the standby first, by:"
        yield f"  mwaactl rollout -s {stack}"
        yield "Any other change that replaces an environment needs a new stack."
    else:
        yield f"Switch to {other} first, then update again:"
        yield from [f"  mwaactl switch {other} --wait -s {stack}", f"  pulumi up -s {stack}"]


def interruption(
    colour: Colour,
    touch: Touch,
    stack: str,
    existing: Collection[Colour],
    planned: Collection[Colour],
    *,
    tasks: str,
) -> Iterator[str]:
    """What an update of the owner does, and how to avoid the interruption.

    `existing`, `planned`: the environments before and after. `tasks`: what the update does with running ones.
    """
    other = other_colour(colour)
    yield f"{colour} owns work and would be {touch}."
    yield f"An update takes 20-30 minutes, in which it starts no task, and it {tasks}."
    if other not in existing:
        if other in planned:
            yield f"Without an interruption, {other} comes first, alone: undo the change of {colour}, then:"
            yield f"  pulumi up -s {stack}"
        else:
            yield "With a second environment no update interrupts the work: undo the change, then add one:"
            yield from _enable(stack)
        yield "Then make the change again, and roll it out:"
        yield f"  mwaactl rollout -s {stack}"
    elif other not in planned:
        yield from _keep(other, stack)
    else:
        yield f"Without an interruption ({other} first, then a switch, then {colour}):"
        yield f"  mwaactl rollout -s {stack}"


def _keep(other: Colour, stack: str) -> Iterator[str]:
    yield f"Without an interruption, {other} stays until the rest is done:"
    yield f"  pulumi config set enable_blue_green true -s {stack}"
    yield f"  mwaactl rollout --return -s {stack}"
    yield f"  pulumi config set enable_blue_green false -s {stack}"
    yield f"  pulumi up -s {stack}"


def _enable(stack: str) -> list[str]:
    return [f"  pulumi config set enable_blue_green true -s {stack}", f"  pulumi up -s {stack}"]


def _unreadable(
    parameter: str, touched: Mapping[Colour, Touch], error: Exception, stack: str
) -> Iterator[str]:
    yield f"This change affects an environment that may own work, and {parameter} cannot be read:"
    yield from (f"  {colour} would be {touch}" for colour, touch in touched.items())
    yield f"  {error}"
    yield "If a newer version of this project wrote it, use that version. Otherwise inspect the parameter:"
    yield f"  mwaactl status -s {stack}"
    yield "If its value is invalid, write a valid one by naming the owner, blue or green:"
    yield f"  mwaactl switch blue -s {stack}"
    yield "If it was deleted, undo the change and create it again:"
    yield f"  pulumi refresh -s {stack}"
    yield f"  pulumi up -s {stack}"
