"""Timelines that take long to read: what stands in an object in S3, and what the host keeps."""

from __future__ import annotations

import gc
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from bluegreen import aws
from bluegreen import store as store_module
from bluegreen.aws import AwsError
from bluegreen.document import dump, latest_valid
from bluegreen.store import SHAPE, OwnershipUnknown

from tests.fakes.airflow.host import NOW, Host, due, valid
from tests.fakes.timeline import dumped, initial

CROWDED = initial().switched("green", due(-1800), 2, known=[f"a_serial_dag_{n:04}" for n in range(900)])
DOCUMENT = dump(CROWDED, due(0))


@pytest.fixture
def pointing(host: Host, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The parameter points to an object; the counter has what is asked of S3, and "fail" to let that fail."""
    asked: Counter[str] = Counter()

    def request(service: str, method: str, path: str, **more: Any) -> bytes:
        asked[path] += 1
        if asked["fail"]:
            raise AwsError("https://log.s3: 503 SlowDown")
        assert (service, method, more["bucket"]) == ("s3", "GET", "log")
        return (DOCUMENT.content or "").encode()

    monkeypatch.setattr(aws, "request", request)
    host.answer = valid(DOCUMENT.value, 2, due(-1800))
    return asked


def test_the_content_is_read_once_for_all_processes_of_a_host(pointing: Counter[str], host: Host) -> None:
    for _ in range(3):
        host.seconds += 100
        for _ in range(2):
            process = host.process()
            assert process.timeline(due(host.seconds), wait=0).known == CROWDED.known
    assert pointing == {f"/ownership/{DOCUMENT.name}.json": 1}


def test_without_the_content_there_is_no_verdict(pointing: Counter[str], host: Host) -> None:
    pointing["fail"] = 1
    with pytest.raises(OwnershipUnknown, match=f"s3://log/ownership/{DOCUMENT.name}.json: .*503 SlowDown"):
        host.process().timeline(due(0), wait=0)


def test_a_process_that_has_a_timeline_needs_no_file_and_no_object_for_it_again(
    pointing: Counter[str], host: Host
) -> None:
    host.process().timeline(due(0), wait=0)
    process = host.process()
    process.timeline(due(0), wait=0)  # by the file
    pointing["fail"] = 1
    for file in host.folder.iterdir():
        file.unlink()
    host.seconds = 1
    assert process.timeline(due(1), wait=0).known == CROWDED.known
    assert len(host.reads) == 2


def test_a_look_at_the_hosts_copy_never_asks_s3(pointing: Counter[str], host: Host) -> None:
    """A scheduler looks often, and outside of the thread that limits what may hang."""
    host.process().timeline(due(0), wait=0)
    pointing["fail"] = 1
    for kept in ("*.timeline", "ownership-*"):
        for file in host.folder.glob(kept):
            file.unlink()
    process = host.process()
    before = pointing.total()
    assert process._good_copy(NOW) is None
    assert pointing.total() == before


@pytest.mark.parametrize(
    "damage", [b"", b"\x80\x05.", pickle.dumps((SHAPE[1:], None, None)), pickle.dumps(7)]
)
def test_a_timeline_that_the_host_keeps_must_be_of_this_version_and_this_code(
    damage: bytes, pointing: Counter[str], host: Host
) -> None:
    host.process().timeline(due(0), wait=0)
    [file] = host.folder.glob("*.timeline")
    good = file.read_bytes()
    file.write_bytes(damage)
    assert host.process().timeline(due(0), wait=0).known == CROWDED.known
    assert file.read_bytes() == good
    host.seconds += 1
    host.answer = valid(dumped(initial("green")), 1, due(-60))  # created again
    assert host.process().timeline(due(1), wait=0).known == {}


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_while_a_timeline_is_read(
    enabled: bool,
    pointing: Counter[str],
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a forked process that would copy the parent's memory."""
    collecting: list[bool] = []

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*arguments: Any) -> Any:
            collecting.append(gc.isenabled())
            return work(*arguments)

        return watching

    monkeypatch.setattr(store_module, "latest_valid", watched(latest_valid))
    monkeypatch.setattr(store_module, "_load_timeline", watched(store_module._load_timeline))
    if not enabled:
        gc.disable()
    try:
        for _ in range(2):
            host.process().timeline(due(0), wait=0)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert collecting == [False] * 3  # nothing kept, parsed; kept
