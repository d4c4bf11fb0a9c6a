"""Pushing one folder of DAGs to the buckets of all environments: all get the same files, or none does.

New contents are first stored beside the DAGs in every bucket, where Airflow does not look. If one bucket
refuses, nothing has changed. Then the changes are recorded (`mwaactl.dags.journal`), and from there on they
are made by copies inside each bucket: a push that ends in between is finished by the next, from any machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bluegreen.proof import WRITTEN_FILES
from bluegreen.timeline import Colour
from pydantic import Field

from mwaactl.aws import aws_errors
from mwaactl.dags import journal
from mwaactl.dags.changes import AT_ONCE, apply, clear, on_each, store_contents
from mwaactl.dags.folder import IGNORE_FILE, Folder, nothing_uploaded, read_folder
from mwaactl.dags.ignored import PatternError, Syntax, default_syntax, ignored
from mwaactl.dags.journal import Change, Lease, Push
from mwaactl.dags.stored import StoredFile, is_stored, stored_files
from mwaactl.dags.syntax import python_of, syntax_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.stack import Environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SYNTAX_OPTION = "core.dag_ignore_file_syntax"


class EnvironmentPush(Model):
    """What a push did (in a dry run: would do) in one environment; names are relative to its DAGs folder."""

    environment: str
    bucket: str
    uploaded: tuple[str, ...] = ()  # new and changed
    changed: tuple[str, ...] = ()  # of them, those of which the bucket had another content
    deleted: tuple[str, ...] = ()
    unchanged: int = 0
    left: tuple[str, ...] = ()  # in the bucket but not in the folder, and not deleted
    error: str | None = None  # why the environment could not be updated


class ParsedFiles(Model):
    """What one Airflow has shown of the pushed files."""

    environment: str
    by_source: tuple[str, ...] = ()  # it has parsed exactly this source
    by_time: tuple[str, ...] = ()  # it has parsed the file after it must have arrived
    without_dags: tuple[str, ...] = ()  # they look like DAG files, and no DAG of them has appeared
    pushed_at: Instant


class PushResult(Model):
    folder: str
    dry_run: bool
    environments: dict[Colour, EnvironmentPush]
    links_out: dict[str, str] = Field(
        default_factory=dict
    )  # links that lead out of the folder, which were followed
    left_apart: tuple[str, ...] = ()  # left, and not the same in all buckets
    finished: str | None = None  # the push that had died half way, and was finished first
    parsed: dict[Colour, ParsedFiles] | None = None  # with --wait: what each Airflow has shown
    not_pushed: tuple[str, ...] = ()  # requirements and plugins that an environment update has to bring
    unchecked: str | None = None  # why no Airflow has imported the files before they were pushed
    unfinished: str | None = None  # in a dry run: a push that has not ended

    @property
    def behind(self) -> tuple[str, ...]:
        return tuple(files.environment for files in self.environments.values() if files.error is not None)

    @property
    def changes(self) -> bool:
        return any(files.uploaded or files.deleted for files in self.environments.values())


def push_dags(
    deployment: Deployment, folder: Path | Folder, *, delete: bool = False, dry_run: bool = False
) -> PushResult:
    """Make every environment's DAGs folder the same as `folder`.

    `delete` also deletes what is not in `folder` (the bucket is versioned: it can be restored). Raises
    UsageError, CheckFailed for files that no push can take, Unreachable if an environment refuses the new
    contents, LostRace if another push is at work: nothing has changed then. If an environment refuses later
    on, its `error` says why, and the next push finishes this one.
    """
    read = folder if isinstance(folder, Folder) else read_folder(folder)
    judge(deployment, read)
    s3, log = deployment.clients.s3, deployment.stack.lineage_log_bucket
    sides = deployment.stack.airflow_environments
    if dry_run:
        pending = journal.unfinished_push(s3, log)
        plans = _plans(s3, sides, read, delete=delete)
        return _result(
            read, plans, unfinished=pending.described if pending is not None else None, dry_run=True
        )
    own = journal.new_push(str(read.path))
    with journal.holding(s3, log, own) as (lease, begun):
        if begun is not None:
            _finish(s3, lease, begun, sides.values())
            lease.record(own)
        plans = _plans(s3, sides, read, delete=delete)
        result = _result(read, plans, finished=begun.described if begun is not None else None)
        errors = _change(s3, lease, read, plans) if result.changes else {}
        if not errors:
            lease.record(own)  # before the contents go that `changes` needs
            clear(s3, sides.values())
            lease.release()
    return result.model_copy(
        update={
            "environments": {
                colour: files.model_copy(update={"error": errors.get(colour)})
                for colour, files in result.environments.items()
            }
        }
    )


def _change(
    s3: S3Client, lease: Lease, folder: Folder, plans: Mapping[Colour, _Plan]
) -> Mapping[Colour, str]:
    """Change every bucket or none; return why one refused after all. Raises Unreachable, LostRace."""
    push, changes = lease.push, {colour: plan.change for colour, plan in plans.items()}
    _, errors = on_each(changes, lambda change: store_contents(s3, lease, push.id, change, folder))
    if errors:
        raise _refused(errors)
    lease.record(push.model_copy(update={"changes": tuple(changes.values())}))
    return on_each(changes, lambda change: apply(s3, lease, push.id, change))[1]


def _finish(s3: S3Client, lease: Lease, push: Push, environments: Iterable[Environment]) -> None:
    """Make the changes of a push that died, in the buckets that there still are. Raises Unreachable."""
    buckets = {environment.bucket for environment in environments}
    changes = {change.bucket: change for change in push.changes or () if change.bucket in buckets}
    _, errors = on_each(changes, lambda change: apply(s3, lease, push.id, change, again=True))
    if errors:
        raise Unreachable(
            f"{push.described} died half way and cannot be finished: {'; '.join(errors.values())}. The sides "
            "have different DAGs until a push succeeds"
        )


# --- before ---


def judge(deployment: Deployment, folder: Folder) -> None:
    """Raise CheckFailed if the Python of a side cannot parse a file that Airflow would look at there."""
    contents = {name: file.content for name, file in folder.files.items()}
    by_python: dict[str, set[str]] = {}
    rules = any(PurePosixPath(name).name == IGNORE_FILE for name in contents)
    for environment in deployment.stack.airflow_environments.values():
        try:
            syntax = ignore_syntax(deployment, environment) if rules else None
            left_out = ignored(contents, environment.airflow_version, syntax)
        except PatternError as error:
            raise nothing_uploaded([f"{folder.path}/{error}"]) from error
        python = python_of(environment.airflow_version)
        judged = {name for name in contents if name.endswith(".py")} - left_out
        by_python.setdefault(python, set()).update(judged)
    problems = {
        f"{folder.path / name}:{why} (Python {python})"
        for python, names in by_python.items()
        for name, why in syntax_errors({name: contents[name] for name in sorted(names)}, python).items()
    }
    if problems:
        raise nothing_uploaded(sorted(problems))


def ignore_syntax(deployment: Deployment, environment: Environment) -> Syntax:
    """How an environment's Airflow reads `.airflowignore`. Raises Unreachable."""
    with aws_errors(f"read the options of {environment.name}"):
        found = deployment.clients.mwaa.get_environment(Name=environment.name)["Environment"]
    match found.get("AirflowConfigurationOptions", {}).get(SYNTAX_OPTION):
        case "regexp":
            return "regexp"
        case "glob":
            return "glob"
        case _:
            return default_syntax(environment.major)


class _Plan(Model):
    environment: str
    change: Change
    changed: tuple[str, ...]
    unchanged: int
    left: dict[str, StoredFile]


def _plans(
    s3: S3Client, sides: Mapping[Colour, Environment], folder: Folder, *, delete: bool
) -> dict[Colour, _Plan]:
    plans, errors = on_each(sides, lambda side: _plan(s3, side, folder, delete=delete))
    if errors:
        raise _refused(errors)
    return plans


def _plan(s3: S3Client, environment: Environment, folder: Folder, *, delete: bool) -> _Plan:
    bucket, prefix = environment.bucket, environment.dags_prefix
    with aws_errors(f"read s3://{bucket}/{prefix}"):
        present = stored_files(s3, environment)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            same = pool.map(
                lambda name: is_stored(s3, environment, name, folder.files[name], present.get(name)),
                folder.files,
            )
            items = zip(folder.files.items(), same, strict=True)
            new = {name: file.sha256 for (name, file), there in items if not there}
    surplus = {
        name: file
        for name, file in sorted(present.items())
        if name not in folder.files and name not in WRITTEN_FILES
    }
    return _Plan(
        environment=environment.name,
        change=Change(bucket=bucket, prefix=prefix, put=new, delete=tuple(surplus) if delete else ()),
        changed=tuple(name for name in new if name in present),
        unchanged=len(folder.files) - len(new),
        left={} if delete else surplus,
    )


def _result(
    folder: Folder,
    plans: Mapping[Colour, _Plan],
    *,
    finished: str | None = None,
    unfinished: str | None = None,
    dry_run: bool = False,
) -> PushResult:
    left = [frozenset(plan.left.items()) for plan in plans.values()]
    apart = frozenset().union(*left) - left[0].intersection(*left)
    return PushResult(
        folder=str(folder.path),
        dry_run=dry_run,
        links_out=dict(folder.links_out),
        left_apart=tuple(sorted({name for name, _ in apart})),
        finished=finished,
        unfinished=unfinished,
        environments={
            colour: EnvironmentPush(
                environment=plan.environment,
                bucket=plan.change.bucket,
                uploaded=tuple(plan.change.put),
                changed=plan.changed,
                deleted=plan.change.delete,
                unchanged=plan.unchanged,
                left=tuple(plan.left),
            )
            for colour, plan in plans.items()
        },
    )


def _refused(errors: Mapping[Colour, str]) -> Unreachable:
    return Unreachable(f"nothing was pushed, to no environment: {'; '.join(dict.fromkeys(errors.values()))}")
