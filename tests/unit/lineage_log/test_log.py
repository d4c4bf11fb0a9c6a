"""The keys of the lineage log, listing it and reading it."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import BotoCoreError
from hypothesis import given
from hypothesis import strategies as st

from lineage_log.event import Event, marquez_run_id
from lineage_log.log import Log, hour_prefix, instant_of, key_at
from local.marquez.double import run_uuid
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START
from tests.fakes.lineage.events import log_event


def test_the_time_of_a_key_is_the_time_it_was_made_from() -> None:
    instant = START + timedelta(microseconds=7)
    assert instant_of(key_at(instant) + "-0123456789ab.json.gz") == instant
    assert key_at(instant) == "events/2026/11/23/10/20261123T100000.000007Z"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "events/readme.txt",
        "events/2026/11/23/10/99991399T999999.000000Z-x.json.gz",
        "events/2026/11/23/10/20991123T100000.000000Z-x.json.gz",
    ],
)
def test_a_key_of_another_form_has_no_time(key: str) -> None:
    assert instant_of(key) is None


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "now", 5, None])
def test_an_event_of_no_time_that_utc_has_is_an_event_without_one(time: Any) -> None:
    assert Event.parse("key", json.dumps({"eventTime": time}).encode()).instant is None


def test_an_hour_is_listed_by_its_own_prefix(s3: FakeS3) -> None:
    inside, outside = log_event(s3, 10, "START"), log_event(s3, 3600, "START")
    pages = Log(cast(Any, s3), LINEAGE_LOG).pages("", prefix=hour_prefix(START))
    assert [entry.key for page in pages for entry in page] == [inside]
    assert outside not in s3.listed


@pytest.fixture
def cut_off() -> Iterator[str]:
    """The URL of an S3 whose connections end in the middle of an object."""
    whole = gzip.compress(b'{"eventType": "START"}')
    head = f'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: {len(whole)}\r\n\r\n'.encode()
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        try:
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(head + whole[:20])
        except OSError:
            pass  # closed

    thread = threading.Thread(target=answer)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def test_half_an_object_is_a_failure_of_s3_and_not_a_bad_event(cut_off: str) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=cut_off,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    with pytest.raises(BotoCoreError):
        Log(s3, "log").read("events/x")
    s3.close()


@given(st.one_of(st.text(), st.uuids().map(str), st.from_regex(r"[0-9a-fA-F-]{1,40}", fullmatch=True)))
def test_a_run_is_known_to_marquez_by_the_id_that_its_double_gives_it(text: str) -> None:
    assert marquez_run_id(text) == run_uuid(text)
