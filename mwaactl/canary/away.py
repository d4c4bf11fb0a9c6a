"""The first DAGs when the command ends before all may follow: where they are, and what gives them back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from bluegreen.timeline import Colour, other_colour

from mwaactl.canary.soak import Soak
from mwaactl.checks.outcome import listed
from mwaactl.checks.serial import CHECK as SERIAL_CHECK
from mwaactl.deployment import Deployment
from mwaactl.errors import Unfinished
from mwaactl.json_model import Model
from mwaactl.switching.held_dags import CROSS_DAG

MOVE_BUSY = {SERIAL_CHECK, CROSS_DAG}  # forced, these move what is at work: not without being asked again


class Step(Model):
    """One step: its DAGs, the side that they are on, and what the last look at them showed."""

    dags: tuple[str, ...]
    on: Colour | None = None  # None: either, a write may still arrive
    soak: Soak | None = None  # None: not seen yet


class Away(Unfinished):
    """The DAGs `dags` are on `target`, or may be, and nobody watches them; `back` gives them back."""

    def __init__(
        self,
        why: str,
        deployment: Deployment,
        target: Colour,
        steps: Sequence[Step],
        force: Collection[str] = (),
    ) -> None:
        self.dags = tuple(dict.fromkeys(dag for step in steps for dag in step.dags))
        self.back = way_back(deployment.name, target, self.dags, force)
        where = f"on {target}" if all(step.on == target for step in steps) else f"perhaps on {target}"
        super().__init__(
            f"{why}. Now {where}, and not watched: {listed(self.dags)}. Repeat the command to go on, or give "
            f"them back: {self.back}",
            beside=beside(steps),
        )


def way_back(stack: str, target: Colour, dags: Sequence[str] = (), force: Collection[str] = ()) -> str:
    """The command that takes these DAGs back from `target`; none: all that it owns.

    `force`: the checks that were overridden on the way there; most fail on the way back as well.
    """
    named = "".join(f" --dag {dag}" for dag in dags)
    forced = "".join(f" --force {name}" for name in sorted(set(force) - MOVE_BUSY))
    return f"mwaactl switch {other_colour(target)} --wait -s {stack}{named}{forced}"


def beside(steps: Sequence[Step]) -> dict[str, Any]:
    """The steps in the JSON of a result or of an error; nothing if there are none."""
    return {"canary": [step.model_dump(mode="json") for step in steps]} if steps else {}


def stands(steps: Sequence[Step]) -> str:
    """What a check that fails now leaves as it was."""
    return "no other DAG has moved" if steps else "nothing was written"
