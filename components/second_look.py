"""The guard's second look, just before an environment is touched.

The guard judges when the program begins. What comes before an environment is touched may take minutes, and a
switch may give it work in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi
from bluegreen.timeline import Colour

from components.guard import lives_of, reading_of, work_of


def second_look(colour: Colour, previous: Mapping[str, Any], stack: str) -> pulumi.ResourceHook:
    """A hook that stops the update or the replacement of an environment that has work by then.

    `previous`: the stack's outputs, of when it had none.
    """

    async def look(args: pulumi.ResourceHookArgs) -> None:
        if _has_work(colour, previous):
            raise RuntimeError(f"{args.name} would be changed. {_explained(colour, stack)}")

    return pulumi.ResourceHook(f"mwaa-{colour}-has-no-work", look)


def kept_with_work(
    environments: pulumi.Input[Any],
    removed: Collection[Colour],
    previous: Mapping[str, Any],
    stack: str,
    *,
    after: Collection[pulumi.Input[Any]] = (),
) -> pulumi.Output[Any]:
    """The output `environments`; fails if one that is `removed` has work once it and `after` are known.

    The engine removes what a program has left out after the program has ended without an error: there is no
    hook for that. If an output fails, all of them stay as they were, those of the environment as well.
    """

    def look(known: Sequence[Any]) -> Any:
        for colour in removed:
            if not pulumi.runtime.is_dry_run() and _has_work(colour, previous):
                raise pulumi.RunError(f"{colour} would be removed. {_explained(colour, stack)}")
        return known[0]

    return pulumi.Output.all(environments, *after).apply(look)


def _has_work(colour: Colour, previous: Mapping[str, Any]) -> bool:
    work = work_of(reading_of(previous), lives_of(previous), datetime.now(UTC))
    return colour in work.owners or colour in work.open_books


def _explained(colour: Colour, stack: str) -> str:
    return (
        f"But {colour} has got work since this run began: somebody has switched, or given some back. "
        f"{colour} is as it was; what this run has done beside it stands. What to do now: "
        f"pulumi preview -s {stack}"
    )
