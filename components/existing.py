"""What exists in AWS already and the settings refer to: network, zones, quotas, buckets, policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.config.settings import Settings
from components.network import OwnNetwork
from components.own_buckets import check_log_bucket, check_own_buckets
from components.own_network import own_network
from components.own_policies import check_policies
from components.refusals import Refusals
from components.region import check_workers, choose_zones


def network_and_zones(
    settings: Settings, previous: Mapping[str, Any]
) -> tuple[OwnNetwork | None, tuple[str, str]]:
    """The network that the settings name, if they do, and the stack's zones.

    Raises pulumi.RunError with everything that AWS has against the settings. `previous`: the stack's outputs.
    """
    own, zones, refusals = None, ("", ""), Refusals()
    with refusals.kept():
        own = own_network(settings, previous)
    with refusals.kept():
        zones = choose_zones(settings, previous, () if own is None else own.zones)
    with refusals.kept():
        check_workers(settings)
    with refusals.kept():
        check_own_buckets(settings, previous)
    with refusals.kept():
        check_log_bucket(settings)
    with refusals.kept():
        check_policies(settings)
    refusals.raise_all()
    return own, zones
