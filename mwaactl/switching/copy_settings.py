"""Copy the pause state and the pools of one environment to the other, as `mwaactl switch --sync` does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bluegreen.proof import PROBE
from bluegreen.timeline import Colour

from mwaactl import clock
from mwaactl.checks.both_sides import different_pools, paused_apart
from mwaactl.checks.probe import proof_of, read_probe
from mwaactl.deployment import Deployment
from mwaactl.json_model import Model


class CopyResult(Model):
    """What was changed on the target, by name."""

    paused: tuple[str, ...] = ()
    unpaused: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()  # created or changed there
    left: tuple[str, ...] = ()  # DAGs that keep another pause state, because the target owns them
    kept_paused: tuple[str, ...] = ()  # because it is not proven that the target's gate works
    unproven: str | None = None  # why not


def copy_settings(deployment: Deployment, source: Colour, target: Colour) -> CopyResult:
    """Copy the pause state of the DAGs on both sides and the source's pools from `source` to `target`.

    A DAG that the target owns now keeps its state; pools that only the target has stay. Unless it is proven
    that the target's gate works, only its probe is unpaused. Both sides are read before anything is written.
    Raises Unreachable, or Unusable if the ownership cannot be read; earlier changes stay, and repeating the
    call makes the others.
    """
    source_api, target_api = deployment.airflow(source), deployment.airflow(target)
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="settings") as pool:
        calls = [(pool.submit(side.dags), pool.submit(side.pools)) for side in (source_api, target_api)]
        (dags, pools), (target_dags, target_pools) = ((a.result(), b.result()) for a, b in calls)
    timeline, now = deployment.ownership.read().timeline, clock.now()
    differing = paused_apart(dags, target_dags)
    own = {dag_id for dag_id in differing if timeline.owner(now, dag_id) == target}
    would_run = {dag_id for dag_id in differing - own - {PROBE} if not dags[dag_id].paused}
    unproven = None
    if would_run:
        runs, period = read_probe(target_api), deployment.stack.probe_period
        proof = proof_of(target, runs, timeline, now, period)
        unproven = None if proof.proven else proof.wrong or proof.missing
    kept = would_run if unproven else set()
    # Pools first: an unpaused DAG may create runs at once.
    changed = different_pools(pools, target_pools)
    for name in sorted(changed):
        target_api.put_pool(pools[name], exists=name in target_pools)
    moved = sorted(differing - own - kept)
    for dag_id in moved:
        target_api.set_paused(dag_id, dags[dag_id].paused)
    return CopyResult(
        paused=tuple(dag_id for dag_id in moved if dags[dag_id].paused),
        unpaused=tuple(dag_id for dag_id in moved if not dags[dag_id].paused),
        pools=tuple(sorted(changed)),
        left=tuple(sorted(own)),
        kept_paused=tuple(sorted(kept)),
        unproven=unproven,
    )
