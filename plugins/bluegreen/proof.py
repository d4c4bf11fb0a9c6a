"""The proof that an execution was gated: which layer judged it, installed by which routes, by which value.

A task's process notes it (`policies.py`), and the transport adds it to the task's OpenLineage events as the
run facet `blueGreen_gate`. A task that begins although no layer could judge it is *ungated*: the transport
then also writes the event below `ungated/` in the lineage log, where nothing should ever be.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

FACET = "blueGreen_gate"
UNGATED = "ungated/"  # keys: as those of the events
PROBE = "bluegreen_probe"  # the id of the DAG that shows whether the gate works (`probe.py`)
PROBE_FILE = "bluegreen_probe.py"  # in the DAGs folder
AUDIT = "bluegreen_audit"  # the id of the DAG that audits both sides every night (`audit.py`)
AUDIT_FILE = "bluegreen_audit.py"
# By `pulumi up`, beside the DAGs of people: a side may have others while a change is under way.
WRITTEN_FILES = (PROBE_FILE, AUDIT_FILE)
WRITTEN_DAGS = (PROBE, AUDIT)
PERIODS = 3  # of the probe: what is older proves nothing
# In the logs, where CloudWatch counts these (components/airflow/log_metrics.py):
ABSENT = "blue/green gate absent"  # a task is executed that no layer judged
GATED = "blue/green probe gated"  # the probe's report
UNFINISHED = "blue/green switch unfinished"  # what the probe says once books have been open for LONG
LONG = timedelta(hours=6)
LOST = "lineage event lost"  # by the transport
AUDITED = "blue/green audit done"
FINDING = "blue/green audit finding"
FENCE = "blue/green audit sees a fence"
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
    """The routes by which Airflow calls the gate in this process now, sorted.

    Looked up in Airflow's own manager of policy plugins: a route that it has dropped is not among them, nor
    one that fails every task for want of the gate. Empty where Airflow is not loaded.
    """
    manager = policy_manager()
    if manager is None:
        return ()
    functions = [implementation.function for implementation in manager.hook.task_policy.get_hookimpls()]
    return tuple(
        sorted({function.bluegreen for function in functions if not getattr(function, "refuses", True)})
    )


def policy_manager() -> Any:
    """Airflow's manager of policy plugins (pluggy's PluginManager); None where Airflow is not loaded."""
    settings = sys.modules.get("airflow.settings")
    newer = getattr(settings, "get_policy_plugin_manager", None)  # Airflow 3.2
    return newer() if newer is not None else getattr(settings, "POLICY_PLUGIN_MANAGER", None)


def is_ungated(report: Mapping[str, Any]) -> bool:
    """Whether the report of an executed probe shows that no gate, or one that errs, let it run."""
    return report.get("mine") is False or not report.get("layer")


def problem(report: Mapping[str, Any]) -> str | None:
    """What the report of an executed probe shows to be wrong; None if the gate let it run rightly."""
    if report.get("mine") is False:
        return f"it was executed where it is not owned: {report.get('reason')}"
    if not report.get("layer"):
        live = ", ".join(report.get("layers") or ()) or "none"
        return f"the gate did not judge it (layers that live in its process: {live})"
    if report.get("error"):
        return f"the ownership timeline cannot be read: {report['error']}"
    return None
