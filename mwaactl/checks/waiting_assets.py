"""Asset events that wait on one environment until the condition of the DAG that they trigger is met.

Airflow keeps them in that environment's database, and its scheduler creates the run. If the rest of the
condition arrives on the other side, neither creates it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mwaactl import clock
from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Asset, AssetEvent, Dag

AT_ONCE = 8  # concurrent calls of one kind
# Airflow lists no partition that waits, only the events; what has waited for longer is not found.
PARTITIONS = timedelta(days=1)
# The scheduler creates the run of a condition that is met within seconds.
SETTLED = timedelta(seconds=60)


@dataclass(frozen=True)
class _Event:
    """The event of an asset that waits; `partition` and `at` are those of a DAG that partitions trigger."""

    uri: str
    partition: str | None = None
    at: datetime | None = None

    def __str__(self) -> str:
        return self.uri if self.partition is None else f"{self.uri} of {self.partition}"


def waiting_asset_events(api: AirflowApi, dags: Iterable[Dag] | None = None) -> dict[str, tuple[str, ...]]:
    """The assets with an event that waits there, by the id of the DAG that it is to trigger.

    `dags`: the environment's DAGs, where the caller has them. Also counts what makes a run within a second,
    so nothing that an asset is to trigger is on its way if the answer is empty. Paused DAGs do not count:
    Airflow queues nothing for them. Takes 1 call per DAG that assets trigger, 1 per 100 assets if an event
    waits, and 1 per 100 events of the last day of each asset with a consumer of its partitions.
    Raises Unreachable.
    """
    chosen = api.dags().values() if dags is None else dags
    return {dag_id: _named(events) for dag_id, events in _waiting(api, chosen).items()}


def unmet_conditions(
    api: AirflowApi, dags: Collection[Dag], producing: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Those of the waiting events that wait for others: a switch would cut their DAG's condition.

    `producing`: the DAGs that are at work. An asset that one of them will produce counts as an event, if the
    others would not complete the condition. Takes 1 call more for each DAG with such an event, and with
    `producing` 1 per 100 assets. Raises Unreachable.
    """
    waiting = _waiting(api, dags)
    expected = _expected(api, dags, producing) if producing else {}
    concerned = sorted(waiting.keys() | expected.keys())
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="conditions") as pool:
        conditions = dict(zip(concerned, pool.map(api.asset_condition, concerned), strict=True))
    long_ago = clock.now() - SETTLED
    unmet = {}
    for dag_id in concerned:
        events = waiting.get(dag_id, ())
        coming = expected.get(dag_id, {})
        met = _is_met(conditions[dag_id], {event.uri for event in events} | coming.keys())
        # Each partition is a condition of its own, which only Airflow can evaluate: time tells.
        if not met or any(event.at is not None and event.at < long_ago for event in events):
            unmet[dag_id] = (*_named(events), *(f"{uri} from {coming[uri]}" for uri in sorted(coming)))
    return unmet


def _expected(
    api: AirflowApi, dags: Collection[Dag], producing: Collection[str]
) -> dict[str, dict[str, str]]:
    """By DAG that assets trigger, the assets that are being produced (URIs), each with a producer."""
    consumers = {dag.dag_id for dag in dags if dag.by_assets and not dag.paused}
    expected: dict[str, dict[str, str]] = {}
    for asset in api.assets():
        if at_work := sorted(set(asset.producers) & set(producing)):
            for dag_id in consumers & asset.consumers.keys():
                expected.setdefault(dag_id, {})[asset.uri] = at_work[0]
    return expected


def _waiting(api: AirflowApi, dags: Iterable[Dag]) -> dict[str, tuple[_Event, ...]]:
    concerned = [dag for dag in dags if dag.by_assets and not dag.paused]
    plain = [dag.dag_id for dag in concerned if not dag.by_partitions]
    partitioned = [dag.dag_id for dag in concerned if dag.by_partitions]
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="assets") as pool:
        names = dict(zip(plain, pool.map(api.queued_asset_events, plain), strict=True))
        queued = {dag_id: assets for dag_id, assets in names.items() if assets}
        assets = api.assets() if queued or partitioned else ()
        since = clock.now() - PARTITIONS
        consumed = [asset for asset in assets if asset.consumers.keys() & set(partitioned)]
        answers = pool.map(lambda asset: api.partition_events(asset.id, since), consumed)
        events = dict(zip((asset.id for asset in consumed), answers, strict=True))
    uris = {str(asset.id): asset.uri for asset in assets}
    waiting = {
        dag_id: tuple(_Event(uris.get(name, name)) for name in names) for dag_id, names in queued.items()
    }
    by_partition = {dag_id: _partitions(dag_id, consumed, events) for dag_id in partitioned}
    return waiting | {dag_id: found for dag_id, found in by_partition.items() if found}


def _partitions(
    dag_id: str, assets: Collection[Asset], events: Mapping[int, tuple[AssetEvent, ...]]
) -> tuple[_Event, ...]:
    """The partitions of these assets that have yet to trigger a run of the DAG."""
    return tuple(
        _Event(asset.uri, event.partition, event.at)
        for asset in assets
        if dag_id in asset.consumers
        for event in events[asset.id]
        if dag_id not in event.created
        # An event from before the DAG knew the asset was not queued for it.
        and ((known := asset.consumers[dag_id]) is None or event.at >= known)
    )


def _named(events: Iterable[_Event]) -> tuple[str, ...]:
    return tuple(sorted({str(event) for event in events}))


def _is_met(condition: Any, uris: Collection[str]) -> bool:
    """Whether events of these assets fulfil a condition, an expression as Airflow's REST API writes it."""
    match condition:
        case str():  # Airflow 2
            return condition in uris
        case {"asset": {"uri": uri}}:
            return uri in uris
        case {"all": parts}:
            return all(_is_met(part, uris) for part in parts)
        case {"any": parts}:
            return any(_is_met(part, uris) for part in parts)
    return False  # an alias: it is not known here which assets it stands for
