"""Installs the blue/green gate (bluegreen/policies.py); if the gate cannot be loaded, every task fails.

Deliberately small: an exception here would kill every Airflow process. Older MWAA images import this file as
`airflow_local_settings`. Newer images have a module of that name, execute this file under another name and
ignore what it defines. So the policies are set on the module that Airflow imports, whichever that is. One
that already exists there (yours, or Amazon's) is called first. Running this file twice changes nothing.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__: list[str] = []

Policy = Callable[..., None]


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


def _policies() -> tuple[Policy, ...]:
    folder = str(Path(__file__).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        from bluegreen.policies import POLICIES
    except Exception as error:  # noqa: BLE001 - Airflow must survive, and no task may run ungated
        return (_failing(f"{type(error).__name__}: {error}"),)
    return POLICIES


def _after(theirs: Policy, ours: Policy) -> Policy:
    # Fewer than Airflow passes, if the policy was written for an older version.
    known = len(inspect.signature(theirs).parameters)

    @functools.wraps(ours)
    def both(*args: Any) -> None:
        theirs(*args[:known])
        ours(*args)

    return both


def _install() -> None:
    module: Any = sys.modules.get("airflow_local_settings") or sys.modules[__name__]
    if not hasattr(module, "__all__"):
        module.__all__ = [name for name in vars(module) if not name.startswith("_")]
    for ours in _policies():
        name = ours.__name__
        theirs = getattr(module, name, None)
        if hasattr(theirs, "bluegreen"):
            continue  # installed already
        policy = ours if theirs is None else _after(theirs, ours)
        policy.bluegreen = True  # type: ignore[attr-defined]
        setattr(module, name, policy)
        if name not in module.__all__:
            module.__all__.append(name)


_install()
