"""Brings the blue/green gate into Airflow, by several routes; if it cannot be loaded, every task fails.

Deliberately small and apart from the package `bluegreen`: an exception here would kill every Airflow process.
Taking a route twice changes nothing.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

log = logging.getLogger("bluegreen")

# Functions on the module `airflow_local_settings`; registered with Airflow's manager of policy plugins at
# import; `airflow.policy` of a dist-info folder in plugins.zip; registered when Airflow loads its plugins.
ROUTES = ("settings_module", "policy_manager", "entry_point", "airflow_plugin")

Policy = Callable[..., None]

_reported: set[str] = set()


def _failing(reason: str) -> Policy:
    def fail(context: Any) -> None:  # noqa: ARG001 - the name by which Airflow passes it
        from airflow.exceptions import AirflowException

        raise AirflowException(
            "The blue/green gate could not be loaded, so this environment cannot tell which runs are its own "
            f"and runs none. Deploy a complete plugins.zip (`pulumi up`). Reason: {reason}"
        )

    def task_policy(task: Any) -> None:
        if hasattr(task, "partial_kwargs"):
            task.partial_kwargs["pre_execute"] = fail
            task.start_trigger_args = None  # otherwise the triggerer would start it without the hook
        else:
            task._pre_execute_hook = fail
            task.pre_execute = fail  # an operator may have its own, which calls no hook
        if getattr(task, "start_from_trigger", False):
            task.start_from_trigger = False

    return task_policy


def _policies(route: str) -> dict[str, Policy]:
    """By name: the gate's policies, or the one that fails every task; none if a test leaves the route out."""
    from airflow import policies as declared

    if route not in ROUTES:
        return {}
    folder = str(Path(__file__).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        from bluegreen.routes import policies as of

        policies = [_shaped(policy, _parameters(getattr(declared, policy.__name__))) for policy in of(route)]
        refuses = False
    except Exception as error:  # noqa: BLE001 - Airflow must survive, and no task may run ungated
        _report("could not be loaded, so every task fails")
        policies, refuses = [_failing(f"{type(error).__name__}: {error}")], True
    for policy in policies:
        vars(policy).update(bluegreen=route, refuses=refuses)
    return {policy.__name__: policy for policy in policies}


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _shaped(policy: Policy, parameters: tuple[str, ...]) -> Policy:
    """A policy with the parameters that this version of Airflow declares for it, and that we know.

    Newer pluggys read them off the code and take no signature's word for it; none passes one with a default.
    """
    shapes: dict[tuple[str, ...], Policy] = {
        ("task",): lambda task: policy(task),
        ("dag",): lambda dag: policy(dag),
        ("task_instance",): lambda task_instance: policy(task_instance),
        ("task_instance", "dag_run"): lambda task_instance, dag_run: policy(task_instance, dag_run),
    }
    shape = shapes[tuple(name for name in parameters if name in ("task", "dag", "task_instance", "dag_run"))]
    shape.__name__ = policy.__name__
    return shape


def _surviving(take: Callable[..., None]) -> Callable[..., None]:
    """Let Airflow live if a route cannot be taken: the others remain, and the log says which one failed."""

    @functools.wraps(take)
    def route(*args: Any) -> None:
        try:
            take(*args)
        except Exception:  # noqa: BLE001 - it is logged, and an exception here would kill the process
            _report(f"not reached by {take.__name__} {args}")

    return route


def _report(problem: str) -> None:
    """Log once what went wrong, with the exception that is being handled."""
    if problem not in _reported:
        log.exception("blue/green gate: %s", problem)
    _reported.add(problem)


@_surviving
def install(module: Any) -> None:
    """Set the policies on the module whose functions Airflow registers.

    One that exists there (yours, or Amazon's) is called first.
    """
    if not hasattr(module, "__all__"):
        module.__all__ = [name for name in vars(module) if not name.startswith("_")]
    for name, ours in _policies("settings_module").items():
        theirs = getattr(module, name, None)
        if hasattr(theirs, "bluegreen"):
            continue  # installed already
        setattr(module, name, ours if theirs is None else _after(theirs, ours))
        if name not in module.__all__:
            module.__all__.append(name)


def _after(theirs: Policy, ours: Policy) -> Policy:
    # Fewer than Airflow passes, if the policy was written for an older version.
    known = len(_parameters(theirs))

    def both(*args: Any) -> None:
        theirs(*args[:known])
        ours(*args)

    both.__name__ = ours.__name__
    shaped = _shaped(both, _parameters(ours))
    vars(shaped).update(vars(ours))
    return shaped


@_surviving
def register(route: str) -> None:
    """Register the policies with Airflow's manager of policy plugins, and with each later one.

    The DAG processor of Airflow 2 and 3.0 initialises its settings twice, with a new manager each time.
    """
    from airflow import policies, settings

    newer = getattr(settings, "get_policy_plugin_manager", None)  # Airflow 3.2
    manager: Any = newer() if newer is not None else settings.POLICY_PLUGIN_MANAGER
    known = (implementation.function for implementation in manager.hook.task_policy.get_hookimpls())
    if route not in ROUTES or route in (getattr(function, "bluegreen", None) for function in known):
        return
    plugin = _plugin(route)
    for name, hook in vars(plugin).items():
        if hasattr(hook, "bluegreen"):
            # Airflow registers this class with every manager
            setattr(policies.DefaultPolicy, f"bluegreen_{route}_{name}", staticmethod(hook))
    manager.register(plugin)


def _plugin(route: str) -> ModuleType:
    """The policies of a route as a plugin for Airflow's manager, which takes each name once."""
    from airflow import policies, settings

    plugin = ModuleType(f"bluegreen:{route}")
    for name, policy in _policies(route).items():
        setattr(plugin, name, policies.hookimpl(policy, specname=name))
        if name == "task_instance_mutation_hook":
            # otherwise Airflow calls it only if there is a module `airflow_local_settings`
            settings.task_instance_mutation_hook.is_noop = False
    return plugin


def __getattr__(name: str) -> Any:
    """`entry_point`: what the entry point names. Made when Airflow asks for it."""
    if name != "entry_point":
        raise AttributeError(name)
    try:
        return _plugin("entry_point")
    except Exception:  # noqa: BLE001 - as above
        _report("not reached by its entry point")
        return ModuleType("bluegreen:entry_point")
