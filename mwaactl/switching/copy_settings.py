"""Give one environment the pause state and the pools of the other, as `mwaactl switch --sync` does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bluegreen.timeline import Colour

from mwaactl import clock
from mwaactl.checks.both_sides import different_pools, paused_apart
from mwaactl.deployment import Deployment
from mwaactl.json_model import Model


class CopyResult(Model):
    """What was changed on the target, by name."""

    paused: tuple[str, ...] = ()
    unpaused: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()  # created or changed there
    left: tuple[str, ...] = ()  # DAGs in another pause state that the target owns: its own state counts


def copy_settings(deployment: Deployment, source: Colour, target: Colour) -> CopyResult:
    """Copy from `source` to `target` the pause state of the DAGs on both, and the source's pools.

    A DAG that the target owns now keeps its state; pools that only the target has stay. Nothing is written
    before both sides are read. Raises Unreachable, or Unusable if the ownership cannot be read; what was
    changed until then stays changed, and the same call does the rest.
    """
    source_api, target_api = deployment.airflow(source), deployment.airflow(target)
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="settings") as pool:
        asked = [(pool.submit(side.dags), pool.submit(side.pools)) for side in (source_api, target_api)]
        (dags, pools), (target_dags, target_pools) = ((a.result(), b.result()) for a, b in asked)
    timeline, now = deployment.ownership.read().timeline, clock.now()
    differing = paused_apart(dags, target_dags)
    own = {dag_id for dag_id in differing if timeline.owner(now, dag_id) == target}
    # Pools first: an unpaused DAG may create runs at once.
    changed = different_pools(pools, target_pools)
    for name in sorted(changed):
        target_api.put_pool(pools[name], exists=name in target_pools)
    moved = sorted(differing - own)
    for dag_id in moved:
        target_api.set_paused(dag_id, dags[dag_id].paused)
    return CopyResult(
        paused=tuple(dag_id for dag_id in moved if dags[dag_id].paused),
        unpaused=tuple(dag_id for dag_id in moved if not dags[dag_id].paused),
        pools=tuple(sorted(changed)),
        left=tuple(sorted(own)),
    )
