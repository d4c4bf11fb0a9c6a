"""What a mode costs: bills recomputed by hand, from what the real program registers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from forwarder import metrics
from lineage_log.delivery import Counts
from mwaactl.cost.bill import Bill, bill, difference
from mwaactl.cost.charges import FORWARDER_METRICS, FREE, RULES, Usage, unclassified
from mwaactl.cost.prices import SHIPPED, load_table
from mwaactl.cost.resources import resources_of
from tests.fakes.pulumi_mocks import ARNS, MODES, Deployment, deploy

H = 730
NAT = H * (0.045 + 0.005)  # a gateway and its address
NODE = H * 0.0416 + 20 * 0.08  # a t3.medium and its root volume
SINGLE = NODE + 30 * 0.08 + 0.40  # and its data volume, its secret
HA = 2 * NODE + H * 0.0225 + 2 * 0.5 * H * 0.12 + 0.40  # load balancer, two Aurora instances, their secret
ZONE, ALARM, COMPOSITE, DASHBOARD, METRIC = 0.50, 0.10, 0.50, 3.00, 0.30
FORWARDER = 5 * METRIC
# Metrics that alarms look at: 15 of an environment, gate and lineage 5; with two environments one more on
# the gate, one on a switch, and 2 that say which is the owner; then those of Marquez: 4 of its single node,
# or 6 and the 2 that the scaling policy makes.
ONE, TWO = 15 + 5, 2 * 15 + 5 + 1 + 1 + 2
MONITORING = COMPOSITE + DASHBOARD + FORWARDER + ZONE
BY_HAND = {
    "standard": H * 0.29 + NAT + SINGLE + (ONE + 4) * ALARM + 3 * METRIC + MONITORING,
    "bluegreen": 2 * H * 0.49 + 2 * NAT + SINGLE + (TWO + 4) * ALARM + 5 * METRIC + MONITORING,
    "hamarquez": H * 0.49 + 2 * NAT + HA + (ONE + 8) * ALARM + 3 * METRIC + MONITORING,
    "fullha": 2 * H * 0.49 + 2 * NAT + HA + (TWO + 8) * ALARM + 5 * METRIC + MONITORING,
}
ABOUT = {"standard": 294, "bluegreen": 835, "hamarquez": 609, "fullha": 967}  # as the project's owner says
PRICES = load_table(SHIPPED)

Deployed = Callable[[str], Deployment]


def of(deployment: Deployment, region: str = "us-east-1", **usage: Any) -> Bill:
    return bill("x", region, resources_of(deployment.resources), Usage(**usage), PRICES.prices(region))


@pytest.mark.parametrize("mode", MODES)
def test_an_idle_month_is_what_a_person_computes(deployed: Deployed, mode: str) -> None:
    computed = of(deployed(mode))
    assert computed.unknown == {}
    assert computed.usd == pytest.approx(BY_HAND[mode], abs=0.005)
    assert computed.usd == pytest.approx(ABOUT[mode], rel=0.015)


def test_without_marquez_and_without_lineage_nothing_of_it_is_charged() -> None:
    log, none = (deploy("standard", {"lineage": lineage}) for lineage in ("log", "none"))
    # the alarms of the node and of its forwarder; then the one on lost events, and their metric
    assert of(log).usd == pytest.approx(BY_HAND["standard"] - SINGLE - FORWARDER - ZONE - (4 + 2) * ALARM)
    assert of(none).usd == pytest.approx(of(log).usd - ALARM - METRIC)
    assert of(log, events=1000).usd - of(log).usd == pytest.approx(
        H / 24 * 0.005 + H / 24 * 1000 * 4 / 1024 / 1024 * 0.023
    )
    assert of(none, events=1000).usd == of(none).usd


def test_a_further_sink_has_two_alarms_and_four_metrics_and_reads_the_log(deployed: Deployed) -> None:
    sink = deploy("standard", {"lineage_sinks": {"zone": {"datazone_domain": "dzd_4kq9"}}})
    assert of(sink).usd - of(deployed("standard")).usd == pytest.approx(2 * ALARM + 4 * METRIC)
    more = of(sink, events=1000).usd - of(sink).usd
    assert more - (of(deployed("standard"), events=1000).usd - of(deployed("standard")).usd) == pytest.approx(
        H / 24 * 0.0004
    )


@pytest.mark.parametrize(
    ("mode", "usage", "more"),
    [
        ("fullha", {"workers": 2}, 2 * H * 0.055),
        ("fullha", {"metadata_gb": 10}, 2 * 10 * 0.10),
        ("fullha", {"nat_gb": 100}, 100 * 0.045),
        ("fullha", {"log_gb": 10}, 10 * 0.50),
        ("fullha", {"lcu": 1}, H * 0.008),
        ("fullha", {"acu": 2}, 2 * 1.5 * H * 0.12),
        ("fullha", {"lineage_gb": 10}, 10 * 0.10),
        ("standard", {"lineage_gb": 10}, 10 * 0.05),
        ("standard", {"lcu": 1, "acu": 2, "endpoint_gb": 100, "workers": 2}, 0),
        # 1,000 a day: written once, read once, and a month's events are stored
        ("standard", {"events": 1000}, H / 24 * (0.005 + 0.0004) + H / 24 * 1000 * 4 / 1024 / 1024 * 0.023),
    ],
)
def test_usage_is_charged_where_it_arises(
    deployed: Deployed, mode: str, usage: Mapping[str, Any], more: float
) -> None:
    assert of(deployed(mode), **usage).usd - of(deployed(mode)).usd == pytest.approx(more)


def test_only_what_a_bill_depends_on_is_assumed(deployed: Deployed) -> None:
    always = {"hours", "nat_gb", "log_gb", "metadata_gb", "events"}
    assert set(of(deployed("standard")).assumptions) == always | {"lineage_gb"}, "mw1.micro has one worker"
    assert set(of(deployed("hamarquez")).assumptions) == always | {"workers", "lineage_gb", "lcu", "acu"}
    with_events = of(deploy("standard", {"vpc_endpoints": "true"}), events=1, event_kib=0)
    assert set(with_events.assumptions) == always | {"lineage_gb", "endpoint_gb", "event_kib"}


def test_half_a_month_costs_half_but_for_the_zone(in_each_mode: Deployment) -> None:
    whole, half = of(in_each_mode).usd, of(in_each_mode, hours=365).usd
    assert half == pytest.approx((whole - ZONE) / 2 + ZONE)


@pytest.mark.parametrize(
    ("mode", "changes", "more"),
    [
        ("bluegreen", {"nat": "single"}, -NAT),
        ("standard", {"vpc_endpoints": "true"}, (11 * 2 - 1) * H * 0.01),  # one in a single zone, one nowhere
        ("bluegreen", {"schedulers": 3}, 2 * H * 0.055),
        ("bluegreen", {"min_workers": 3}, 2 * 2 * H * 0.055),
        ("bluegreen", {"green": {"environment_class": "mw1.medium"}}, H * (0.74 - 0.49)),
        ("standard", {"create_kms_key": "true"}, 1.00),
        ("hamarquez", {"aurora_min_capacity": "2"}, 2 * 1.5 * H * 0.12),
        ("hamarquez", {"marquez_instance_type": "t3.large"}, 2 * H * 0.0416),
        ("fullha", {"nightly_audit": "true"}, 3 * (METRIC + ALARM)),
    ],
)
def test_a_setting_costs_what_it_adds(
    deployed: Deployed, mode: str, changes: dict[str, Any], more: float
) -> None:
    # The fakes' region has no endpoint of airflow.ops, and one of sqs in one of the two zones.
    missing = H * 0.01 * 2 if "vpc_endpoints" in changes else 0
    assert of(deploy(mode, changes)).usd - of(deployed(mode)).usd == pytest.approx(more - missing)


def test_an_unknown_price_is_said_to_be_unknown_and_never_zero(deployed: Deployed) -> None:
    elsewhere = of(deployed("standard"), "xx-nowhere-1")
    assert {line.usd for line in elsewhere.lines} == {None}
    assert {"mwaa.micro", "nat"} <= set(elsewhere.unknown)
    assert elsewhere.total == "more than $0"


def test_a_difference_is_known_only_where_unknown_quantities_are_equal(deployed: Deployed) -> None:
    present = of(deployed("bluegreen"), "sa-east-1")
    assert {"ec2.t3.medium", "ipv4"} <= set(present.unknown)
    more_nodes = of(deployed("fullha"), "sa-east-1")
    assert difference(present, more_nodes) is None
    known = of(deploy("bluegreen", {"schedulers": 3}), "sa-east-1")
    assert difference(present, known) == pytest.approx(known.usd - present.usd)
    assert difference(present, of(deploy("bluegreen", {"nat": "single"}), "sa-east-1")) is None, "an address"


def test_it_is_known_of_each_type_whether_it_costs(in_each_mode: Deployment) -> None:
    assert unclassified(resources_of(in_each_mode.resources)) == []
    assert not RULES.keys() & FREE
    own = {each for each in RULES if each.startswith("mwaa-openlineage:")}
    assert {*ARNS} <= {*RULES, *FREE, "awsx:ec2:Vpc"}, "a type that the program may register has no rule"
    assert own == {"mwaa-openlineage:index:Marquez"}


def test_a_type_without_a_rule_is_named(deployed: Deployed) -> None:
    known = resources_of(deployed("standard").resources)
    other = known[0].__class__("aws:sqs/queue:Queue", "q", "urn::q", "", {}, ())
    strange = bill("x", "us-east-1", [*known, other], Usage(), PRICES.prices("us-east-1"))
    assert strange.unknown == {"aws:sqs/queue:Queue": 1}
    assert difference(strange, strange) == 0
    assert difference(of(deployed("standard")), strange) is None


def test_the_forwarder_reports_as_many_metrics_as_are_charged() -> None:
    reported: list[Any] = []

    class CloudWatch:
        def put_metric_data(self, *, Namespace: str, MetricData: Any) -> None:  # noqa: N803
            reported.extend(MetricData)

    metrics.Metrics(CloudWatch(), "x", "bucket", disks=["/"]).report(Counts(), 0)
    assert len({each["MetricName"] for each in reported}) == FORWARDER_METRICS


def test_every_price_has_a_unit_a_source_and_a_date() -> None:
    for region in PRICES.regions:
        for item, price in PRICES.prices(region).items():
            assert price.source.name, item
            assert price.source.date[:2] == "20", item
            assert math.isfinite(price.usd), item
            assert price.usd > 0, item
