"""What an operator types, and the same as a Python API.

    from mwaactl import Deployment, carry_out, plan, wait_until_drained

Each name is imported when it is first used: `mwaactl --help` must not wait for boto3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The names are what this package is for, so they are all exported.
    from mwaactl.dag_files import push as push_dags  # noqa: F401
    from mwaactl.deployment import Deployment as Deployment
    from mwaactl.errors import ControlError as ControlError
    from mwaactl.recovery.audit import audit as audit
    from mwaactl.recovery.audit import backfill as backfill
    from mwaactl.recovery.failover import carry_out as carry_out_failover  # noqa: F401
    from mwaactl.recovery.failover import plan as plan_failover  # noqa: F401
    from mwaactl.switching.drain import wait_until_drained as wait_until_drained
    from mwaactl.switching.plan import plan as plan
    from mwaactl.switching.plan import plan_rollback as plan_rollback
    from mwaactl.switching.status import status as status
    from mwaactl.switching.write import carry_out as carry_out
    from mwaactl.switching.write import dry_run as dry_run

_HOMES = {
    "ControlError": "errors:ControlError",
    "Deployment": "deployment:Deployment",
    "audit": "recovery.audit:audit",
    "backfill": "recovery.audit:backfill",
    "carry_out": "switching.write:carry_out",
    "carry_out_failover": "recovery.failover:carry_out",
    "dry_run": "switching.write:dry_run",
    "plan": "switching.plan:plan",
    "plan_failover": "recovery.failover:plan",
    "plan_rollback": "switching.plan:plan_rollback",
    "push_dags": "dag_files:push",
    "status": "switching.status:status",
    "wait_until_drained": "switching.drain:wait_until_drained",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)
