"""The guard's second look, just before an environment is touched.

The guard judges when the program begins. What an environment depends on may take minutes until it is touched
itself, and a switch may give it work in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pulumi
from bluegreen.timeline import Colour

from components.guard import lives_of, reading_of, work_of


def second_look(colour: Colour, previous: Mapping[str, Any], stack: str) -> pulumi.ResourceHook:
    """A hook that stops the update or the replacement of an environment that has work by then.

    `previous`: the stack's outputs, of when it had none.
    """
    return pulumi.ResourceHook(f"mwaa-{colour}-has-no-work", _look(colour, previous, stack))


def _look(
    colour: Colour, previous: Mapping[str, Any], stack: str
) -> Callable[[pulumi.ResourceHookArgs], Any]:
    async def look(args: pulumi.ResourceHookArgs) -> None:
        work = work_of(reading_of(previous), lives_of(previous), datetime.now(UTC))
        if colour not in work.owners and colour not in work.open_books:
            return
        raise RuntimeError(
            f"{args.name} would be changed, and {colour} has got work since this run began: somebody has "
            f"switched. {colour} is as it was; what this run has done beside it stands. To apply the rest "
            f"without touching what owns work:\n  mwaactl rollout -s {stack}"
        )

    return look
