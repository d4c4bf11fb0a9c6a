"""The proof that an execution was gated: which layer judged it, installed by which routes, by which value.

A task's process notes it (`policies.py`), and the transport adds it to the task's OpenLineage events as the
run facet `blueGreen_gate`. A task that begins although no layer could judge it is *ungated*: the transport
then also writes the event below `ungated/` in the lineage log, where nothing should ever be.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

FACET = "blueGreen_gate"
UNGATED = "ungated/"  # keys: as those of the events
PRODUCER = "urn:mwaa-openlineage:bluegreen"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"
MISSING = "no layer of the gate judged this execution"


class Proof(NamedTuple):
    """How the gate judged the execution of one task.

    `layer`: the policy whose hook judged it; None: none did. `version`: of the ownership parameter; None if
    no value was needed (a run that was created here) or none could be read.
    """

    layer: str | None
    routes: tuple[str, ...]
    environment: str
    life: str
    version: int | None
    reason: str

    def facet(self) -> dict[str, Any]:
        """As a custom run facet of OpenLineage."""
        return {"_producer": PRODUCER, "_schemaURL": SCHEMA, **self._asdict(), "routes": list(self.routes)}

    def __str__(self) -> str:
        version = "no version" if self.version is None else f"version {self.version}"
        who = f"{self.environment} {self.life}".strip()
        return f"judged by {self.layer} ({', '.join(self.routes) or 'no route'}), {version}, on {who}"


def live_routes() -> tuple[str, ...]:
    """The routes by which this process has the policies."""
    try:
        live: tuple[str, ...] = import_module("bluegreen.routes").live()
    except ImportError:
        return ("settings_module",)
    return live
