"""The differences between Airflow's REST API v1 (Airflow 2) and v2 (Airflow 3): one module for each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from mwaactl.airflow import v1, v2
from mwaactl.airflow.models import Asset, Dag, Run


class Dialect(Protocol):
    """The paths, queries, bodies and answers of one version; `v1` and `v2` are modules of this shape."""

    HEALTH: str
    ASSETS: str  # the path of the listing, and its key in the answer
    QUEUED_EVENTS: str  # below a DAG
    CONDITION: str  # the field of a DAG's details with the assets that trigger it
    SHOWS_SOURCES: bool  # by DAG id, so that Amazon lets the path pass
    NOTE: str  # below a run
    CLEAR: Mapping[str, bool]
    NEWEST_RUNS: Mapping[str, str]  # the query for runs, newest first
    REMOVED_TOO: Mapping[str, str]  # lists also the DAGs whose file is gone
    SCHEDULED_ONLY: Mapping[str, str]  # limits it to scheduled runs; empty if the version cannot
    TASK_INSTANCES: Mapping[str, str]
    TASK_INSTANCES_PAGE: int
    TASK_STATE: Mapping[str, bool]  # what a call that sets a task's state contains besides the state
    DOWNSTREAM: Mapping[str, bool]  # makes it also set all tasks downstream; empty if the version cannot

    def dag(self, answer: Mapping[str, Any]) -> Dag: ...

    def asset(self, answer: Mapping[str, Any]) -> Asset: ...

    def queued_asset(self, event: Mapping[str, Any]) -> str: ...

    def runs_due(self, since: datetime, until: datetime, /) -> dict[str, str]:
        """The filters and the order of a listing that contains all runs due in [since, until)."""

    def created_until(self, until: datetime, /) -> dict[str, str]:
        """The filters of a listing that contains all runs that could begin, and were due, before `until`."""

    def late_runs_due(self, since: datetime, /) -> dict[str, str]:
        """The filters of a listing that contains all runs due since then of DAGs whose runs are created later
        than they are due; empty if the listing of `runs_due` has them."""

    def ends_runs_due(self, answer: Mapping[str, Any], since: datetime, /) -> bool:
        """Whether this run of that listing and all after it are due before `since`."""

    def logical_date_of(self, run: Run, /) -> dict[str, str | None]:
        """The field that gives a new run the logical date of `run`."""

    def runs_like(self, run: Run, /) -> dict[str, str] | None:
        """The filters of a listing of the runs for the same instant as `run`; None if it has none."""

    def due_of(self, run: Run, /) -> dict[str, str]:
        """The field that gives a new run the due instant of `run`."""


def dialect(major: int) -> Dialect:
    """The dialect of Airflow `major`."""
    if major < 3:
        return v1
    return v2
