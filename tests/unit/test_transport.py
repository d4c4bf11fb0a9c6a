"""The lineage log: what is written where, and what is not."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attr
import pytest
from bluegreen import aws, settings, store
from bluegreen.store import Store
from bluegreen.timeline import Timeline
from bluegreen.transport import LineageLogTransport
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import RunFacet
from openlineage.client.transport import get_default_factory

from tests.unit.gate_doubles import always

T = datetime(2025, 11, 23, 10, tzinfo=UTC)
OURS = T + timedelta(minutes=1)
THEIRS = T - timedelta(minutes=1)


@attr.define
class DagRunFacet(RunFacet):
    """The provider's `airflowDagRun` and `airflow` facets, as far as the transport reads them."""

    dagRun: dict[str, Any]  # noqa: N815 - the facet's own name


@attr.define
class StateFacet(RunFacet):
    """The provider's `airflowState`."""

    tasksState: dict[str, str]  # noqa: N815 - the facet's own name


class S3:
    """A bucket that may be unreachable."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.attempts = self.failures = 0

    def request(self, service: str, method: str, path: str, **more: Any) -> None:
        assert (service, method) == ("s3", "PUT")
        self.attempts += 1
        if self.failures:
            self.failures -= 1
            raise aws.AwsError("https://s3: refused")
        self.objects[path] = more


@pytest.fixture
def s3() -> S3:
    return S3()


@pytest.fixture
def transport(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LineageLogTransport:
    monkeypatch.setenv("AIRFLOW__BLUEGREEN__ENVIRONMENT", "green")
    monkeypatch.setenv("AIRFLOW__BLUEGREEN__PARAMETER", "/p/s/ownership")
    for option in ("LEAD_SECONDS", "MAX_AGE_SECONDS", "WAIT_SECONDS"):
        monkeypatch.setenv(f"AIRFLOW__BLUEGREEN__{option}", "")
    settings.load.cache_clear()
    read = always(Timeline.initial().switched("green", T, 2), 2, T - timedelta(hours=1))
    source = Store(settings.load(), read, tmp_path)
    monkeypatch.setattr(store, "store", lambda _chosen: source)
    config = {"type": "bluegreen.transport.LineageLogTransport", "bucket": "log", "prefix": "events/"}
    made = get_default_factory().create(config)
    assert isinstance(made, LineageLogTransport)
    monkeypatch.setattr(aws, "request", s3.request)
    return made


def event(facets: dict[str, RunFacet] | None = None, time: str = "2025-11-23T11:01:02.5+01:00") -> RunEvent:
    run = Run(runId="0198f7a2-1111-7000-8000-000000000000", facets=facets or {})
    return RunEvent(
        eventType=RunState.START, eventTime=time, run=run, job=Job("ns", "etl"), producer="https://airflow"
    )


def of_run(name: str = "airflowDagRun", **dag_run: Any) -> RunEvent:
    plain = {"dag_id": "etl", "run_id": "r", "run_type": "scheduled", "clear_number": 0}
    return event({name: DagRunFacet(dagRun=plain | dag_run)})


def test_an_event_is_one_compressed_object_under_its_time(transport: LineageLogTransport, s3: S3) -> None:
    transport.emit(event())
    [(key, request)] = s3.objects.items()
    assert re.fullmatch(r"/events/2025/11/23/10/20251123T100102\.500000Z-[0-9a-f]{12}\.json\.gz", key)
    assert request["bucket"] == "log"
    assert request["headers"] == {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    written = json.loads(gzip.decompress(request["body"]))
    assert written["job"] == {"namespace": "ns", "name": "etl"} | {"facets": {}}
    assert written["eventType"] == "START"


def test_two_events_of_one_moment_are_two_objects(transport: LineageLogTransport, s3: S3) -> None:
    transport.emit(event())
    transport.emit(event())
    assert len(s3.objects) == 2


@pytest.mark.parametrize("facet", ["airflowDagRun", "airflow"])
@pytest.mark.parametrize("instant", ["run_after", "data_interval_end"])
def test_events_of_the_others_runs_are_dropped(
    facet: str, instant: str, transport: LineageLogTransport, s3: S3
) -> None:
    transport.emit(of_run(facet, **{instant: THEIRS.isoformat()}))
    assert (len(s3.objects), transport.dropped) == (0, 1)
    transport.emit(of_run(facet, **{instant: OURS.isoformat()}))
    assert (len(s3.objects), transport.written) == (1, 1)


@pytest.mark.parametrize("kind", ["manual", "backfill", "operator_triggered", "asset_triggered"])
def test_events_of_runs_that_were_made_here_are_kept(
    kind: str, transport: LineageLogTransport, s3: S3
) -> None:
    transport.emit(of_run(run_type=kind, run_after=THEIRS.isoformat()))
    assert len(s3.objects) == 1


def test_a_finished_run_of_which_only_skipped_tasks_are_known_is_dropped(
    transport: LineageLogTransport, s3: S3
) -> None:
    transport.emit(event({"airflowState": StateFacet({"a": "skipped", "b": "skipped"})}))
    assert s3.objects == {}
    transport.emit(event({"airflowState": StateFacet({"a": "skipped", "b": "success"})}))
    assert len(s3.objects) == 1


def test_an_event_that_nobody_can_judge_is_kept(
    transport: LineageLogTransport, s3: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__BLUEGREEN__ENVIRONMENT", "")
    settings.load.cache_clear()
    transport.emit(of_run(run_after=THEIRS.isoformat()))
    assert len(s3.objects) == 1
    assert "nobody could say whose run it is" in caplog.text


def test_a_lost_event_is_counted_and_logged_and_fails_nobody(
    transport: LineageLogTransport, s3: S3, caplog: pytest.LogCaptureFixture
) -> None:
    s3.failures = 4
    transport.emit(event())
    transport.emit(event())
    assert (transport.failed, transport.written) == (2, 0)
    assert "lineage event lost (2 in this process): s3://log/events/2025/11/23/10/" in caplog.text


def test_an_event_gets_a_second_chance(transport: LineageLogTransport, s3: S3) -> None:
    s3.failures = 1
    transport.emit(event())
    assert (len(s3.objects), s3.attempts, transport.failed) == (1, 2, 0)


def test_a_transport_without_a_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lineage log's name"):
        LineageLogTransport.config_class.from_dict({"type": "x"})
