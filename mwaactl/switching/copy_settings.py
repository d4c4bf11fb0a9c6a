"""Copy the pause state and the pools of one environment to the other, as `mwaactl switch --sync` does."""

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
    left: tuple[str, ...] = ()  # DAGs that keep another pause state, because the target owns them


def copy_settings(deployment: Deployment, source: Colour, target: Colour) -> CopyResult:
    """Copy the pause state of the DAGs on both sides and the source's pools from `source` to `target`.

    A DAG that the target owns now keeps its state; pools that only the target has stay. Both sides are read
    before anything is written. Raises Unreachable, or Unusable if the ownership cannot be read; earlier
    changes stay, and repeating the call makes the others.
    """
    source_api, target_api = deployment.airflow(source), deployment.airflow(target)
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="settings") as pool:
        calls = [(pool.submit(side.dags), pool.submit(side.pools)) for side in (source_api, target_api)]
        (dags, pools), (target_dags, target_pools) = ((a.result(), b.result()) for a, b in calls)
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
