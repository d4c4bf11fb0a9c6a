"""The gate's listener, for what no policy is asked about, and the last of its routes.

Airflow's plugin manager loads this file.
"""

from __future__ import annotations

from typing import Any

import bluegreen_policy
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

bluegreen_policy.register("airflow_plugin")  # before what may fail

# here, not in the listener: if that fails, there is no listener, instead of one that fails in the scheduler
from bluegreen import clears  # noqa: E402


class ClearListener:
    """Called by the scheduler; also by the web server, with another `msg`, if a person sets a run's state."""

    # first, because other listeners report the run's start
    @hookimpl(tryfirst=True)  # type: ignore[untyped-decorator]
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:  # noqa: ARG002 - passed by name
        """A run starts, perhaps again."""
        clears.run_starts(dag_run)

    @hookimpl  # type: ignore[untyped-decorator]
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        """All tasks of a run are over."""
        if msg == "success":
            clears.run_ends(dag_run, succeeded=True)

    @hookimpl  # type: ignore[untyped-decorator]
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        """All tasks of a run are over, and some failed."""
        if msg == "task_failure":
            clears.run_ends(dag_run, succeeded=False)


class BlueGreenPlugin(AirflowPlugin):  # type: ignore[misc]
    """What Airflow lists as "bluegreen"."""

    name = "bluegreen"
    listeners = [ClearListener()]  # noqa: RUF012 - as Airflow's class declares it
