"""The gate's listener, for what no policy is asked about. Airflow's plugin manager loads this file."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

# here, not in the listener: if that fails, there is no listener, instead of one that fails in the scheduler
from bluegreen import policies


class ClearListener:
    """Runs in the scheduler."""

    @hookimpl  # type: ignore[untyped-decorator]
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:  # noqa: ARG002 - Airflow passes it by name
        """A cleared run that waited while the work was switched keeps the time of its clear."""
        policies.keep_time_of_clear(dag_run)


class BlueGreenPlugin(AirflowPlugin):  # type: ignore[misc]
    """What Airflow lists as "bluegreen"."""

    name = "bluegreen"
    listeners = [ClearListener()]  # noqa: RUF012 - as Airflow's class declares it
