"""Further sinks: each event once in order, refusals set aside, and a place of each one's own."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from forwarder import __main__ as command
from forwarder.checkpoint_keeper import CheckpointKeeper
from forwarder.forwarder import Forwarder
from forwarder.sink import DATAZONE_MOST, DataZoneSink, HttpSink, SinkCarrier, SinkServer, secret_reader
from lineage_log.http_server import Answer
from lineage_log.log import Log, key_at
from lineage_log.patient_client import Patience, StoppedError, UnreachableError
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import LINEAGE_LOG, FakeS3
from tests.fakes.clock import START, Clock
from tests.fakes.lineage.forwarders import QUICK
from tests.fakes.lineage.marquez import FakeMarquez
from tests.fakes.lineage.sink import PATH, FakeDataZone, FakeSink, serve

PLACE = "forwarder/sink-catalog.json"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:token-AbCdEf"
DOMAIN = "dzd_4kq9example"
NAME = "catalog"


@pytest.fixture
def sink() -> Iterator[FakeSink]:
    fake = FakeSink()
    server = serve(fake)
    yield fake
    server.shutdown()
    server.server_close()


def event(s3: FakeS3, number: int, job: str = "job", late: float = 0, **changes: Any) -> str:
    """Write one to the log that any sink takes; its key."""
    instant = START + timedelta(seconds=number)
    content = {
        "eventTime": instant.isoformat(),
        "eventType": "START" if number % 2 else "COMPLETE",
        "run": {"runId": str(uuid.UUID(int=number))},
        "job": {"namespace": "test", "name": job},
        "producer": "urn:test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "name": str(number),
        **changes,
    }
    key = f"{key_at(instant)}-{number:012}.json.gz"
    s3.lineage.objects[key] = gzip.compress(json.dumps(content).encode())
    s3.lineage.modified[key] = instant + timedelta(seconds=late)
    return key


def http(sink: FakeSink, *values: str, agent: str = "test") -> HttpSink:
    """Whose secret has these values, one after the other."""
    left = list(values or ("Bearer good",))
    read = lambda: left.pop(0) if len(left) > 1 else left[0]  # noqa: E731
    return HttpSink(sink.url, timeout=5, agent=agent, header="Authorization", secret=read)


def to(
    s3: Any,
    server: SinkServer,
    *,
    holder: str = "a",
    lease: Clock | None = None,
    stop: threading.Event | None = None,
    patience: Patience = QUICK.patience,
) -> Forwarder:
    keeper = CheckpointKeeper(
        s3, LINEAGE_LOG, PLACE, holder=holder, lease=60, **({"clock": lambda: lease.seconds} if lease else {})
    )
    timing = type(QUICK)(poll=0.01, settle=0, window=120, rest=0.05, patience=patience)
    return Forwarder(
        Log(s3, LINEAGE_LOG),
        keeper,
        SinkCarrier(NAME, server),
        timing,
        now=lambda: START + timedelta(hours=1),
        stop=stop,
    )


def aside(s3: FakeS3) -> list[str]:
    return s3.lineage.keys("sinks/")


def test_each_event_is_posted_once_and_those_of_a_job_in_order(s3: FakeS3, sink: FakeSink) -> None:
    for number in range(60):
        event(s3, number, job=f"job-{number % 3}")
    assert to(s3, http(sink)).once(1) == 60
    assert to(s3, http(sink)).once(1) == 0
    by_job: dict[str, list[int]] = {}
    for each in sink.taken:
        by_job.setdefault(each["job"]["name"], []).append(int(each["name"]))
    assert {job: sorted(numbers) for job, numbers in by_job.items()} == by_job
    assert sorted(map(int, sink.names())) == [*range(60)]
    assert aside(s3) == []


def test_a_late_event_is_posted_as_it_is(s3: FakeS3, sink: FakeSink) -> None:
    event(s3, 3590)
    worker = to(s3, http(sink))
    assert worker.once(1) == 1
    event(s3, 3589, late=5)
    assert worker.once(1) == 1
    assert sink.names() == ["3590", "3589"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {}),
        (403, {}),
        (404, {}),
        (429, {"Retry-After": "1"}),
        (429, {"Retry-After": "Sat, 28 Nov 2026 15:00:00 GMT"}),
        (500, {}),
        (503, {"Retry-After": "0"}),
        (301, {"Location": "https://elsewhere.example/"}),
        (307, {"Location": "https://elsewhere.example/"}),
    ],
)
def test_what_may_pass_is_tried_again_and_nothing_is_set_aside(
    s3: FakeS3, sink: FakeSink, status: int, headers: dict[str, str]
) -> None:
    sink.answers = [(status, headers)] * 2
    for number in range(4):
        event(s3, number)
    assert to(s3, http(sink)).once(1) == 4
    assert sink.names() == ["0", "1", "2", "3"]
    assert sink.refused == [status] * 2
    assert aside(s3) == []


def test_a_sink_that_asks_to_wait_is_not_asked_again_before(s3: FakeS3, sink: FakeSink) -> None:
    times: list[float] = []
    sink.before = lambda: times.append(time.monotonic())
    sink.answers = [(429, {"Retry-After": "1"})]
    event(s3, 1)
    to(s3, http(sink)).once(1)
    assert times[1] - times[0] >= 1


def test_a_redirect_is_not_followed_and_the_log_names_its_end(
    s3: FakeS3, sink: FakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answers = [(308, {"Location": "https://elsewhere.example/x"})] * 10**3
    event(s3, 1)
    with pytest.raises(UnreachableError, match=r"redirects to https://elsewhere\.example/x"):
        to(s3, http(sink), patience=Patience(longest_pause=0.01, give_up=0.1)).once(1)
    assert sink.taken == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"name": "x" * 200_000}, 413), ({"eventType": "WRONG"}, 422), ({"run": {"runId": "no uuid"}}, 422)],
)
def test_an_event_that_is_refused_is_set_aside_with_the_reason_and_others_go_on(
    s3: FakeS3, sink: FakeSink, changes: dict[str, Any], status: int
) -> None:
    event(s3, 0)
    bad = event(s3, 1, **changes)
    event(s3, 2)
    to(s3, http(sink)).once(1)
    assert sink.names() == ["0", "2"]
    [key] = aside(s3)
    assert key == bad.replace("events/", f"sinks/{NAME}/", 1)
    reason = s3.head_object(Bucket=LINEAGE_LOG, Key=key)["Metadata"]["reason"]
    assert reason.startswith(f"HTTP {status}")
    assert s3.lineage.keys("set-aside/") == [], "that is Marquez's"


def test_a_sink_that_refuses_everything_gets_nothing_set_aside(s3: FakeS3, sink: FakeSink) -> None:
    """A wrong address, perhaps: it refuses the forwarder's own small event as well."""
    sink.answers = [(400, {})] * 10**3
    event(s3, 1)
    with pytest.raises(UnreachableError):
        to(s3, http(sink), patience=Patience(longest_pause=0.01, give_up=0.1)).once(1)
    assert aside(s3) == []


# --- the secret ---


def test_a_rotated_secret_is_read_again(s3: FakeS3, sink: FakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forwarder.sink.SECRET_AGAIN", 0)
    event(s3, 1)
    to(s3, http(sink, "Bearer old", "Bearer good")).once(1)
    assert sink.names() == ["1"]
    assert sink.refused[0] == 401


def test_a_secret_that_cannot_be_read_or_sent_is_waited_for(s3: FakeS3, sink: FakeSink) -> None:
    binary = ValueError("it is kept as binary, not as text")
    answers: list[Any] = [
        *(client_error("AccessDeniedException", 400), binary, "two\nlines", "", "Bearer good\n")
    ]

    def read() -> str:
        answer = answers.pop(0)
        if isinstance(answer, str):
            return answer
        raise answer

    server = HttpSink(sink.url, timeout=5, agent="test", header="Authorization", secret=read)
    event(s3, 1)
    to(s3, server).once(1)
    assert sink.names() == ["1"]


def test_a_secret_that_is_kept_as_binary_is_no_text() -> None:
    client = SimpleNamespace(get_secret_value=lambda **_: {"SecretBinary": b"Bearer good"})
    with pytest.raises(ValueError, match="kept as binary"):
        secret_reader(cast(Any, client), "arn")()


@pytest.mark.parametrize("path", ["/api/lineage", "/api/lineage/", ""])
def test_the_url_is_used_as_it_is(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def exchange(_: Any, __: Any, method: str, path: str, *___: Any) -> Answer:
        asked.append(server._root + path)
        return Answer(201, "")

    server = HttpSink(f"http://127.0.0.1:9{path}", timeout=1, agent="test")
    monkeypatch.setattr(HttpSink, "_exchange", exchange)
    assert server.post(b"{}").delivered
    assert asked == [path or "/"]


def test_the_secret_is_in_no_log_no_checkpoint_and_no_reason(
    s3: FakeS3, sink: FakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sink.answers = [(500, {})] * 2
    event(s3, 0)
    event(s3, 1, eventType="WRONG")
    to(s3, http(sink)).once(1)
    written = b"".join(s3.lineage.objects.values())
    assert b"good" not in written
    [key] = aside(s3)
    assert "good" not in str(s3.head_object(Bucket=LINEAGE_LOG, Key=key)["Metadata"])
    assert "***" in caplog.text
    assert "Bearer good" not in caplog.text


# --- DataZone ---


def test_datazone_takes_events_up_to_its_limit_and_larger_ones_are_set_aside_unasked(s3: FakeS3) -> None:
    zone = FakeDataZone(DOMAIN)
    event(s3, 0)
    empty = len(gzip.decompress(s3.lineage.objects[event(s3, 1, name="")]))
    event(s3, 1, name="x" * (DATAZONE_MOST - empty))
    large = event(s3, 5, name="x" * (DATAZONE_MOST - empty + 1))
    event(s3, 6)
    to(s3, DataZoneSink(zone, DOMAIN)).once(1)
    assert [len(each["name"]) > 1 for each in zone.taken] == [False, True, False]
    [key] = aside(s3)
    assert key.endswith(large.rpartition("/")[2])
    reason = s3.head_object(Bucket=LINEAGE_LOG, Key=key)["Metadata"]["reason"]
    assert reason == "300001 bytes, more than the 300000 that the sink takes"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 429),
        ("InternalServerException", 500),
        ("AccessDeniedException", 403),
        ("UnauthorizedException", 401),
        ("ExpiredTokenException", 400),
        ("ServiceQuotaExceededException", 402),
    ],
)
def test_what_datazone_may_take_later_is_tried_again(s3: FakeS3, code: str, status: int) -> None:
    zone = FakeDataZone(DOMAIN)
    zone.errors = [(code, status)] * 2
    event(s3, 1)
    event(s3, 2)
    to(s3, DataZoneSink(zone, DOMAIN)).once(1)
    assert [each["name"] for each in zone.taken] == ["1", "2"]
    assert aside(s3) == []


def test_what_datazone_says_is_no_event_is_set_aside(s3: FakeS3) -> None:
    zone = FakeDataZone(DOMAIN)
    event(s3, 1, run={"runId": "no uuid"})
    event(s3, 2)
    to(s3, DataZoneSink(zone, DOMAIN)).once(1)
    assert [each["name"] for each in zone.taken] == ["2"]
    assert len(aside(s3)) == 1


# --- killed ---


class Mortal(FakeS3):
    """The S3 of a process that writes and posts so often, and is gone."""

    def __init__(self, other: FakeS3, left: int, stop: threading.Event) -> None:
        super().__init__()
        self.buckets, self.lock, self.written = other.buckets, other.lock, other.written
        self.left, self.stop, self.counting = left, stop, threading.Lock()

    def lives(self) -> bool:
        with self.counting:
            self.left -= 1
            if self.left < 0:
                self.stop.set()
            return self.left >= 0

    def put_object(self, **arguments: Any) -> dict[str, Any]:
        if not self.lives():
            raise EndpointConnectionError(endpoint_url="s3")
        return super().put_object(**arguments)

    def copy_object(self, **arguments: Any) -> None:
        if not self.lives():
            raise EndpointConnectionError(endpoint_url="s3")
        super().copy_object(**arguments)


class MortalZone(DataZoneSink):
    """Asks DataZone while its process lives; a post may arrive though its answer is not heard."""

    def __init__(self, zone: FakeDataZone, process: Mortal) -> None:
        super().__init__(zone, DOMAIN)
        self._process = process

    def post(self, text: bytes) -> Any:
        if not self._process.lives():
            raise StoppedError
        answer = super().post(text)
        if not self._process.lives():
            raise StoppedError
        return answer


@pytest.mark.parametrize("left", range(20))
def test_killed_at_any_point_nothing_is_lost_nothing_is_aside_twice_and_the_order_stays(left: int) -> None:
    """Its successor posts again what no checkpoint says, and only that."""
    s3, zone, lease = FakeS3(), FakeDataZone(DOMAIN), Clock()
    for number in range(6):
        event(s3, number, eventType="WRONG" if number == 3 else "START")
    stop = threading.Event()
    process = Mortal(s3, left, stop)
    with suppress(StoppedError, EndpointConnectionError):
        to(process, MortalZone(zone, process), holder="killed", lease=lease, stop=stop).once(1)
    heir = to(s3, DataZoneSink(zone, DOMAIN), holder="heir", lease=lease)
    with suppress(Exception):
        heir.once(0)
    lease.forward(61)
    heir.once(1)
    assert [each["name"] for each in zone.taken] == ["0", "1", "2", "4", "5"]
    assert len(aside(s3)) == 1


# --- beside Marquez ---


def test_the_places_of_marquez_and_of_two_sinks_are_apart(
    s3: FakeS3, sink: FakeSink, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = FakeDataZone(DOMAIN)

    class Secrets:
        def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803
            assert SecretId == SECRET
            return {"SecretString": "Bearer good"}

    clients: dict[str, Any] = {"s3": s3, "datazone": zone, "secretsmanager": Secrets()}
    monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    event(s3, 1)
    places = (
        ["--to", marquez.url],
        ["--sink", "catalog", "--to", sink.url, "--secret", SECRET],
        ["--sink", "zone", "--datazone", DOMAIN],
    )
    for place in places * 2:
        assert command.main(["--bucket", LINEAGE_LOG, "--once", *place]) == 0
    assert (len(marquez.posted), len(sink.taken), len(zone.taken)) == (1, 1, 1)
    assert s3.lineage.keys("forwarder/") == [
        "forwarder/checkpoint.json",
        "forwarder/sink-catalog.json",
        "forwarder/sink-zone.json",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--datazone", DOMAIN],
        ["--to", "http://m", "--secret", SECRET],
        ["--to", "http://m", "--datazone", "d"],
    ],
)
def test_options_of_sinks_alone_are_refused_for_marquez(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        command.main(["--bucket", LINEAGE_LOG, *arguments])
    assert refusal.value.code == 2


def test_an_endpoint_is_posted_to_at_exactly_its_path(sink: FakeSink) -> None:
    client = http(sink)
    assert sink.url.endswith(PATH)
    assert client.probe().status == 200
    client.close()
    wrong = FakeSink(url=f"{sink.url}/more")
    client = http(wrong)
    assert client.probe().status == 404
    client.close()
