"""The operator's command line, and the same as a Python API.

    from mwaactl import Deployment, carry_out, plan, wait_until_drained

Each name is imported when it is first used: `mwaactl --help` must not wait for boto3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mwaactl.acceptance.doctor import examine as examine
    from mwaactl.acceptance.rehearsal import rehearse as rehearse
    from mwaactl.dags.push import push_dags as push_dags
    from mwaactl.deployment import Deployment as Deployment
    from mwaactl.errors import ControlError as ControlError
    from mwaactl.recovery.audit import audit as audit
    from mwaactl.recovery.audit import backfill as backfill
    from mwaactl.recovery.failover import carry_out_failover as carry_out_failover
    from mwaactl.recovery.failover import plan_failover as plan_failover
    from mwaactl.switching.drain import wait_until_drained as wait_until_drained
    from mwaactl.switching.plan import plan as plan
    from mwaactl.switching.plan import plan_rollback as plan_rollback
    from mwaactl.switching.status import status as status
    from mwaactl.switching.write import carry_out as carry_out
    from mwaactl.switching.write import dry_run as dry_run

_MODULES = {
    "ControlError": "errors",
    "Deployment": "deployment",
    "audit": "recovery.audit",
    "backfill": "recovery.audit",
    "carry_out": "switching.write",
    "carry_out_failover": "recovery.failover",
    "dry_run": "switching.write",
    "examine": "acceptance.doctor",
    "plan": "switching.plan",
    "plan_failover": "recovery.failover",
    "plan_rollback": "switching.plan",
    "push_dags": "dags.push",
    "rehearse": "acceptance.rehearsal",
    "status": "switching.status",
    "wait_until_drained": "switching.drain",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
