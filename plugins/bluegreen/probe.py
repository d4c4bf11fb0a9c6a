"""The probe: a small DAG of the program's own, on both sides, that shows whether the gate works there.

Its file in the DAGs folder calls `probe` (components/airflow/probe.py). On the owner one short task reports
how the gate judged it; on the other side its runs are skipped as every other DAG's. The report is a template,
so Airflow keeps it with the task instance, where `mwaactl` reads it (rendered_fields of the REST API).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bluegreen import policies, proof, settings, software, store
from bluegreen.gate import Gate, describe
from bluegreen.proof import ABSENT, GATED, LONG, PROBE, UNFINISHED, is_ungated, problem
from bluegreen.timeline import COLOURS, Timeline

log = logging.getLogger("bluegreen")

TASK_ID, REPORT = "report", "report"
START = datetime(
    2026, 1, 1, tzinfo=UTC
)  # long ago: with catchup=False the first run is that of the last instant
WAIT = 10.0  # seconds for the timeline, where no gate has waited for it
RECENT = timedelta(minutes=1)  # as old as the copy may be that the gate has just used


def report(dag_run: Any, task: Any, requirements: Iterable[str] = ()) -> str:
    """What the process of a task knows of the gate and of itself, as JSON. `requirements`: to look for.

    Never raises: that would hide an execution.
    """
    facts: dict[str, Any] = {"layer": None, "layers": _layers(task), "routes": list(proof.live_routes())}
    try:
        judged = policies.known_proof(dag_run.dag_id, dag_run.run_id)
        if judged is not None:
            facts |= {"layer": judged.layer, "version": judged.version}
        chosen = settings.load()
        source = store.store(chosen)
        verdict = Gate(chosen, source).verdict(describe(dag_run), wait=WAIT)
        facts |= {"environment": chosen.environment, "life": chosen.life, "version": source.version}
        facts |= {"mine": verdict.mine, "reason": verdict.reason}
        if source.version is not None:  # a run that a person triggered needs no timeline
            since = _unfinished(source.timeline(datetime.now(UTC) - RECENT, wait=WAIT))
            facts["unfinished"] = since and since.isoformat()
    except Exception as error:  # noqa: BLE001 - reported
        facts["error"] = f"{type(error).__name__}: {error}"
    try:
        facts |= {**software.software(requirements), "secrets": software.secrets()}
    except Exception as error:  # noqa: BLE001 - reported
        facts["software_error"] = f"{type(error).__name__}: {error}"
    return json.dumps(facts)


def _unfinished(timeline: Timeline) -> datetime | None:
    """Since when books are open: of a switch that was not awaited, or that still holds DAGs back."""
    return min((book.entry.since for side in COLOURS for book in timeline.drains(side)), default=None)


def _layers(task: Any) -> list[str]:
    """The layers of the gate that this process has, of those that work in a task's process."""
    layers = {
        "dag_policy": getattr(getattr(task, "dag", None), "get_template_env", None),
        "task_policy": getattr(task, "_pre_execute_hook", None),
    }
    return [name for name, hook in layers.items() if hasattr(hook, "bluegreen")]


def probe(minutes: int, requirements: Iterable[str] = ()) -> Any:
    """The DAG, due every so many minutes (a divisor of 60, at most 30).

    Its task reports which of these `requirements`, those of requirements.txt, are not installed.
    """
    try:  # Airflow 3
        from airflow.sdk import DAG, BaseOperator
    except ImportError:
        from airflow.models import DAG, BaseOperator

    class GateReport(BaseOperator):  # type: ignore[misc]
        """Fails if it should not have been executed here."""

        template_fields = (REPORT,)

        def __init__(self, report: str, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.report = report

        def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002 - Airflow's
            from airflow.exceptions import AirflowFailException

            facts: dict[str, Any] = json.loads(self.report)
            if wrong := problem(facts):
                log.error(
                    "%s: %s; %s", ABSENT if is_ungated(facts) else "blue/green probe", wrong, self.report
                )
                raise AirflowFailException(f"blue/green probe: {wrong}")
            log.info("%s: %s", GATED, self.report)
            since = facts.get("unfinished")
            if since and datetime.now(UTC) - datetime.fromisoformat(since) > LONG:
                log.warning("%s: since %s; see `mwaactl status`", UNFINISHED, since)
            return facts

    with DAG(
        PROBE,
        description="Shows that the blue/green gate works here; see docs/switching.md",
        schedule=f"*/{minutes} * * * *",
        start_date=START,
        catchup=False,
        is_paused_upon_creation=False,
        dagrun_timeout=timedelta(hours=1),
        default_args={"owner": "bluegreen", "retries": 0},
        tags=["bluegreen"],
        user_defined_macros={"bluegreen_report": partial(report, requirements=tuple(requirements))},
    ) as dag:
        GateReport(task_id=TASK_ID, report="{{ bluegreen_report(dag_run, task) }}")
    return dag
