"""The forwarder, on an S3 in memory and against a real HTTP server."""

from __future__ import annotations

import json
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from forwarder import __main__ as command
from forwarder.carry import Forwarder, Timing, UnreachableError
from forwarder.deliver import Marquez
from forwarder.log import Log, instant_of, key_at
from forwarder.metrics import Metrics
from forwarder.place import BadPlaceError, LostPlaceError, Place, PlaceKeeper
from tests.unit.forwarder_doubles import START, FakeMarquez, MemoryS3, serve

PLACE = "forwarder/place.json"
QUICK = Timing(poll=0.01, settle=0, window=600, longest_backoff=0.01, give_up=5, rest=0.05)


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3(page_size=3)


@pytest.fixture
def marquez() -> Iterator[FakeMarquez]:
    fake = FakeMarquez()
    server = serve(fake)
    yield fake
    server.shutdown()
    server.server_close()


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def keeper(
    s3: MemoryS3, holder: str = "a", clock: Callable[[], float] = time.monotonic, lease: float = 60
) -> PlaceKeeper:
    return PlaceKeeper(cast(Any, s3), "log", PLACE, holder=holder, lease=lease, clock=clock)


def forwarder(
    s3: MemoryS3,
    marquez: FakeMarquez,
    *,
    place: PlaceKeeper | None = None,
    timing: Timing = QUICK,
    seconds: float = 86400,
    **options: Any,
) -> Forwarder:
    """A forwarder whose wall clock stands `seconds` after START."""

    def now() -> datetime:
        return START + timedelta(seconds=seconds)

    source, server = Log(cast(Any, s3), "log"), Marquez(marquez.url, timeout=5)
    return Forwarder(source, place or keeper(s3), server, timing, now=now, **options)


# Keys


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


# Delivery


def test_events_are_delivered_in_the_order_of_their_times(s3: MemoryS3, marquez: FakeMarquez) -> None:
    seconds = list(range(100))
    random.Random(1).shuffle(seconds)
    for second in seconds:
        s3.log(second * 60, "OTHER", name=f"{second:03}")
    assert forwarder(s3, marquez).once(1) == 100
    assert marquez.accepted("name") == [f"{second:03}" for second in range(100)]


def test_what_was_delivered_is_not_delivered_again(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.log(1, "START")
    forwarder(s3, marquez).once(1)
    s3.log(2, "COMPLETE")
    assert forwarder(s3, marquez).once(1) == 1
    assert marquez.accepted("eventType") == ["START", "COMPLETE"]


@pytest.mark.parametrize("status", [500, 502, 503, 404])
def test_a_failing_server_is_asked_again_and_the_order_kept(
    s3: MemoryS3, marquez: FakeMarquez, status: int
) -> None:
    s3.log(1, "START")
    s3.log(2, "COMPLETE")
    marquez.answers = [status, status, 201, status]
    forwarder(s3, marquez).once(1)
    assert marquez.accepted("eventType") == ["START", "COMPLETE"]
    assert marquez.tried == 5


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_event_is_set_aside_and_the_next_one_goes_on(
    s3: MemoryS3, marquez: FakeMarquez, status: int
) -> None:
    refused = s3.log(1, "START", run="bad")
    s3.log(2, "START", run="good")
    marquez.answers = [status]
    forwarder(s3, marquez).once(1)
    assert [event["run"]["runId"] for event in marquez.posted] == ["good"]
    aside = refused.replace("events/", "set-aside/", 1)
    assert s3.objects[aside] == s3.objects[refused]
    assert s3.metadata[aside]["reason"] == f"HTTP {status}: answer"


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08 not gzip", b"\x1f\x8b"])
def test_an_unreadable_object_is_set_aside_unposted(
    s3: MemoryS3, marquez: FakeMarquez, content: bytes
) -> None:
    key = s3.log(1, "START")
    s3.objects[key] = content
    forwarder(s3, marquez).once(1)
    assert marquez.tried == 0
    assert s3.objects[key.replace("events/", "set-aside/", 1)] == content


def test_an_event_that_alone_makes_the_server_fail_is_set_aside(s3: MemoryS3, marquez: FakeMarquez) -> None:
    poison = s3.log(1, "START", run="poison")
    s3.log(2, "START", run="good")
    marquez.answers = [500] * 5
    forwarder(s3, marquez).once(1)
    assert [event["run"]["runId"] for event in marquez.posted] == ["good"]
    assert poison.replace("events/", "set-aside/", 1) in s3.objects


def test_nothing_is_set_aside_while_the_database_is_down(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.log(1, "START")
    marquez.answers, marquez.queries = [500] * 20, 500
    forwarder(s3, marquez).once(1)
    assert marquez.accepted("eventType") == ["START"]
    assert not any(key.startswith("set-aside/") for key in s3.objects)


def test_a_server_that_stays_away_ends_the_attempt_without_moving_the_place(
    s3: MemoryS3, marquez: FakeMarquez
) -> None:
    s3.log(1, "START")
    marquez.answers = [503] * 1000
    impatient = Timing(poll=0.01, settle=0, longest_backoff=0.01, give_up=0.1)
    with pytest.raises(UnreachableError, match="503"):
        forwarder(s3, marquez, timing=impatient).once(1)
    marquez.answers = []
    assert forwarder(s3, marquez).once(1) == 1


def test_an_event_that_expired_meanwhile_is_passed_over(s3: MemoryS3, marquez: FakeMarquez) -> None:
    class Expiring(MemoryS3):
        def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
            return super().get_object(Bucket=Bucket, Key=Key + ("gone" if Key == expired else ""))

    bucket = Expiring()
    expired = bucket.log(1, "START")
    bucket.log(2, "COMPLETE")
    forwarder(bucket, marquez).once(1)
    assert marquez.accepted("eventType") == ["COMPLETE"]


# Late and early objects


def test_an_object_that_comes_late_is_delivered_within_the_window(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.log(500, "START", run="one")
    forwarder(s3, marquez).once(1)
    s3.log(100, "START", run="late")
    assert forwarder(s3, marquez).once(1) == 1
    assert [event["run"]["runId"] for event in marquez.posted] == ["one", "late"]


def test_a_late_start_does_not_leave_its_run_running(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.log(20, "COMPLETE", run="one")
    s3.log(30, "COMPLETE", run="other")
    forwarder(s3, marquez).once(1)
    s3.log(10, "START", run="one")
    forwarder(s3, marquez).once(1)
    of_one = [event["eventType"] for event in marquez.posted if event["run"]["runId"] == "one"]
    assert of_one == ["COMPLETE", "START", "COMPLETE"]
    assert len(marquez.posted) == 4


def test_an_event_is_carried_only_when_its_time_has_settled(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.log(10, "START")
    settling = Timing(poll=0.01, settle=2, longest_backoff=0.01)
    assert forwarder(s3, marquez, timing=settling, seconds=11.9).once(1) == 0
    assert forwarder(s3, marquez, timing=settling, seconds=12.1).once(1) == 1


def test_an_event_from_the_future_does_not_hide_the_present(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.log(50_000, "START", run="future")
    assert forwarder(s3, marquez, seconds=100).once(1) == 0
    s3.log(50, "START", run="present")
    assert forwarder(s3, marquez, seconds=100).once(1) == 1


def test_the_place_remembers_no_more_than_the_window(s3: MemoryS3, marquez: FakeMarquez) -> None:
    for minute in range(120):
        s3.log(minute * 60, "OTHER")
    forwarder(s3, marquez).once(1)
    place = keeper(s3).try_take()
    assert place is not None
    assert len(place.seen) == 11  # ten minutes, both ends included


@pytest.mark.parametrize(
    "stranger", ["events/2026/11/readme", "events/2026/11/23/10/20991123T100000.000000Z-x.json.gz"]
)
def test_a_stranger_in_the_log_neither_stops_nor_repeats_anything(
    s3: MemoryS3, marquez: FakeMarquez, stranger: str
) -> None:
    s3.log(0, "START", name="long before")
    s3.log(3000, "START", name="before")
    a_month_later = 86400 * 31
    forwarder(s3, marquez, seconds=a_month_later).once(1)
    s3.objects[stranger] = b'{"name": "stranger"}'
    for _ in range(3):
        forwarder(s3, marquez, seconds=a_month_later).once(1)
    s3.log(3600, "START", name="after")
    forwarder(s3, marquez, seconds=a_month_later).once(1)
    assert sorted(marquez.accepted("name")) == ["after", "before", "long before", "stranger"]


# The place


def test_two_forwarders_cannot_both_begin(s3: MemoryS3) -> None:
    first, second = keeper(s3, "a"), keeper(s3, "b")
    assert first.try_take() == Place()
    assert second.try_take() is None


def test_of_two_that_begin_at_once_one_wins(s3: MemoryS3) -> None:
    class Slow(MemoryS3):
        """Both have read before either writes."""

        def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
            try:
                return super().get_object(Bucket=Bucket, Key=Key)
            finally:
                both_have_read.wait(5)

    both_have_read = threading.Barrier(2)
    bucket = Slow()
    taken: list[Place | None] = []
    threads = [
        threading.Thread(target=lambda name=name: taken.append(keeper(bucket, name).try_take()))
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(place is not None for place in taken) == [False, True]


def test_a_dead_forwarders_place_is_taken_after_the_lease_and_not_before(s3: MemoryS3) -> None:
    clock, key = Clock(), s3.log(1, "START")
    dead, heir = keeper(s3, "dead", clock), keeper(s3, "heir", clock)
    place = dead.try_take()
    assert place is not None
    dead.save(place.past(key))
    assert heir.try_take() is None
    clock.seconds += 59
    assert heir.try_take() is None
    clock.seconds += 2
    assert heir.try_take() == Place(key, frozenset({key}))


def test_a_living_forwarder_keeps_its_place_however_long_it_works(s3: MemoryS3) -> None:
    clock = Clock()
    living, waiting = keeper(s3, "living", clock), keeper(s3, "waiting", clock)
    place = living.try_take()
    assert place is not None
    for _ in range(20):
        clock.seconds += 25
        living.renew(place)
        assert waiting.try_take() is None


def test_a_forwarder_that_was_paused_posts_nothing_after_another_took_over(
    s3: MemoryS3, marquez: FakeMarquez
) -> None:
    clock = Clock()
    paused = keeper(s3, "paused", clock)
    waking = forwarder(s3, marquez, place=paused)
    waking.once(1)
    place = paused.try_take()
    assert place is not None
    heir = keeper(s3, "heir", clock)
    assert heir.try_take() is None
    clock.seconds += 61
    assert heir.try_take() is not None
    s3.log(1, "START")
    with pytest.raises(LostPlaceError):
        waking._pass()
    assert marquez.tried == 0


def test_a_place_given_up_is_free_at_once(s3: MemoryS3) -> None:
    first, second = keeper(s3, "a"), keeper(s3, "b")
    place = first.try_take()
    assert place is not None
    first.give_up(place)
    assert second.try_take() == place


def test_one_that_did_not_hear_of_its_own_success_goes_on(s3: MemoryS3) -> None:
    """S3 took the write, the answer was lost, and the repeated write was refused."""
    mine = keeper(s3, "a")
    place = mine.try_take()
    assert place is not None
    kept = json.loads(s3.objects[PLACE]) | {"frontier": "events/x", "beat": 99}
    s3.objects[PLACE] = json.dumps(kept).encode()
    with pytest.raises(LostPlaceError):
        mine.save(place)
    assert mine.try_take() == Place("events/x")


def test_a_broken_place_is_reported_with_the_way_out(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.objects[PLACE] = b'{"frontier": 1}'
    with pytest.raises(BadPlaceError, match=re.escape("aws s3 rm s3://log/forwarder/place.json")):
        forwarder(s3, marquez).once(1)


# Running


def run_until(done: Callable[[], bool], *forwarders: tuple[Forwarder, threading.Event]) -> None:
    """Run them in threads until `done()`, then stop them."""
    threads = [threading.Thread(target=each.run) for each, _ in forwarders]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    for _, stop in forwarders:
        stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert done()


def running(
    s3: MemoryS3, marquez: FakeMarquez, holder: str, **options: Any
) -> tuple[Forwarder, threading.Event]:
    stop = threading.Event()
    return forwarder(s3, marquez, place=keeper(s3, holder), stop=stop, **options), stop


def test_two_running_forwarders_deliver_each_event_once(s3: MemoryS3, marquez: FakeMarquez) -> None:
    for second in range(60):
        s3.log(second, "OTHER", name=f"{second:02}")
    run_until(lambda: len(marquez.posted) >= 60, running(s3, marquez, "a"), running(s3, marquez, "b"))
    assert marquez.accepted("name") == [f"{second:02}" for second in range(60)]


def test_a_stopped_forwarder_leaves_its_place_to_the_next(s3: MemoryS3, marquez: FakeMarquez) -> None:
    s3.log(1, "START")
    run_until(lambda: len(marquez.posted) == 1, running(s3, marquez, "a"))
    s3.log(2, "COMPLETE")
    run_until(lambda: len(marquez.posted) == 2, running(s3, marquez, "b"))
    assert marquez.accepted("eventType") == ["START", "COMPLETE"]


def test_a_node_whose_marquez_is_away_leaves_the_work_to_the_other(
    s3: MemoryS3, marquez: FakeMarquez
) -> None:
    s3.log(1, "START")
    away = FakeMarquez(url="http://127.0.0.1:9")  # nobody listens there
    impatient = Timing(poll=0.01, settle=0, longest_backoff=0.01, give_up=0.05, rest=0.5)
    alone = running(s3, away, "a", timing=impatient)
    helped = running(s3, marquez, "b")
    run_until(lambda: len(marquez.posted) == 1, alone, helped)


def test_trouble_with_s3_passes(s3: MemoryS3, marquez: FakeMarquez) -> None:
    class Shaky(MemoryS3):
        failures = 3

        def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
            if self.failures:
                self.failures -= 1
                raise EndpointConnectionError(endpoint_url="http://s3")
            return super().paginate(**arguments)

    bucket = Shaky()
    bucket.log(1, "START")
    run_until(lambda: len(marquez.posted) == 1, running(bucket, marquez, "a"))


# The command


def test_the_command_delivers_what_is_there_and_ends(
    s3: MemoryS3, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.log(-86400 * 365, "START")
    monkeypatch.setattr(boto3, "client", lambda service, **_: s3)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    arguments = ["--bucket", "log", "--to", marquez.url, "--place", "forwarder/db-1.json", "--once"]
    assert command.main(arguments) == 0
    assert marquez.accepted("eventType") == ["START"]
    assert "forwarder/db-1.json" in s3.objects


def test_the_command_refuses_what_is_not_a_server(
    s3: MemoryS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(boto3, "client", lambda service, **_: s3)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert command.main(["--bucket", "log", "--to", "marquez:5000"]) == 2
    assert "like http://127.0.0.1:5000" in caplog.text


# Metrics


class Recorder:
    def __init__(self) -> None:
        self.reports: list[dict[str, float]] = []

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803
        self.reports.append({each["MetricName"]: each["Value"] for each in MetricData})


def test_metrics_are_summed_up_and_sent_once_a_minute() -> None:
    recorder = Recorder()
    metrics = Metrics(recorder, "Test")
    metrics.caught_up(START)
    metrics.carried(10, key_at(START) + "-x.json.gz", START + timedelta(seconds=30))
    metrics.set_aside()
    metrics.carried(5, key_at(START) + "-x.json.gz", START + timedelta(seconds=61))
    assert recorder.reports == [
        {"SecondsBehind": 0, "Carried": 0, "SetAside": 0},
        {"SecondsBehind": 61, "Carried": 15, "SetAside": 1},
    ]


def test_events_are_carried_although_metrics_cannot_be_sent(s3: MemoryS3, marquez: FakeMarquez) -> None:
    class Broken(Recorder):
        def put_metric_data(self, **_: Any) -> None:
            raise EndpointConnectionError(endpoint_url="http://monitoring")

    s3.log(1, "START")
    assert forwarder(s3, marquez, metrics=Metrics(Broken(), "Test")).once(1) == 1
