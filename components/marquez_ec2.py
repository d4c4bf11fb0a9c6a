from __future__ import annotations

import pulumi

from components.marquez import Marquez, MarquezArgs


class MarquezEc2(Marquez):
    def __init__(self, name: str, args: MarquezArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
