"""The DAGs that a switch knows: what was due before it stays with the old side (rule 2 of the timeline).

They are listed just before the decision is written. One that appears at that moment may still be executed on
the old side, by a process that does not know the decision yet. So the list is completed afterwards, before
the target executes anything of a DAG that is not in it (`bluegreen.timeline.CONFIRMED`).
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime

from bluegreen.settings import RECENT
from bluegreen.timeline import CONFIRMED, Timeline

from mwaactl import clock
from mwaactl.airflow.client import AirflowApi
from mwaactl.checks.outcome import listed
from mwaactl.deployment import Deployment
from mwaactl.errors import LostRace, Unfinished, Unreachable
from mwaactl.ownership.parameter import Snapshot, aws_now

ATTEMPTS = 3


def known_dags(*sides: AirflowApi | None) -> frozenset[str] | None:
    """The DAGs that the sides know, also those whose file is gone; None if neither side reports them."""
    known: frozenset[str] | None = None
    for api in sides:
        if api is not None:
            with suppress(Unreachable):
                known = (known or frozenset()) | api.dag_ids()
    return known


def with_appeared(snapshot: Snapshot, dag_ids: Collection[str], now: datetime) -> Timeline | None:
    """The timeline in which the newest switch knows these DAGs too; None if it does, or if that is over.

    `dag_ids` are those of the old side, read `RECENT` after the switch was written, or later.
    """
    newest = snapshot.timeline.owners[-1]
    appeared = set(dag_ids) - snapshot.timeline.known.keys()
    if newest.blind or not appeared or now >= newest.since + CONFIRMED - snapshot.timeline.lead:
        return None
    return snapshot.timeline.knowing(appeared, newest.version, snapshot.top + 1)


def complete(deployment: Deployment, old: AirflowApi, version: int) -> tuple[str, ...]:
    """Wait until every process of the old side knows the switch of `version`, then complete its list of DAGs.

    That takes a few seconds. Returns notes for the operator.
    """
    ownership, reason = deployment.ownership, "other writers are active"
    clock.sleep(RECENT.total_seconds())
    for _ in range(ATTEMPTS):
        try:
            dag_ids, snapshot = old.dag_ids(), ownership.read()
            timeline = with_appeared(snapshot, dag_ids, aws_now(snapshot, ownership.lead))
            if timeline is None or snapshot.timeline.owners[-1].version != version:
                return ()
            new = timeline.known.keys() - snapshot.timeline.known.keys()
            ownership.write(snapshot, timeline, f"mwaactl: {listed(new)} appeared during the switch")
            return (f"appeared during the switch, so their past stays with the old side: {listed(new)}",)
        except LostRace:
            continue
        except (Unreachable, Unfinished) as error:
            reason = str(error)
            break
    return (
        f"it is unknown whether a DAG appeared while the switch was written ({reason}): its past may then be "
        "executed on both sides; mwaactl audit would tell",
    )
