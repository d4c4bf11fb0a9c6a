"""Read AWS's public price list, which needs no credentials, and make a table of prices of it.

The list has a file for each service and region, in the format of the user guide "AWS Price List Bulk API":
`products` by SKU with attributes, and `terms.OnDemand` with the price dimensions of each SKU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from mwaactl.cost.prices import Source, Table
from mwaactl.errors import Unreachable

HOST = "https://pricing.us-east-1.amazonaws.com"
TIMEOUT = 300  # seconds; the list of EC2 has hundreds of megabytes
PREFIX = r"(?:[A-Z0-9]+-)?"  # of the region in a usage type: none in us-east-1, EU-, USW2-


@dataclass(frozen=True)
class Item:
    """An item of the table: which product of a service it is. `usage`: its usage type, without the region.

    `attributes`: what else tells it from others; `per`: units of the list in one of the table.
    """

    item: str
    service: str
    usage: str
    attributes: Mapping[str, str]
    per: float = 1


def _items() -> Iterator[Item]:
    for size in ("Micro", "Small", "Medium", "Large", "XLarge", "2XLarge"):
        yield Item(f"mwaa.{size.lower()}", "AmazonMWAA", f"Airflow-{size}Environment", {})
        for role in ("Worker", "Scheduler"):
            yield Item(f"mwaa.{role.lower()}.{size.lower()}", "AmazonMWAA", f"Airflow-{size}{role}", {})
    yield Item("mwaa.metadata", "AmazonMWAA", "Airflow-StandardDatabaseStorage", {})
    for kind in ("t3.small", "t3.medium", "t3.large"):
        linux = {
            "operatingSystem": "Linux",
            "preInstalledSw": "NA",
            "tenancy": "Shared",
            "operation": "RunInstances",
        }
        yield Item(f"ec2.{kind}", "AmazonEC2", f"BoxUsage:{kind}", linux)
    yield Item("ebs.gp3", "AmazonEC2", "EBS:VolumeUsage.gp3", {})
    yield Item("ebs.snapshot", "AmazonEC2", "EBS:SnapshotUsage", {})
    yield Item("nat", "AmazonEC2", "NatGateway-Hours", {"operation": "NatGateway"})
    yield Item("nat.data", "AmazonEC2", "NatGateway-Bytes", {"operation": "NatGateway"})
    yield Item("ipv4", "AmazonVPC", "PublicIPv4:InUseAddress", {})
    yield Item("endpoint", "AmazonVPC", "VpcEndpoint-Hours", {"operation": "VpcEndpoint"})
    yield Item("endpoint.data", "AmazonVPC", "VpcEndpoint-Bytes", {"operation": "VpcEndpoint"})
    yield Item("alb", "AWSELB", "LoadBalancerUsage", {"operation": "LoadBalancing:Application"})
    yield Item("alb.lcu", "AWSELB", "LCUUsage", {"operation": "LoadBalancing:Application"})
    postgres = {"databaseEngine": "Aurora PostgreSQL"}
    yield Item("aurora.acu", "AmazonRDS", "Aurora:ServerlessV2Usage", postgres)
    yield Item("aurora.storage", "AmazonRDS", "Aurora:StorageUsage", {})
    yield Item("logs", "AmazonCloudWatch", "DataProcessing-Bytes", {"operation": "PutLogEvents"})
    yield Item("metric", "AmazonCloudWatch", "CW:MetricMonitorUsage", {})
    yield Item("alarm", "AmazonCloudWatch", "CW:AlarmMonitorUsage", {})
    yield Item("alarm.composite", "AmazonCloudWatch", "CW:CompositeAlarmMonitorUsage", {})
    yield Item("secret", "AWSSecretsManager", "AWSSecretsManager-Secrets", {})
    yield Item("s3.put", "AmazonS3", "Requests-Tier1", {}, 1000)
    yield Item("s3.get", "AmazonS3", "Requests-Tier2", {}, 1000)
    yield Item("s3.storage", "AmazonS3", "TimedStorage-ByteHrs", {})
    yield Item("key", "awskms", "KMS-Keys", {})


ITEMS: Sequence[Item] = tuple(_items())


def updated(table: Table, regions: Sequence[str], host: str = HOST) -> Table:
    """The table with the list's figures for `regions`; what the list does not have stays as it is.

    Raises Unreachable if a file cannot be read.
    """
    sources, result = dict(table.sources), {region: dict(of) for region, of in table.regions.items()}
    for region in regions:
        found: dict[str, dict[str, float]] = {}
        for service in sorted({each.service for each in ITEMS}):
            offer = _offer(host, service, region)
            if offer is None:
                continue
            date = str(offer["publicationDate"])[:10]
            name = f"aws-list-{date}"
            sources[name] = Source(name="AWS's public price list", date=date)
            found.setdefault(name, {}).update(prices_in(offer))
        new = {item for figures in found.values() for item in figures}
        kept = {
            source: {item: usd for item, usd in figures.items() if item not in new}
            for source, figures in result.get(region, {}).items()
        }
        result[region] = {source: figures for source, figures in (kept | found).items() if figures}
    used = {source for of in result.values() for source in of}
    return Table(
        units=table.units,
        sources={source: about for source, about in sources.items() if source in used},
        regions=result,
    )


def prices_in(offer: Mapping[str, Any]) -> dict[str, float]:
    """`{item: USD}` of one service's file. An item with several different prices is left out."""
    result: dict[str, float] = {}
    for item in ITEMS:
        if item.service != offer["offerCode"]:
            continue
        usage = re.compile(rf"{PREFIX}{re.escape(item.usage)}", re.IGNORECASE)
        found = {
            price
            for sku, product in offer["products"].items()
            if usage.fullmatch(product["attributes"].get("usagetype", ""))
            and all(product["attributes"].get(key) == value for key, value in item.attributes.items())
            for price in _first_tier(offer, sku)
        }
        if len(found) == 1:
            result[item.item] = round(found.pop() * item.per, 10)
    return result


def _first_tier(offer: Mapping[str, Any], sku: str) -> Iterator[float]:
    """The price of the first units that are charged: free tiers are not counted."""
    for term in offer["terms"].get("OnDemand", {}).get(sku, {}).values():
        tiers = sorted(term["priceDimensions"].values(), key=lambda tier: float(tier.get("beginRange") or 0))
        charged = [float(tier["pricePerUnit"]["USD"]) for tier in tiers if "USD" in tier["pricePerUnit"]]
        yield from [usd for usd in charged if usd > 0][:1]


def _offer(host: str, service: str, region: str) -> dict[str, Any] | None:
    """A service's file of one region; None if the list has no such service or region."""
    index = _read(f"{host}/offers/v1.0/aws/{service}/current/region_index.json")
    place = (index or {}).get("regions", {}).get(region)
    return None if place is None else _read(f"{host}{place['currentVersionUrl']}")


def _read(url: str) -> dict[str, Any] | None:
    request = Request(url, headers={"User-Agent": "mwaactl"})  # noqa: S310 - a constant, or a test's
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            content: dict[str, Any] = json.load(answer)
    except URLError as error:
        if getattr(error, "code", None) in (403, 404):  # what S3 says of a file that is not there
            return None
        raise Unreachable(f"AWS's price list cannot be read ({url}: {error.reason})") from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"AWS's price list cannot be read ({url}: {error})") from error
    return content
