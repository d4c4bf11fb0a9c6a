"""The layouts that the VPC component accepts."""

from __future__ import annotations

import pytest

from local.provider.values import ProviderError
from local.provider.vpc import SubnetSpec, check


def subnets(*cidrs: str) -> list[SubnetSpec]:
    kinds = ("Private", "Public") * len(cidrs)
    return [SubnetSpec(f"s{i}", kinds[i], f"zone{i // 2}", cidr, {}) for i, cidr in enumerate(cidrs)]


def test_exact_subnets_must_fill_the_vpc_zone_by_zone() -> None:
    filled = subnets("10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18", "10.0.192.0/18")
    check(filled, "10.0.0.0/16", "Single", exact=True)
    with pytest.raises(ProviderError, match="gaps"):
        check(filled[:3], "10.0.0.0/16", "Single", exact=True)
    with pytest.raises(ProviderError, match="gaps"):
        check([filled[0], filled[2], filled[1], filled[3]], "10.0.0.0/16", "Single", exact=True)
    check(filled[:3], "10.0.0.0/16", "Single", exact=False)


def test_overlapping_subnets_are_refused() -> None:
    with pytest.raises(ProviderError, match="overlaps"):
        check(subnets("10.0.0.0/18", "10.0.0.0/20"), "10.0.0.0/16", "Single", exact=False)
