"""The second look: what can only be asked when both sides were seen, and the ownership is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bluegreen.timeline import REMEMBERED, Colour, Timeline, from_the_beginning, other_colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run, Task
from mwaactl.airflow.notes import has_copied_states
from mwaactl.aws import aws_errors
from mwaactl.checks.fenced import is_fenced
from mwaactl.checks.observation import Observation
from mwaactl.checks.outcome import NO_OTHER, Evidence, FileComparison, GateProof, Tie
from mwaactl.dag_files import DIGEST
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.ownership.reading import newest_owner
from mwaactl.stack import Environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The states of a task instance that somebody worked on.
WORKED_ON = (
    "running",
    "success",
    "failed",
    "restarting",
    "up_for_retry",
    "up_for_reschedule",
    "deferred",
)
NAMES = {
    "external_dag_id": "waits for",
    "trigger_dag_id": "triggers",
}  # template fields that name another DAG
RECENT = 5  # runs of a DAG that are searched for such names
IGNORED = ("__pycache__/", ".pyc")


def gather(
    deployment: Deployment,
    seen: Mapping[Colour, Observation],
    apis: Mapping[Colour, AirflowApi],
    target: Colour,
    timeline: Timeline | None,
    dags: Collection[str],
    *,
    thorough: bool,
) -> Evidence:
    """Ask what the checks need beside the observations; what is not answered has its reason.

    `thorough` also asks what takes a call per DAG: waiting events, and with `dags` the ties between DAGs.
    """
    source: Colour = other_colour(target)
    if source not in seen:
        return Evidence(not_checked=dict.fromkeys(("files", "gate", "fenced", "waiting", "split"), NO_OTHER))
    clients = deployment.clients
    ours, theirs = deployment.stack.require(target), deployment.stack.require(source)
    questions: dict[str, Callable[[], Any]] = {
        "files": lambda: differing(clients.s3, ours, theirs),
        "gate": lambda: _gate(apis[target], seen[target], timeline),
        "fenced": lambda: is_fenced(clients, ours),
    }
    not_checked = {}
    if thorough:
        questions["waiting"] = lambda: _waiting(apis[source], seen[source], dags)
        if dags:
            questions["split"] = lambda: _split(apis[source], seen[source], timeline, target, dags)
    else:
        not_checked["waiting"] = "it takes a call per DAG and is asked before a switch only"
    _ = clients.s3, clients.iam  # made here: boto3 sessions are not for several threads
    found: dict[str, Any] = {}
    with ThreadPoolExecutor(max_workers=len(questions), thread_name_prefix="evidence") as pool:
        asked = {field: pool.submit(question) for field, question in questions.items()}
        for field, answer in asked.items():
            try:
                found[field] = answer.result()
            except Unreachable as error:
                not_checked[field] = str(error)
    return Evidence(**found, not_checked=not_checked)


# --- files ---


def differing(s3: S3Client, target: Environment, source: Environment) -> FileComparison:
    """Compare the DAG files of both buckets by content, however they were uploaded. Raises Unreachable."""
    with aws_errors(f"compare the DAG files in {target.bucket} and {source.bucket}"):
        ours, theirs = _listing(s3, target), _listing(s3, source)
        both = ours.keys() & theirs.keys()
        different = {name for name in both if ours[name][1] != theirs[name][1]}
        # An ETag is no digest of the content where a file came in parts or the bucket uses KMS.
        doubtful = sorted(name for name in both - different if ours[name][0] != theirs[name][0])
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="files") as pool:
            digests = [
                [pool.submit(_digest, s3, side.bucket, side.dags_prefix + name) for name in doubtful]
                for side in (target, source)
            ]
            for name, one, other in zip(doubtful, *digests, strict=True):
                if one.result() != other.result():
                    different.add(name)
    return FileComparison(
        only_target=tuple(sorted(ours.keys() - both)),
        only_source=tuple(sorted(theirs.keys() - both)),
        different=tuple(sorted(different)),
        same=len(both) - len(different),
    )


def _listing(s3: S3Client, environment: Environment) -> dict[str, tuple[str, int]]:
    """Name -> (ETag, size) of the files below the environment's DAGs folder."""
    prefix = environment.dags_prefix
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=environment.bucket, Prefix=prefix)
    return {
        found["Key"].removeprefix(prefix): (found["ETag"], found["Size"])
        for page in pages
        for found in page.get("Contents", [])
        if not found["Key"].endswith("/") and not any(part in found["Key"] for part in IGNORED)
    }


def _digest(s3: S3Client, bucket: str, key: str) -> str:
    """SHA-256 of an object: as `mwaactl dags push` noted it, else of what is in it."""
    found = s3.get_object(Bucket=bucket, Key=key)
    body = found["Body"]
    noted = found["Metadata"].get(DIGEST)
    try:
        return noted or hashlib.sha256(body.read()).hexdigest()
    finally:
        body.close()


# --- the gate ---


def _gate(api: AirflowApi, target: Observation, timeline: Timeline | None) -> GateProof:
    if timeline is None:
        raise Unreachable("the ownership timeline could not be read: whose runs they were is not known")
    if target.last_scheduled is None:
        raise Unreachable(target.not_checked["last_scheduled"])
    runs = {run.key: run for run in target.last_scheduled if _not_owned(run, target.colour, timeline)}
    worked_on = api.task_instances(runs.values(), WORKED_ON) if runs else {}
    executed = [
        key
        for key, tasks in worked_on.items()
        if any(
            one.worked
            # A run that was cleared while the target owned was rightly executed again.
            and (one.start is None or timeline.owner(one.start, one.dag_id) != target.colour)
            for one in tasks
        )
    ]
    skipped = sum(run.finished for key, run in runs.items() if key not in executed)
    return GateProof(skipped=skipped, executed=tuple(sorted(executed)))


def _not_owned(run: Run, colour: Colour, timeline: Timeline) -> bool:
    """Whether the other side owned the run, as far back as the timeline surely remembers."""
    newest = max(entry.since for line in (timeline.owners, *timeline.dags.values()) for entry in line)
    if run.due is None or (not from_the_beginning(newest) and run.due < newest - REMEMBERED):
        return False
    if has_copied_states(run):  # a mirror that was made true
        return False
    return timeline.owner(run.due, run.dag_id) != colour


# --- what ties DAGs together ---


def _waiting(api: AirflowApi, source: Observation, dags: Collection[str]) -> dict[str, tuple[str, ...]]:
    concerned = [
        dag.dag_id
        for dag in _dags(source).values()
        if dag.by_assets and not dag.paused and (not dags or dag.dag_id in dags)
    ]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="assets") as pool:
        found = dict(zip(concerned, pool.map(api.queued_asset_events, concerned), strict=True))
    waiting = {dag_id: assets for dag_id, assets in found.items() if assets}
    uris = {str(asset.id): asset.uri for asset in api.assets()} if waiting else {}
    return {dag_id: tuple(uris.get(one, one) for one in assets) for dag_id, assets in waiting.items()}


def _split(
    api: AirflowApi, source: Observation, timeline: Timeline | None, target: Colour, moving: Collection[str]
) -> tuple[Tie, ...]:
    """The ties between DAGs that would then be executed on different sides, and those that lead who knows
    where from a DAG that moves."""
    if timeline is None:
        raise Unreachable("the ownership timeline could not be read: who would own what is not known")
    known = _dags(source)
    owners = {
        dag_id: target if dag_id in moving else newest_owner(timeline, dag_id) for dag_id in (*known, *moving)
    }
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="ties") as pool:
        assets = pool.submit(api.assets)
        tasks = dict(zip(known, pool.map(api.tasks, known), strict=True))
        naming = {dag_id: named for dag_id, all_tasks in tasks.items() if (named := _naming(all_tasks))}
        found = list(pool.map(lambda item: _named(api, *item), naming.items()))
        ties = {tie for several in found for tie in several}
        ties |= {
            Tie(dag_id=consumer, other=producer, how=f"is triggered by {asset.uri} of")
            for asset in assets.result()
            for consumer in asset.consumers
            for producer in asset.producers
        }
    return tuple(
        sorted(
            (
                tie
                for tie in ties
                if (tie.other is None and tie.dag_id in moving)
                or (tie.other in owners and owners[tie.other] != owners.get(tie.dag_id, target))
            ),
            key=lambda tie: (tie.dag_id, tie.other or "", tie.how),
        )
    )


def _naming(tasks: Collection[Task]) -> dict[str, str]:
    """Task id -> the template field in which it names another DAG."""
    return {task.task_id: field for task in tasks for field in NAMES if field in task.template_fields}


def _named(api: AirflowApi, dag_id: str, naming: Mapping[str, str]) -> set[Tie]:
    """The DAGs that these tasks of a DAG named in its recent runs."""
    rendered: dict[str, set[str]] = {task_id: set() for task_id in naming}
    recent = api.newest_runs(dag_id, RECENT, of_any_type=True)
    for instances in api.task_instances(recent).values() if recent else ():
        for one in instances:
            name = one.rendered.get(naming.get(one.task_id, ""))
            if isinstance(name, str) and name:
                rendered[one.task_id].add(name)
    return {
        Tie(dag_id=dag_id, other=name, how=NAMES[naming[task_id]])
        for task_id, names in rendered.items()
        for name in names or (None,)
        if name != dag_id
    }


def _dags(source: Observation) -> dict[str, Dag]:
    if source.dags is None:
        raise Unreachable(source.not_checked["dags"])
    return source.dags
