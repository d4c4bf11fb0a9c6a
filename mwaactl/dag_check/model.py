"""What a check of DAGs finds."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mwaactl.dags.masked import Masked
from mwaactl.json_model import Instant, Model


class Installed(Model):
    """An Airflow on this machine with requirements on top of its image's packages."""

    version: str
    python: Path | None  # runs it; None: it is not there
    problem: Masked | None = None  # why the requirements cannot be installed
    changes: tuple[Masked, ...] = ()  # to the image's packages: "+ pandas==2.3.3", "- x==1"


class Packaged(Model):
    """The wheels that were fetched, by their files' names; none if there is a problem."""

    version: str
    wheels: tuple[str, ...] = ()
    problem: Masked | None = None


class WheelFile(Model):
    name: str
    size: int  # bytes


class Package(Model):
    """A folder of wheels."""

    airflow_version: str
    python: str  # of Amazon's image
    folder: str  # from the project's folder, as settings have it, or the whole path
    side: str | None  # that it is for; None: for all
    wheels: tuple[WheelFile, ...]


class RequirementsCheck(Model):
    versions: tuple[Installed, ...]


class ImportFailure(Model):
    """A file that Airflow cannot import."""

    file: str
    message: str  # the last line of the traceback
    traceback: str
    # It asked for a variable or connection, of which there is none here: no verdict
    unknown: bool = False


class TaskFacts(Model):
    task_id: str
    operator: str
    template_fields: tuple[str, ...]
    names: str | None  # the DAG that it waits for or triggers
    depends_on_past: bool | None
    wait_for_downstream: bool | None
    pool: str | None
    pool_slots: int | None


class DagFacts(Model):
    """A DAG as one Airflow defines it from the folder."""

    file: str
    schedule: str | None
    timetable: str  # the class
    due: tuple[str, ...]  # the next instants, counted from the check's
    catchup: bool
    max_active_runs: int | None
    max_active_tasks: int | None
    watchers: tuple[str, ...]  # of the assets that trigger it
    tasks: tuple[TaskFacts, ...]


class VersionCheck(Model):
    """What one version of Airflow makes of the folder."""

    airflow_version: str
    python: str
    import_errors: tuple[ImportFailure, ...] = ()
    dags: dict[str, DagFacts] = Field(default_factory=dict)

    @property
    def broken(self) -> tuple[ImportFailure, ...]:
        return tuple(error for error in self.import_errors if not error.unknown)


class Change(Model):
    """What differs between two versions, of one DAG."""

    dag_id: str
    what: str


class Finding(Model):
    """What Ruff says of a line."""

    file: str
    line: int
    rule: str
    message: str


class CheckResult(Model):
    folder: str
    since: Instant  # due instants are counted from here
    versions: tuple[VersionCheck, ...]
    changes: tuple[Change, ...] = ()  # from the first version to the last
    special: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # by DAG id, in the last version
    findings: tuple[Finding, ...] = ()  # about the next major version
