"""`mwaactl cost --update` against AWS's price list in its documented format, served on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mwaactl.cli.app import app
from mwaactl.cost import price_list
from mwaactl.cost.price_list import prices_in, updated
from mwaactl.cost.prices import SHIPPED, load_table, save_table, updated_table
from mwaactl.errors import Unreachable
from tests.fakes.pulumi_mocks import ROOT


def offer(
    service: str, products: Mapping[str, tuple[dict[str, str], list[tuple[str, str]]]]
) -> dict[str, Any]:
    """A service's file: `{sku: (attributes, [(begin of the tier, USD)])}`."""
    return {
        "formatVersion": "v1.0",
        "offerCode": service,
        "version": "20261120101010",
        "publicationDate": "2026-11-20T10:10:10Z",
        "products": {
            sku: {"sku": sku, "productFamily": "x", "attributes": {"servicecode": service, **attributes}}
            for sku, (attributes, _) in products.items()
        },
        "terms": {
            "OnDemand": {
                sku: {
                    f"{sku}.JRTCKXETXF": {
                        "offerTermCode": "JRTCKXETXF",
                        "sku": sku,
                        "priceDimensions": {
                            f"{sku}.JRTCKXETXF.{place}": {
                                "unit": "Hrs",
                                "beginRange": begin,
                                "pricePerUnit": {"USD": usd},
                            }
                            for place, (begin, usd) in enumerate(tiers)
                        },
                    }
                }
                for sku, (_, tiers) in products.items()
            },
            "Reserved": {},
        },
    }


LINUX = {"operatingSystem": "Linux", "preInstalledSw": "NA", "tenancy": "Shared", "operation": "RunInstances"}
OFFERS = {
    "AmazonMWAA": offer(
        "AmazonMWAA",
        {
            "A": ({"usagetype": "EU-Airflow-SmallEnvironment"}, [("0", "0.5100000000")]),
            "B": ({"usagetype": "EU-Airflow-SmallWorker"}, [("0", "0.0570000000")]),
        },
    ),
    "AmazonEC2": offer(
        "AmazonEC2",
        {
            "A": ({"usagetype": "EU-BoxUsage:t3.medium", **LINUX}, [("0", "0.0456000000")]),
            "B": (
                {"usagetype": "EU-BoxUsage:t3.medium", **LINUX, "operatingSystem": "Windows"},
                [("0", "0.0640000000")],
            ),
            "C": ({"usagetype": "EU-NatGateway-Hours", "operation": "NatGateway"}, [("0", "0.0480000000")]),
            "D": (
                {"usagetype": "EU-RegionalNatGateway-Hours", "operation": "RegionalNatGateway"},
                [("0", "0.0490000000")],
            ),
            "E": ({"usagetype": "EU-EBS:SnapshotUsage"}, [("0", "0.0500000000")]),
            "F": ({"usagetype": "EU-EBS:SnapshotUsage"}, [("0", "0.0600000000")]),
        },
    ),
    "AmazonS3": offer("AmazonS3", {"A": ({"usagetype": "EU-Requests-Tier1"}, [("0", "0.0000050000")])}),
    "AmazonCloudWatch": offer(
        "AmazonCloudWatch",
        {
            "A": (
                {"usagetype": "EU-CW:MetricMonitorUsage"},
                [("10000", "0.1000000000"), ("0", "0.3000000000")],
            ),
            "B": (
                {"usagetype": "EU-DataProcessing-Bytes", "operation": "PutLogEvents"},
                [("0", "0.0000000000"), ("5", "0.5700000000")],
            ),
        },
    ),
}


class Server:
    """The host of the list; `broken`: a path that ends in the middle."""

    def __init__(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = server.content(self.path)
                self.send_response(200 if content is not None else 403)
                self.end_headers()
                self.wfile.write(content or b"<Error><Code>AccessDenied</Code></Error>")

            def log_message(self, *_: Any) -> None:
                pass

        self.broken = ""
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def content(self, path: str) -> bytes | None:
        service = path.removeprefix("/offers/v1.0/aws/").partition("/")[0]
        if service not in OFFERS:
            return None
        place = f"/offers/v1.0/aws/{service}/20261120101010/eu-west-1/index.json"
        region = {"regionCode": "eu-west-1", "currentVersionUrl": place}
        answers = {
            f"/offers/v1.0/aws/{service}/current/region_index.json": {"regions": {"eu-west-1": region}},
            place: OFFERS[service],
        }
        if path not in answers:
            return None
        whole = json.dumps(answers[path]).encode()
        return whole[:20] if self.broken and self.broken in path else whole


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for key in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(key, raising=False)
    server = Server()
    threading.Thread(target=server.http.serve_forever, daemon=True).start()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_an_update_replaces_what_the_list_has_and_leaves_the_rest(server: Server) -> None:
    table = load_table(SHIPPED)
    new = updated(table, ["eu-west-1"], server.url)
    prices = new.prices("eu-west-1")
    assert {item: price.usd for item, price in prices.items()} == {
        "mwaa.small": 0.51,
        "mwaa.worker.small": 0.057,
        "ec2.t3.medium": 0.0456,
        "nat": 0.048,
        "nat.data": 0.048,  # not in the list: as it was
        "s3.put": 0.005,
        "metric": 0.3,
        "logs": 0.57,
    }
    assert prices["nat"].source.date == "2026-11-20"
    assert prices["nat.data"].source.date == "2026-09-25"
    assert new.regions["us-east-1"] == table.regions["us-east-1"]


def test_two_prices_for_one_item_are_none() -> None:
    assert "ebs.snapshot" not in prices_in(OFFERS["AmazonEC2"])


def test_a_region_that_the_list_does_not_have_stays_as_it_is(server: Server) -> None:
    table = load_table(SHIPPED)
    assert updated(table, ["sa-east-1"], server.url) == table


@pytest.mark.parametrize("part", ["region_index", "20261120101010"])
def test_a_list_that_ends_in_the_middle_changes_nothing(server: Server, part: str) -> None:
    server.broken = part
    with pytest.raises(Unreachable, match="price list cannot be read"):
        updated(load_table(SHIPPED), ["eu-west-1"], server.url)


def test_a_host_that_is_away_is_named() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9/offers"):
        updated(load_table(SHIPPED), ["eu-west-1"], "http://127.0.0.1:9")


def test_every_item_of_the_list_has_a_unit() -> None:
    assert {each.item for each in price_list.ITEMS} <= set(load_table(SHIPPED).units)


def test_the_command_writes_the_table_that_later_commands_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(price_list.updated, "__defaults__", (server.url,))
    arguments = ["cost", "bluegreen", "hamarquez", "--update", "--region", "eu-west-1", "--csv"]
    result = CliRunner().invoke(app, [*arguments, "--cwd", str(ROOT)])
    assert result.exit_code == 0, result.output
    assert "mwaa.small,730.0,hour,0.51,372.3,AWS's public price list,2026-11-20" in result.stdout
    assert load_table().prices("eu-west-1")["mwaa.small"].usd == 0.51


def test_an_update_writes_a_broken_table_anew(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(price_list.updated, "__defaults__", (server.url,))
    updated_table().parent.mkdir()
    updated_table().write_text("{}")
    arguments = ["cost", "standard", "bluegreen", "--cwd", str(ROOT)]
    broken = CliRunner().invoke(app, arguments)
    assert (broken.exit_code, "mwaactl cost --update" in broken.stderr) == (2, True)
    result = CliRunner().invoke(app, [*arguments, "--update", "--region", "eu-west-1"])
    assert result.exit_code == 0, result.output
    assert load_table().regions["us-east-1"] == load_table(SHIPPED).regions["us-east-1"]


def test_a_saved_table_is_read_back(tmp_path: Path) -> None:
    save_table(load_table(SHIPPED), tmp_path / "new" / "prices.json")
    assert load_table(tmp_path / "new" / "prices.json") == load_table(SHIPPED)
