"""The gate as Airflow cluster policies: three layers, each a safety net for the previous one.

1. `task_instance_mutation_hook`, in the scheduler: the task instances of a scheduled run that is not ours
   are created as skipped, so no process starts for them.
2. `dag_policy` wraps `dag.get_template_env`, which every task process calls before it renders templates and
   notifies listeners: for a run that is not ours nothing is rendered and no lineage is emitted.
3. `task_policy` sets a pre_execute hook, right before the work.

Callbacks of runs that this environment only mirrors are silenced. A run that is not ours is skipped, unless
a person cleared it here: then its tasks fail and say where to clear it. Without a verdict, the task waits in
its process, then fails. The scheduler never waits. Watchers of assets are gated as well (`watchers.py`).
"""

from __future__ import annotations

import functools
import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from bluegreen import proof, settings, store
from bluegreen.gate import CREATED_HERE, Gate, Run, Verdict, describe
from bluegreen.proof import Proof

log = logging.getLogger("bluegreen")

CALLBACK_WAIT = 5.0  # seconds: callbacks of DAGs run in the DAG processor, one after the other

# Airflow's own objects are deliberately untyped here: they differ between versions, and importing them for
# their types would slow down every process.
Context = dict[str, Any]


# --- in the task's process ---

# Of this process's task: a deferred or retried task is a new process. A proof without a verdict: there was
# none in time, so the task fails.
_Key = tuple[Any, ...]
_verdicts: dict[_Key, Verdict] = {}
_proofs: dict[_Key, Proof] = {}
_hooked: set[str] = set()  # the ids of the tasks that layer 3 is to judge in this process


def _verdict(context: Context, wait: float | None = None, layer: str | None = None) -> Verdict:
    """Judge the context's run once per process, waiting `wait` seconds (default: the settings').

    Raises AirflowException if there is no verdict in time.
    """
    dag_run, ti = context["dag_run"], context["ti"]
    key = (dag_run.dag_id, dag_run.run_id, ti.task_id, ti.map_index, ti.try_number)
    if key in _proofs:
        layer = _proofs[key].layer or layer  # the first that judged; a callback is none
    if key not in _verdicts:
        started = time.perf_counter()
        chosen = None
        try:
            chosen = settings.load()
            patience = chosen.wait.total_seconds() if wait is None else wait
            source = store.store(chosen)
            before = source.fetches
            run = describe(dag_run, context)
            verdict = Gate(chosen, source).verdict(run, wait=patience, retried=(ti.try_number or 1) > 1)
        except Exception as error:  # whatever went wrong: without a verdict nothing may run
            from airflow.exceptions import AirflowException

            _proofs[key] = _proof(chosen, layer, None, f"no verdict: {error}")
            raise AirflowException(
                f"blue/green gate: no verdict on {dag_run.run_id} of {dag_run.dag_id}, so this task neither "
                f"runs nor is skipped: {error}. A retry reads again; to check the parameter: mwaactl status"
            ) from error
        took = (time.perf_counter() - started) * 1000
        reading = "read from SSM" if source.fetches > before else "from the cache"
        version = None if run.made_here or run.kind in CREATED_HERE else source.version
        _verdicts[key] = verdict
        _proofs[key] = _proof(chosen, layer, version, verdict.reason)
        log.info("blue/green gate: %s; %.1f ms, %s; %s", verdict.reason, took, reading, _proofs[key])
    elif key in _proofs:  # a callback may have asked before
        _proofs[key] = _proofs[key]._replace(layer=layer)
    return _verdicts[key]


def _proof(chosen: settings.Settings | None, layer: str | None, version: int | None, reason: str) -> Proof:
    here, life = (chosen.environment, chosen.life) if chosen else ("", "")
    live: tuple[str, ...] = ()
    with suppress(Exception):  # a report must not fail the task
        live = proof.live_routes()
    return Proof(layer, live, here, life, version, reason)


def known_verdict(dag_id: str, run_id: str) -> Verdict | None:
    """The gate's verdict on a run in this process; None if no task of it runs here."""
    return next((verdict for key, verdict in _verdicts.items() if key[:2] == (dag_id, run_id)), None)


def known_proof(dag_id: str, run_id: str) -> Proof | None:
    """How the gate judged the task of a run that this process executes; None if no layer of it has."""
    proofs = (proof for key, proof in _proofs.items() if key[:2] == (dag_id, run_id))
    return next((proof for proof in proofs if proof.layer is not None), None)


def is_hooked(task_id: str) -> bool:
    """Whether layer 3 judges a task of this process, at the latest right before its work."""
    return task_id in _hooked


def _check(context: Context, layer: str) -> None:
    """Return if the run is ours.

    Raises AirflowSkipException if not, AirflowFailException (no retries) if a person cleared it here
    nevertheless, and AirflowException without a verdict.
    """
    verdict = _verdict(context, layer=layer)
    if verdict.mine:
        return
    try:
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
    except ImportError:  # before Airflow 3.2
        from airflow.exceptions import AirflowFailException, AirflowSkipException
    end = AirflowFailException if verdict.refused else AirflowSkipException
    raise end(f"blue/green gate: {verdict.reason}")


def _current_context() -> Context | None:
    """The context of the task that this process runs; None while a DAG is parsed or shown."""
    try:
        from airflow.sdk import get_current_context
    except ImportError:  # Airflow 2
        from airflow.operators.python import get_current_context
    try:
        context: Context = get_current_context()
    except Exception:  # noqa: BLE001 - each version raises another type, all meaning "not in a task"
        return None
    return context if "dag_run" in context and "ti" in context else None


def _gate_template_env(dag: Any) -> None:
    """Install layer 2."""
    original = dag.get_template_env
    if hasattr(original, "bluegreen"):
        return

    @functools.wraps(original)
    def get_template_env(*args: Any, **kwargs: Any) -> Any:
        context = _current_context()
        if context is not None and not hasattr(get_template_env, "raised"):
            try:
                _check(context, "dag_policy")
            except BaseException:
                # raising once ends the task; its callbacks and mails may still render templates
                get_template_env.raised = True  # type: ignore[attr-defined]
                raise
        return original(*args, **kwargs)

    get_template_env.bluegreen = True  # type: ignore[attr-defined]
    dag.get_template_env = get_template_env


# Airflow writes the source of this hook into the serialized DAG: a change here gives every DAG a new version.
def _gated(previous: Callable[[Context], Any] | None) -> Callable[[Context], Any]:
    def bluegreen_pre_execute(context: Context) -> Any:
        _check(context, "task_policy")
        return previous(context) if previous else None

    bluegreen_pre_execute.bluegreen = True  # type: ignore[attr-defined]
    return bluegreen_pre_execute


def _gate_pre_execute(task: Any) -> None:
    """Install layer 3."""
    _hooked.add(task.task_id)
    mapped = getattr(task, "partial_kwargs", None)
    previous = task._pre_execute_hook if mapped is None else mapped.get("pre_execute")
    if hasattr(previous, "bluegreen"):
        return
    if mapped is None:
        task._pre_execute_hook = _gated(previous)
    else:
        mapped["pre_execute"] = _gated(previous)


# --- watchers of assets (Airflow 3) ---


def _gate_watchers(dag: Any) -> None:
    """Let the triggerer watch the DAG's assets only while this environment owns the work."""
    for asset in _assets(dag):
        for watcher in getattr(asset, "watchers", ()):
            from bluegreen import watchers  # late: few DAGs have any, and it imports Airflow's triggers

            watchers.gate(watcher)


def _assets(dag: Any) -> Iterator[Any]:
    """The assets that a DAG names, among other objects."""
    parts = [getattr(getattr(dag, "timetable", None), "asset_condition", None)]
    while parts:
        part = parts.pop()
        yield part
        parts.extend(getattr(part, "objects", ()))  # of `A & (B | C)`
    for task in getattr(dag, "tasks", ()):
        yield from (*(getattr(task, "inlets", None) or ()), *(getattr(task, "outlets", None) or ()))


# --- callbacks ---


def _verdict_of_callback(context: Context) -> Verdict:
    """The verdict on a callback's run. Raises whatever keeps it from being known."""
    if "dag_run" in context and "ti" in context:
        return _verdict(context, CALLBACK_WAIT)
    chosen = settings.load()
    gate = Gate(chosen, store.store(chosen))
    dag_run = _dag_run_of_request(context["run_id"])
    if dag_run is not None:
        return gate.verdict(describe(dag_run), wait=CALLBACK_WAIT)
    # no Airflow that we know gets here; the type of run is unknown, so what is due now decides: the standby
    # reports nothing about a run that may be the other environment's
    log.warning("blue/green gate: callback of %s, a run that Airflow does not describe", context["run_id"])
    return gate.verdict(Run(context["dag"].dag_id, context["run_id"], "", due=None), wait=CALLBACK_WAIT)


def _dag_run_of_request(run_id: str) -> Any:
    """The DAG run of the request that the DAG processor executes; None if this is no such process.

    If no task of the run succeeded, Airflow 3.1 and later pass only the run's id to the callback, but the
    request in the calling function describes the run, too.
    """
    for frame in _callers():
        request = frame.f_locals.get("request")
        dag_run = getattr(getattr(request, "context_from_server", None), "dag_run", None)
        if dag_run is not None and dag_run.run_id == run_id:
            return dag_run
    return None


def _callers() -> Iterator[Any]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def _silencing(callback: Any, *, of_failure: bool) -> Any:
    """Wrap a callback so that it is not called for runs that this environment only mirrors."""
    if hasattr(callback, "bluegreen"):
        return callback

    @functools.wraps(callback, updated=())
    def bluegreen_callback(context: Context, *args: Any, **kwargs: Any) -> Any:
        try:
            verdict = _verdict_of_callback(context)
        except Exception:  # noqa: BLE001 - a superfluous report is better than an unreported failure
            return callback(context, *args, **kwargs)
        if verdict.mine or (verdict.refused and of_failure):
            return callback(context, *args, **kwargs)
        return None

    bluegreen_callback.bluegreen = True  # type: ignore[attr-defined]
    return bluegreen_callback


def _silence(owner: Any, name: str) -> None:
    callbacks = getattr(owner, name, None)
    if not callbacks:
        return
    of_failure = name == "on_failure_callback"
    if callable(callbacks):
        setattr(owner, name, _silencing(callbacks, of_failure=of_failure))
    else:
        setattr(owner, name, [_silencing(callback, of_failure=of_failure) for callback in callbacks])


# --- in the scheduler ---

_outage = False


def _not_ours(run: Run) -> bool:
    """Whether a run is certainly not ours. False if that is unknown: the other layers judge again."""
    global _outage
    chosen = settings.load()
    try:
        mine = Gate(chosen, store.store(chosen)).verdict(run, wait=0).mine
    except store.TooEarly as error:
        log.info("blue/green gate: leaving %s to its tasks: %s", run.run_id, error)
        return False
    except store.OwnershipUnknown as error:
        if not _outage:
            log.warning(
                "blue/green gate: leaving all runs to their tasks until the timeline can be read: %s", error
            )
        _outage = True
        return False
    if _outage:
        log.warning("blue/green gate: the timeline can be read again")
    _outage = False
    return not mine


_recent: weakref.ref[Any] | None = None


def _dag_run_of(ti: Any) -> Any:
    """The DAG run whose task instances are being created, from the scheduler's session, without a query."""
    from airflow.models.dagrun import DagRun
    from airflow.settings import Session

    global _recent
    session: Any = Session()
    recent = _recent() if _recent else None
    if recent is not None and _has(recent, ti) and recent in session:
        return recent  # a search for each of thousands of mapped tasks would take seconds
    for candidate in (*session.identity_map.values(), *session.new):
        if isinstance(candidate, DagRun) and _has(candidate, ti):
            _recent = weakref.ref(candidate)
            return candidate
    return None


def _has(dag_run: Any, ti: Any) -> bool:
    known = dag_run.__dict__  # reading an expired attribute would query the database
    return (known.get("run_id"), known.get("dag_id")) == (ti.run_id, ti.dag_id)


def _is_new(ti: Any) -> bool:
    """Whether a task instance is being created: the hook is also called for existing and cleared ones."""
    from sqlalchemy import inspect as state_of

    state = state_of(ti)
    return ti.state is None and not state.persistent and not state.detached


# --- the policies ---


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Layer 1. Airflow passes the DAG run from 3.3 on."""
    try:
        if not _is_new(task_instance):
            return
        if dag_run is None:
            dag_run = _dag_run_of(task_instance)
        if dag_run is None:
            return
        run = describe(dag_run)
        if run.kind == "scheduled" and not run.cleared and _not_ours(run):
            task_instance.state = "skipped"
    except Exception:  # a dead scheduler would stop all work; the tasks' own layers judge again
        log.exception("blue/green gate: leaving %s to its own process", task_instance)


def dag_policy(dag: Any) -> None:
    """Layer 2, and the DAG's callbacks: a run whose tasks are all skipped is a success for Airflow.

    Also the watchers of the DAG's assets.
    """
    _gate_template_env(dag)
    _gate_watchers(dag)
    for name in ("on_success_callback", "on_failure_callback"):
        _silence(dag, name)


def task_policy(task: Any) -> None:
    """Layer 3, the callbacks of a task that it skips, and no start in the triggerer, which has no gate."""
    _gate_pre_execute(task)
    for name in (
        "on_skipped_callback",
        "on_success_callback",
    ):  # Airflow 2 calls both when a task skips itself
        _silence(task, name)
    if getattr(task, "start_from_trigger", False):
        task.start_from_trigger = False
    mapped = getattr(task, "partial_kwargs", None)
    if mapped is not None:
        if mapped.get("start_from_trigger"):
            mapped["start_from_trigger"] = False
        task.start_trigger_args = None  # Airflow 2 would start tasks for which expand() requests it


POLICIES = (task_instance_mutation_hook, dag_policy, task_policy)
