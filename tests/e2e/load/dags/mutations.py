"""Ways to break the gate on purpose: with each of them the exactly-once test must fail.

`MUTATION=name pytest tests/e2e/test_exactly_once.py`; airflow_local_settings.py applies it in every process.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any


def now() -> None:
    """Ask who owns the present moment, not the run's own instant."""
    from bluegreen import gate

    describe = gate.describe

    def mutated(*args: Any, **kwargs: Any) -> gate.Run:
        return replace(describe(*args, **kwargs), due=datetime.now(UTC))

    gate.describe = mutated


def unclamped() -> None:
    """Let a decision begin when its writer planned, however late it arrived."""
    from bluegreen import timeline

    def effective(self: timeline.Reading) -> timeline.Timeline:
        return self.timeline

    timeline.Reading.effective = effective  # type: ignore[method-assign]


def stale() -> None:
    """Use a copy of the timeline for instants after its fetch."""
    from bluegreen import store

    def good(self: store.Store, copy: store.Copy | None, needed: float) -> bool:
        return copy is not None

    store.Store._is_good = good  # type: ignore[method-assign]


MUTATIONS = {mutation.__name__: mutation for mutation in (now, unclamped, stale)}
