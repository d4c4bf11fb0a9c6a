"""The evidence for the checks: what takes further calls, once both sides and the ownership are known."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bluegreen.proof import PERIODS, PROBE, WRITTEN_FILES
from bluegreen.timeline import Colour, Timeline, other_colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, Run, Task
from mwaactl.airflow.notes import has_copied_states
from mwaactl.aws import aws_errors
from mwaactl.checks import plugins
from mwaactl.checks.fenced import is_fenced
from mwaactl.checks.observation import Observation, ask
from mwaactl.checks.outcome import NO_OTHER, Dependency, Evidence, FileComparison, GateProof
from mwaactl.checks.probe import SideProof, proof_of
from mwaactl.checks.ungated import ungated_executions
from mwaactl.checks.waiting_assets import unmet_conditions
from mwaactl.dags.journal import unfinished_push
from mwaactl.dags.stored import DIGEST, StoredFile, stored_files
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable, Unusable
from mwaactl.ownership.reading import newest_owner
from mwaactl.stack import Environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The states of a task instance that a process worked on.
WORKED_ON = ("running", "success", "failed", "restarting", "up_for_retry", "up_for_reschedule", "deferred")
# Template fields that name another DAG.
DAG_FIELDS = {"external_dag_id": "waits for", "trigger_dag_id": "triggers"}
RECENT = 5  # runs of a DAG that are searched for such names
AT_ONCE = 8  # concurrent calls of one kind
IGNORED = ("__pycache__/", ".pyc")


def gather(
    deployment: Deployment,
    observations: Mapping[Colour, Observation],
    target: Colour,
    timeline: Timeline | None,
    dags: Collection[str],
    *,
    now: Callable[[], datetime],
    thorough: bool,
    gated_since: datetime | None = None,
) -> Evidence:
    """Collect what the checks need besides the observations; `not_checked` has a reason for each gap.

    `now` returns AWS's time. `thorough` includes what takes a call per DAG: waiting events, and with `dags`
    the dependencies. `gated_since`: nothing ungated was executed since then, as far as that is known.
    """
    questions = {"gate": lambda: _gate(deployment, observations, target, timeline, now(), gated_since)}
    if other_colour(target) not in observations:
        answers, not_checked = _answers(questions)
        fields = Evidence.model_fields.keys() - {"not_checked"}
        return Evidence(**answers, not_checked=dict.fromkeys(fields, NO_OTHER) | not_checked)
    questions |= _questions(deployment, observations, target)
    if thorough:
        questions |= _questions_by_dag(deployment, observations, target, timeline, dags)
    clients = deployment.clients
    _ = clients.s3, clients.iam  # created here: boto3 sessions are not thread-safe
    answers, not_checked = _answers(questions)
    if not thorough:
        reason = "this takes a call per DAG, so only a switch checks it"
        not_checked |= dict.fromkeys(("waiting_assets", "left_assets"), reason)
    return Evidence(**answers, not_checked=not_checked)


def _answers(questions: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    with ThreadPoolExecutor(max_workers=len(questions), thread_name_prefix="evidence") as pool:
        return ask(questions, pool)


def _questions(
    deployment: Deployment,
    observations: Mapping[Colour, Observation],
    target: Colour,
) -> dict[str, Callable[[], Any]]:
    clients, stack = deployment.clients, deployment.stack
    environment, source = stack.require(target), stack.require(other_colour(target))
    on_target, on_source = observations[target], observations[other_colour(target)]
    return {
        "files": lambda: _files(deployment, environment, source),
        "fenced": lambda: is_fenced(clients, environment),
        "plugins": lambda: plugins.compare(clients.s3, (environment, on_target), (source, on_source)),
        "cleared_runs": lambda: _cleared_runs(deployment.airflow(other_colour(target)), on_source),
    }


def _questions_by_dag(
    deployment: Deployment,
    observations: Mapping[Colour, Observation],
    target: Colour,
    timeline: Timeline | None,
    dags: Collection[str],
) -> dict[str, Callable[[], Any]]:
    api, source = deployment.airflow(other_colour(target)), observations[other_colour(target)]
    target_api, on_target = deployment.airflow(target), observations[target]
    questions: dict[str, Callable[[], Any]] = {
        "waiting_assets": lambda: unmet_conditions(
            api, _moving(source, timeline, target, dags), _at_work(source, timeline)
        ),
        "left_assets": lambda: unmet_conditions(target_api, _moving(on_target, timeline, target, dags)),
    }
    if dags:
        questions["cut_dependencies"] = lambda: _cut_dependencies(api, source, timeline, target, dags)
    return questions


# --- files ---


def _files(deployment: Deployment, target: Environment, source: Environment) -> FileComparison:
    """The comparison of the buckets, and the push that has not ended."""
    s3 = deployment.clients.s3
    try:
        push = unfinished_push(s3, deployment.stack.lineage_log_bucket)
    except Unusable as error:
        raise Unreachable(str(error)) from error
    files = compare_files(s3, target, source)
    return files.model_copy(update={"unfinished": push.described}) if push is not None else files


def compare_files(s3: S3Client, target: Environment, source: Environment) -> FileComparison:
    """Compare the DAG files of both buckets by content, however they were uploaded. Raises Unreachable."""
    with aws_errors(f"compare the DAG files in {target.bucket} and {source.bucket}"):
        on_target, on_source = _listing(s3, target), _listing(s3, source)
        both = on_target.keys() & on_source.keys()
        different = {name for name in both if on_target[name].size != on_source[name].size}
        # An ETag is not a digest of the content after a multipart upload or if the bucket uses KMS.
        doubtful = sorted(name for name in both - different if on_target[name].etag != on_source[name].etag)
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="files") as pool:
            digests = [
                [pool.submit(_digest, s3, side.bucket, side.dags_prefix + name) for name in doubtful]
                for side in (target, source)
            ]
            for name, target_digest, source_digest in zip(doubtful, *digests, strict=True):
                if target_digest.result() != source_digest.result():
                    different.add(name)
    return FileComparison(
        only_target=tuple(sorted(on_target.keys() - both)),
        only_source=tuple(sorted(on_source.keys() - both)),
        different=tuple(sorted(different)),
        same=len(both) - len(different),
    )


def _listing(s3: S3Client, environment: Environment) -> dict[str, StoredFile]:
    """The files that count: not what Python leaves beside them, nor what `pulumi up` writes for each side."""
    return {
        name: file
        for name, file in stored_files(s3, environment).items()
        if name not in WRITTEN_FILES and not any(part in name for part in IGNORED)
    }


def _digest(s3: S3Client, bucket: str, key: str) -> str:
    """SHA-256 of an object: as `mwaactl dags push` recorded it, else of its content."""
    answer = s3.get_object(Bucket=bucket, Key=key)
    body = answer["Body"]
    recorded = answer["Metadata"].get(DIGEST)
    try:
        return recorded or hashlib.sha256(body.read()).hexdigest()
    finally:
        body.close()


# --- the gate ---


def _gate(
    deployment: Deployment,
    observations: Mapping[Colour, Observation],
    colour: Colour,
    timeline: Timeline | None,
    now: datetime,
    gated_since: datetime | None,
) -> GateProof:
    if timeline is None:
        raise Unreachable("the ownership timeline cannot be read, so the owners of these runs are unknown")
    stack = deployment.stack
    sides = {
        side.colour: proof_by_probe(side, timeline, now, stack.probe_period) for side in observations.values()
    }
    skipped, executed = _by_runs(deployment.airflow(colour), observations[colour], timeline)
    proof = GateProof(skipped=skipped, executed=executed, sides=sides)
    if stack.lineage == "none":
        return proof.model_copy(update={"by_probes_only": stack.lacks})
    since = now - PERIODS * stack.probe_period
    if gated_since is not None and gated_since <= since:
        return proof
    try:
        ungated = ungated_executions(deployment, since)
    except Unreachable as error:
        return proof.model_copy(update={"unknown": str(error)})
    return proof.model_copy(update={"ungated": ungated})


def proof_by_probe(side: Observation, timeline: Timeline, now: datetime, period: timedelta) -> SideProof:
    """What the probe of an observed side proves of its gate."""
    if side.probe is None:
        return SideProof(missing=side.not_checked["probe"])
    if PROBE in (side.paused or ()):
        return SideProof(missing=f"the DAG {PROBE} is paused there: unpause it")
    return proof_of(side.colour, side.probe, timeline, now, period)


def _by_runs(
    api: AirflowApi, target: Observation, timeline: Timeline
) -> tuple[int, tuple[tuple[str, datetime], ...]]:
    """How many of the newest scheduled runs that others owned were skipped, and which ones were executed."""
    if target.last_scheduled is None:
        return 0, ()
    runs = {run.key: run for run in target.last_scheduled if _not_owned(run, target.colour, timeline)}
    worked_on = api.task_instances(runs.values(), WORKED_ON) if runs else {}
    executed = [
        key
        for key, tasks in worked_on.items()
        if any(
            task.worked
            # A run that was cleared while the target owned the work was executed again correctly.
            and (task.start is None or timeline.owner(task.start, task.dag_id) != target.colour)
            for task in tasks
        )
    ]
    skipped = sum(run.finished for key, run in runs.items() if key not in executed)
    named = ((run.dag_id, run.due) for run in map(runs.__getitem__, executed) if run.due is not None)
    return skipped, tuple(sorted(named))


def _not_owned(run: Run, colour: Colour, timeline: Timeline) -> bool:
    """Whether another environment certainly owned the run; the timeline goes back only so far."""
    if run.due is None or has_copied_states(run):  # a mirror that received the other side's states
        return False
    entry = timeline.claim(run.due, run.dag_id).entry
    return entry is not None and not (entry.owner == colour and timeline.lives_on(entry))


# --- what waits on the source ---


def _moving(side: Observation, timeline: Timeline | None, target: Colour, dags: Collection[str]) -> list[Dag]:
    """The DAGs of one side that the switch concerns."""
    return [
        dag
        for dag in _dags(side).values()
        if not dags or dag.dag_id in dags
        if timeline is None or newest_owner(timeline, dag.dag_id) != target
    ]


def _at_work(source: Observation, timeline: Timeline | None) -> set[str]:
    """The DAGs with an unfinished run that the source executes."""
    return {
        run.dag_id
        for run in source.in_flight or ()
        if run.type != "scheduled"
        or run.due is None
        or timeline is None
        or timeline.owner(run.due, run.dag_id) == source.colour
    }


def _cleared_runs(api: AirflowApi, source: Observation) -> dict[str, int]:
    """The number of queued scheduled runs that have been at work before, by DAG: they were cleared."""
    if source.in_flight is None:
        raise Unreachable(source.not_checked["in_flight"])
    queued = [run for run in source.in_flight if run.state == "queued" and run.type == "scheduled"]
    return dict(Counter(dag_id for dag_id, _ in api.begun(queued)))


# --- what DAGs depend on ---


def _cut_dependencies(
    api: AirflowApi, source: Observation, timeline: Timeline | None, target: Colour, moving: Collection[str]
) -> tuple[Dependency, ...]:
    """The dependencies between DAGs that the switch would put on different sides, and those of a moving DAG
    whose other end is unknown."""
    if timeline is None:
        raise Unreachable("the ownership timeline cannot be read, so the future owners are unknown")
    known = _dags(source)
    owners = {
        dag_id: target if dag_id in moving else newest_owner(timeline, dag_id) for dag_id in (*known, *moving)
    }

    def is_cut(dependency: Dependency) -> bool:
        if dependency.other is None:
            return dependency.dag_id in moving
        return dependency.other in owners and owners[dependency.other] != owners.get(
            dependency.dag_id, target
        )

    return tuple(
        sorted(
            filter(is_cut, dependencies(api, known)),
            key=lambda dependency: (dependency.dag_id, dependency.other or "", dependency.relation),
        )
    )


def dependencies(api: AirflowApi, dag_ids: Collection[str]) -> set[Dependency]:
    """The dependencies that template fields and assets declare. Raises Unreachable."""
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="dependencies") as pool:
        assets = pool.submit(api.assets)
        tasks = dict(zip(dag_ids, pool.map(api.tasks, dag_ids), strict=True))
        across = {dag_id: fields for dag_id, all_tasks in tasks.items() if (fields := naming(all_tasks))}
        by_name = list(pool.map(lambda item: named_dependencies(api, *item), across.items()))
        by_asset = {
            Dependency(dag_id=consumer, other=producer, relation=f"is triggered by {asset.uri} from")
            for asset in assets.result()
            for consumer in asset.consumers
            for producer in asset.producers
        }
    return by_asset.union(*by_name)


def naming(tasks: Collection[Task]) -> dict[str, str]:
    """Task id -> the template field in which it names another DAG."""
    return {task.task_id: field for task in tasks for field in DAG_FIELDS if field in task.template_fields}


def named_dependencies(api: AirflowApi, dag_id: str, fields: Mapping[str, str]) -> set[Dependency]:
    """The dependencies on the DAGs that these tasks (`naming`) named in the recent runs of `dag_id`."""
    rendered: dict[str, set[str]] = {task_id: set() for task_id in fields}
    recent = api.newest_runs(dag_id, RECENT, of_any_type=True)
    for instances in api.task_instances(recent).values() if recent else ():
        for instance in instances:
            name = instance.rendered.get(fields.get(instance.task_id, ""))
            if isinstance(name, str) and name:
                rendered[instance.task_id].add(name)
    return {
        Dependency(dag_id=dag_id, other=name, relation=DAG_FIELDS[fields[task_id]])
        for task_id, names in rendered.items()
        for name in names or (None,)
        if name != dag_id
    }


def _dags(source: Observation) -> dict[str, Dag]:
    if source.dags is None:
        raise Unreachable(source.not_checked["dags"])
    return source.dags
