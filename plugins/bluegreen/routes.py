"""The ways by which the gate's policies reach Airflow, each enough alone; together they act once.

Amazon MWAA has been seen to ignore one of them (aws/amazon-mwaa-docker-images issue 627), so none is relied
upon. `bluegreen_policy.py`, outside of this package, names and takes them; it must work if this package does
not. `bluegreen.proof` says which are live.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

Policy = Callable[..., None]

_local = threading.local()


def policies(route: str) -> tuple[Policy, ...]:
    """The gate's policies as one route hands them to Airflow."""
    from bluegreen.policies import POLICIES  # late: if it cannot be loaded, the route refuses

    return tuple(_once(policy, route) for policy in POLICIES)


def _once(policy: Policy, route: str) -> Policy:
    """Leave out what another route has just done for the same object, in the same call of Airflow's."""

    @functools.wraps(policy)
    def of_route(subject: Any, *more: Any) -> None:
        last, by = getattr(_local, policy.__name__, (None, route))
        if by != route and last is not None and last() is subject:
            return
        policy(subject, *more)
        with contextlib.suppress(TypeError):  # an object to which there are no weak references: done twice
            setattr(_local, policy.__name__, (weakref.ref(subject), route))

    return of_route
