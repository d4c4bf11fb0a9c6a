"""What `mwaactl` shows of further sinks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from forwarder.checkpoint_keeper import CheckpointKeeper
from mwaactl.acceptance.doctor import examine
from mwaactl.acceptance.line import Line
from mwaactl.lineage.status import checkpoint_keys
from tests.fakes.aws.clients import FakeClients, deployment
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.events import log_event
from tests.fakes.lineage.forwarders import CHECKPOINT_KEY, keeper_of
from tests.fakes.mwaactl.commands import Command, output

STACK: dict[str, Any] = {"lineage_sinks": ["catalog", "zone"], "lineage_log_bucket": LINEAGE_LOG}


def at_work(s3: FakeS3, sink: str, node: str) -> None:
    """Its forwarder holds the place, and has just saved it."""
    key = f"forwarder/sink-{sink}.json"
    keeper = CheckpointKeeper(cast(Any, s3), LINEAGE_LOG, key, holder=node, lease=10)
    assert keeper.try_take(START) is not None
    s3.lineage.modified[key] = START + timedelta(hours=2)


def refuse(s3: FakeS3, sink: str) -> None:
    key = log_event(s3, 1, "START").replace("events/", f"sinks/{sink}/", 1)
    s3.put_object(Bucket=LINEAGE_LOG, Key=key, Body=b"{}")


def test_status_has_the_place_of_each_and_what_it_refused(run: Command, s3: FakeS3) -> None:
    at_work(s3, "catalog", "node-1")
    refuse(s3, "catalog")
    status = output(run("status", "--json"))
    assert [(each["sink"], each["holder"]) for each in status["checkpoints"]] == [("catalog", "node-1")]
    assert (status["set_aside"], status["set_aside_by_sink"]) == (0, {"catalog": 1})
    text = run("status").stdout
    assert "1 by the sink catalog: aws s3 ls --recursive" in text
    assert f"s3://{LINEAGE_LOG}/sinks/catalog/" in text


def test_no_doubts_of_marquez_are_left_to_a_sink(s3: FakeS3) -> None:
    at_work(s3, "catalog", "node-1")
    assert keeper_of(s3, "node-1").try_take(START) is not None
    assert checkpoint_keys(cast(Any, s3), LINEAGE_LOG) == [CHECKPOINT_KEY]
    assert checkpoint_keys(cast(Any, s3), LINEAGE_LOG, of_sinks=True) == ["forwarder/sink-catalog.json"]


def test_the_doctor_looks_at_the_forwarder_of_each(aws: FakeClients, s3: FakeS3) -> None:
    aws.s3 = s3
    aws.ssm.clock.now = START + timedelta(hours=2)
    at_work(s3, "catalog", "node-1")
    refuse(s3, "zone")
    lines: dict[str, Line] = {each.name: each for each in examine(deployment(aws, **STACK)).lines}
    assert "node-1 is at work" in lines["forwarder-catalog"].detail
    assert lines["forwarder-zone"].result == "fail"
    assert "from the log to zone" in lines["forwarder-zone"].detail
    assert "to Marquez" in lines["forwarder"].detail, "a sink's place is not Marquez's"
    assert lines["set-aside-zone"].result == "warn"
