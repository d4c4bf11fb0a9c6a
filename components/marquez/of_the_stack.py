"""Which Marquez a stack has, by its settings."""

from __future__ import annotations

from components.marquez.back_end import Marquez, MarquezArgs
from components.marquez.ec2 import MarquezEc2
from components.marquez.ha import MarquezHa


def marquez_of_the_stack(args: MarquezArgs) -> Marquez | None:
    """None: the stack has none (`lineage`)."""
    if args.settings.lineage != "marquez":
        return None
    kind: type[Marquez] = MarquezHa if args.settings.enable_ha_marquez else MarquezEc2
    return kind("marquez", args)
