"""Zones and instance types: what the region has, and what it would refuse hours later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pulumi
import pytest

from components.region import check_workers, choose_zones
from tests.fakes.pulumi_mocks import REGION, EngineError, run
from tests.unit.components.config.test_settings import parse

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d")
PREVIOUS: dict[str, object] = {
    "region": REGION,
    "airflow_environments": {"blue": {"identity": {"availability_zones": ["us-east-1c", "us-east-1d"]}}},
}


def zones(
    changes: Mapping[str, object] | None = None,
    previous: Mapping[str, object] | None = None,
    *,
    existing: Sequence[str] = ZONES,
    offering: Sequence[str] | None = None,
    memory: int = 4096,
    architectures: Sequence[str] = ("x86_64",),
) -> tuple[str, str]:
    """The zones of a stack in a region with `existing` ones, of which `offering` have the instance type."""
    chosen: list[tuple[str, str]] = []
    answers: dict[str, Any] = {
        "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": [*existing][::-1]},
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": {
            "locations": [*(existing if offering is None else offering)]
        },
        "aws:ec2/getInstanceType:getInstanceType": {
            "memorySize": memory,
            "supportedArchitectures": [*architectures],
        },
    }
    run(
        lambda: chosen.append(choose_zones(parse(changes), previous or {})),
        invokes={token: partial(_answer, answer) for token, answer in answers.items()},
    )
    return chosen[0]


def _answer(answer: dict[str, Any], _args: Mapping[str, Any]) -> dict[str, Any]:
    return answer


def refusal(changes: Mapping[str, object] | None = None, **region: Any) -> str:
    with pytest.raises(pulumi.RunError) as raised:
        zones(changes, **region)
    return str(raised.value)


def test_without_a_setting_the_regions_first_two_zones_are_taken() -> None:
    assert zones() == ("us-east-1a", "us-east-1b")


def test_of_zones_without_the_instance_type_none_is_taken() -> None:
    assert zones(offering=["us-east-1d", "us-east-1b"]) == ("us-east-1b", "us-east-1d")


def test_a_stack_keeps_its_zones_whatever_the_region_offers_later() -> None:
    assert zones(previous=PREVIOUS) == ("us-east-1c", "us-east-1d")


def test_the_setting_comes_first() -> None:
    assert zones({"availability_zones": ["us-east-1b", "us-east-1d"]}, PREVIOUS) == (
        "us-east-1b",
        "us-east-1d",
    )


def test_zones_of_another_region_are_not_kept() -> None:
    assert zones(previous={**PREVIOUS, "region": "us-west-2"}) == ("us-east-1a", "us-east-1b")


def test_a_region_of_one_zone_is_refused_with_a_way_out() -> None:
    assert "pulumi config set aws:region <region> -s test" in refusal(existing=["us-east-1a"])


def test_a_zone_that_does_not_exist_is_refused() -> None:
    text = refusal({"availability_zones": ["us-east-1a", "us-east-1x"]})
    assert text.startswith("us-east-1x cannot be used: us-east-1 has us-east-1a, us-east-1b, ")
    assert "pulumi config set --path 'availability_zones[1]' <value> -s test" in text


@pytest.mark.parametrize("ha", [True, False])
def test_a_stack_whose_zone_does_not_offer_the_type_is_refused(ha: bool) -> None:
    first, second = ["us-east-1d"], ["us-east-1c"]
    changes = {"enable_ha_marquez": ha}
    assert "EC2 has no t3.medium in us-east-1c" in refusal(changes, previous=PREVIOUS, offering=first)
    if ha:
        assert "EC2 has no t3.medium in us-east-1d" in refusal(changes, previous=PREVIOUS, offering=second)
    else:
        assert zones(changes, PREVIOUS, offering=second), "the one node is in the first zone"


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        ({"offering": []}, "EC2 has no t3.medium in us-east-1."),
        ({"architectures": ["arm64"]}, "no x86_64 processors"),
        ({"memory": 1024}, "has 1024 MiB of memory"),
    ],
)
def test_an_instance_type_that_is_missing_or_too_small_is_refused(
    region: dict[str, Any], reason: str
) -> None:
    text = refusal(**region)
    assert reason in text
    assert "pulumi config set marquez_instance_type <value> -s test" in text


def workers(quota: Any, **changes: Any) -> list[str]:
    """The warnings of a program that checks the workers only; `quota`: what AWS answers, or raises."""

    def answer(_: Any) -> dict[str, Any]:
        if isinstance(quota, Exception):
            raise quota
        return {"value": quota}

    settings = parse(changes)
    invokes = {"aws:servicequotas/getServiceQuota:getServiceQuota": answer}
    return run(lambda: check_workers(settings), invokes=invokes).warnings


def test_as_many_workers_as_amazon_allows_by_default_are_not_asked_about() -> None:
    assert workers(AssertionError("asked"), max_workers=25) == []
    assert workers(AssertionError("asked"), green={"max_workers": 40}) == [], "there is no green"


def test_more_workers_need_a_quota_that_allows_them() -> None:
    assert workers(40, max_workers=40) == []
    with pytest.raises(pulumi.RunError, match="this account's quota is 30"):
        workers(30, max_workers=31)
    with pytest.raises(pulumi.RunError, match=r"config set --path green\.max_workers 30 -s test"):
        workers(30, enable_blue_green=True, max_workers=20, green={"max_workers": 31})


def test_who_may_not_ask_for_the_quota_is_warned() -> None:
    (warning,) = workers(EngineError("AccessDenied"), max_workers=26)
    assert "26 workers in an environment is not known" in warning
