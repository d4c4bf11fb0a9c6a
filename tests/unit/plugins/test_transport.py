"""The lineage log: what is written where, and what is not."""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attr
import bluegreen.transport
import pytest
from bluegreen import aws, policies, settings, store
from bluegreen.gate import Verdict
from bluegreen.proof import Proof
from bluegreen.store import Store
from bluegreen.transport import LineageLogTransport
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import RunFacet
from openlineage.client.transport import get_default_factory

from tests.fakes.airflow.gate import always
from tests.fakes.timeline import GATE_OPTIONS, initial

T = datetime(2025, 11, 23, 10, tzinfo=UTC)
OURS = T + timedelta(minutes=1)
THEIRS = T - timedelta(minutes=1)
PATIENT, QUICK = bluegreen.transport.PATIENT, bluegreen.transport.QUICK


@attr.define
class DagRunFacet(RunFacet):
    """The provider's `airflowDagRun` and `airflow` facets, as far as the transport reads them."""

    dagRun: dict[str, Any]  # noqa: N815 - the facet's own name


@attr.define
class TaskFacet(DagRunFacet):
    """The provider's `airflow` facet of a task's event."""

    taskInstance: dict[str, Any] = attr.field(factory=lambda: {"try_number": 1})  # noqa: N815
    task: dict[str, Any] = attr.field(factory=lambda: {"task_id": "extract"})


@attr.define
class StateFacet(RunFacet):
    """The provider's `airflowState`."""

    tasksState: dict[str, str]  # noqa: N815 - the facet's own name


class UnreliableS3:
    """A bucket that may be unreachable. `attempts` are the limits that requests were given, in seconds."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.attempts: list[float] = []
        self.failures = 0
        self.hangs = False
        self.now = 0.0

    def request(self, service: str, method: str, path: str, **more: Any) -> None:
        assert (service, method) == ("s3", "PUT")
        self.attempts.append(more["timeout"])
        if self.hangs:
            self.now += more["timeout"]
            raise aws.AwsError("https://s3: timed out")
        if self.failures:
            self.failures -= 1
            raise aws.AwsError("https://s3: refused")
        self.objects[path] = more

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def s3() -> UnreliableS3:
    return UnreliableS3()


@pytest.fixture
def transport(s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LineageLogTransport:
    for option, value in {**GATE_OPTIONS, "MAX_AGE_SECONDS": "", "WAIT_SECONDS": ""}.items():
        monkeypatch.setenv(f"AIRFLOW__BLUEGREEN__{option}", value)
    settings.load.cache_clear()
    read = always(initial().switched("green", T, 2), 2, T - timedelta(hours=1))
    source = Store(settings.load(), read, tmp_path)
    monkeypatch.setattr(store, "store", lambda _chosen: source)
    config = {"type": "bluegreen.transport.LineageLogTransport", "bucket": "log", "prefix": "events/"}
    transport = get_default_factory().create(config)
    assert isinstance(transport, LineageLogTransport)
    monkeypatch.setattr(aws, "request", s3.request)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    clock = SimpleNamespace(time=time.time, monotonic=lambda: s3.now, sleep=s3.sleep)
    monkeypatch.setattr(bluegreen.transport, "time", clock)
    monkeypatch.setattr(bluegreen.transport, "_now", lambda: T)
    return transport


def event(
    facets: dict[str, RunFacet] | None = None,
    at: str = "2025-11-23T11:01:02.5+01:00",
    logical: datetime = T,
    kind: RunState = RunState.START,
) -> RunEvent:
    begin = f"{int(logical.timestamp() * 1000):012x}"  # as the provider has it
    run = Run(runId=f"{begin[:8]}-{begin[8:]}-7000-8000-000000000000", facets=facets or {})
    return RunEvent(eventType=kind, eventTime=at, run=run, job=Job("ns", "etl"), producer="https://airflow")


def of_run(name: str = "airflowDagRun", kind: RunState = RunState.START, **dag_run: Any) -> RunEvent:
    plain = {"dag_id": "etl", "run_id": "r", "run_type": "scheduled", "clear_number": 0}
    facet = TaskFacet if name == "airflow" else DagRunFacet
    return event({name: facet(dagRun=plain | dag_run)}, kind=kind)


def written(s3: UnreliableS3) -> dict[str, dict[str, Any]]:
    """The events in the bucket by key."""
    return {key: json.loads(gzip.decompress(request["body"])) for key, request in s3.objects.items()}


def test_an_event_is_one_compressed_object_under_its_time(
    transport: LineageLogTransport, s3: UnreliableS3
) -> None:
    transport.emit(event())
    [(key, request)] = s3.objects.items()
    assert re.fullmatch(r"/events/2025/11/23/10/20251123T100102\.500000Z-[0-9a-f]{12}\.json\.gz", key)
    assert request["bucket"] == "log"
    assert request["headers"] == {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    written = json.loads(gzip.decompress(request["body"]))
    assert written["job"] == {"namespace": "ns", "name": "etl"} | {"facets": {}}
    assert written["eventType"] == "START"


@pytest.mark.parametrize(
    ("time", "key"),
    [
        ("2024-11-23T10:00:00Z", "2024/11/23/10/20241123T100000.000000Z"),
        ("2025-11-23T10:04:59Z", "2025/11/23/10/20251123T100459.000000Z"),
        ("1970-01-01T00:00:00Z", "2025/11/23/10/20251123T100000.000000Z"),
        ("0001-01-01T00:00:00+14:00", "2025/11/23/10/20251123T100000.000000Z"),
        ("2025-11-23T10:06:00Z", "2025/11/23/10/20251123T100000.000000Z"),
        ("9999-12-31T23:59:59Z", "2025/11/23/10/20251123T100000.000000Z"),
    ],
)
def test_an_event_of_an_impossible_time_is_found_in_the_present(
    transport: LineageLogTransport, s3: UnreliableS3, time: str, key: str
) -> None:
    """The forwarder would never look for it where its time says, or not before that comes."""
    transport.emit(event(at=time))
    [(written, request)] = s3.objects.items()
    assert written.startswith(f"/events/{key}-")
    assert json.loads(gzip.decompress(request["body"]))["eventTime"] == time


@attr.define
class AnyFacet(RunFacet):
    """A facet of a user's own."""

    content: Any


def circle() -> dict[str, Any]:
    content: dict[str, Any] = {"a": 1}
    content["itself"] = content
    return content


def nested(levels: int, times: int) -> Any:
    content: Any = 1
    for _ in range(levels):
        content = [content] * times
    return content


@pytest.mark.parametrize(
    "content",
    [circle(), nested(101, 1), nested(100_000, 1), nested(25, 2), nested(3, 1000), ["x"] * 100_001],
    ids=["circular", "deep", "very deep", "the same value many times", "wide", "long"],
)
def test_a_facet_without_bound_is_dropped_at_once_and_the_event_written(
    transport: LineageLogTransport, s3: UnreliableS3, caplog: pytest.LogCaptureFixture, content: Any
) -> None:
    started = time.process_time()
    transport.emit(event({"mine": AnyFacet(content), "other": AnyFacet("kept")}))
    assert time.process_time() - started < 1
    [request] = s3.objects.values()
    assert json.loads(gzip.decompress(request["body"]))["run"]["facets"].keys() == {"other"}
    assert "lineage facet mine dropped: " in caplog.text
    assert transport.written == 1


def test_a_facet_within_the_bounds_is_written(transport: LineageLogTransport, s3: UnreliableS3) -> None:
    transport.emit(event({"mine": AnyFacet(nested(90, 1)), "other": AnyFacet(["x"] * 90_000)}))
    [request] = s3.objects.values()
    assert json.loads(gzip.decompress(request["body"]))["run"]["facets"].keys() == {"mine", "other"}


def test_an_event_that_is_too_large_without_a_facet_is_lost_at_once(
    transport: LineageLogTransport, caplog: pytest.LogCaptureFixture
) -> None:
    large = event()
    large.inputs = nested(25, 2)
    started = time.process_time()
    transport.emit(large)
    assert time.process_time() - started < 1
    assert transport.failed == 1
    assert "lineage event lost: ValueError: more than 100000 values" in caplog.text


def test_two_events_of_one_moment_are_two_objects(transport: LineageLogTransport, s3: UnreliableS3) -> None:
    transport.emit(event())
    transport.emit(event())
    assert len(s3.objects) == 2


@pytest.mark.parametrize("facet", ["airflowDagRun", "airflow"])
@pytest.mark.parametrize("instant", ["run_after", "data_interval_end"])
def test_events_of_the_others_runs_are_dropped(
    facet: str, instant: str, transport: LineageLogTransport, s3: UnreliableS3
) -> None:
    """A task's: as the scheduler or the web server reports one whose state a person set."""
    transport.emit(of_run(facet, RunState.COMPLETE, **{instant: THEIRS.isoformat()}))
    assert (len(s3.objects), transport.dropped) == (0, 1)
    transport.emit(of_run(facet, RunState.COMPLETE, **{instant: OURS.isoformat()}))
    assert (len(s3.objects), transport.written) == (1, 1)


@pytest.mark.parametrize("kind", ["manual", "backfill", "operator_triggered", "asset_triggered"])
def test_events_of_runs_that_were_made_here_are_kept(
    kind: str, transport: LineageLogTransport, s3: UnreliableS3
) -> None:
    transport.emit(of_run(run_type=kind, run_after=THEIRS.isoformat()))
    assert len(s3.objects) == 1


def test_in_airflow_2_a_run_that_no_schedule_made_was_made_here(
    transport: LineageLogTransport, s3: UnreliableS3
) -> None:
    for external in (False, True):
        transport.emit(of_run(data_interval_end=THEIRS.isoformat(), external_trigger=external))
        assert len(s3.objects) == external


@pytest.mark.parametrize(
    ("logical", "ended", "kept"),
    [(OURS, OURS, 1), (THEIRS, OURS, 0), (THEIRS, THEIRS, 0)],
    ids=["ours", "perhaps due before the switch", "theirs"],
)
def test_a_finished_run_of_which_only_skipped_tasks_are_known_is_kept_if_it_was_surely_ours(
    logical: datetime, ended: datetime, kept: int, transport: LineageLogTransport, s3: UnreliableS3
) -> None:
    transport.emit(
        event({"airflowState": StateFacet({"a": "skipped", "b": "skipped"})}, ended.isoformat(), logical)
    )
    assert len(s3.objects) == kept
    transport.emit(
        event({"airflowState": StateFacet({"a": "skipped", "b": "success"})}, ended.isoformat(), logical)
    )
    assert len(s3.objects) == kept + 1


@pytest.mark.parametrize("mine", [True, False])
def test_in_a_tasks_process_its_events_go_by_what_the_gate_has_said(
    mine: bool, transport: LineageLogTransport, s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every provider says that a run was cleared, and so is ours now though it was theirs."""
    judge(monkeypatch, Verdict(mine, "cleared or not"))
    for due in (OURS, THEIRS):
        transport.emit(of_run("airflow", data_interval_end=due.isoformat()))
    assert len(s3.objects) == (2 if mine else 0)
    other = of_run("airflow", RunState.COMPLETE, data_interval_end=THEIRS.isoformat(), run_id="another")
    transport.emit(other)
    assert len(s3.objects) == (2 if mine else 0)


# --- the proof that an execution was gated ---

JUDGED = Proof("dag_policy", ("settings_module",), "green", "green-1", 2, "green owns it")


def judge(monkeypatch: pytest.MonkeyPatch, verdict: Verdict, judged: Proof = JUDGED) -> None:
    key = ("etl", "r", "extract", -1, 1)
    monkeypatch.setattr(policies, "_verdicts", {key: verdict})
    monkeypatch.setattr(policies, "_proofs", {key: judged})


@pytest.mark.parametrize("kind", [RunState.START, RunState.COMPLETE, RunState.FAIL])
def test_the_event_of_a_task_that_the_gate_judged_carries_the_proof(
    kind: RunState, transport: LineageLogTransport, s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(monkeypatch, Verdict(True, "green owns it"))
    transport.emit(of_run("airflow", kind, run_after=OURS.isoformat()))
    [(key, event)] = written(s3).items()
    assert key.startswith("/events/")
    assert event["eventType"] == kind.value
    assert event["run"]["facets"]["airflow"]["dagRun"]["run_id"] == "r"
    assert event["run"]["facets"]["blueGreen_gate"] == {
        "_producer": "urn:mwaa-openlineage:bluegreen",
        "_schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet",
        "layer": "dag_policy",
        "routes": ["settings_module"],
        "environment": "green",
        "life": "green-1",
        "version": 2,
        "reason": "green owns it",
    }


@pytest.mark.parametrize("due", [OURS, THEIRS])
def test_a_task_that_begins_without_the_gate_is_never_dropped_and_written_apart(
    due: datetime,
    transport: LineageLogTransport,
    s3: UnreliableS3,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Seen when no policy was registered: the standby's executions left no trace, since they are not ours."""
    monkeypatch.setattr(policies, "_hooked", set())
    transport.emit(of_run("airflow", run_after=due.isoformat()))
    assert sorted(key.split("/")[1] for key in s3.objects) == ["events", "ungated"]
    assert len({key.partition("/2025/")[2] for key in s3.objects}) == 1
    for event in written(s3).values():
        facet = event["run"]["facets"]["blueGreen_gate"]
        assert (facet["layer"], facet["version"], facet["environment"]) == (None, None, "green")
    assert "blue/green gate absent: no layer of it judged this task" in caplog.text


def test_at_the_start_the_last_layer_has_yet_to_judge(
    transport: LineageLogTransport, s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "_hooked", {"extract"})
    transport.emit(of_run("airflow", run_after=THEIRS.isoformat()))
    assert (len(s3.objects), transport.dropped) == (0, 1)
    transport.emit(of_run("airflow", run_after=OURS.isoformat()))
    assert [key.split("/")[1] for key in s3.objects] == ["events"]


def test_a_task_that_has_worked_and_was_not_judged_is_ungated_whatever_was_to_judge_it(
    transport: LineageLogTransport, s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator with a `pre_execute` of its own calls no hook."""
    monkeypatch.setattr(policies, "_hooked", {"extract"})
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "etl")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "r")
    transport.emit(of_run("airflow", RunState.COMPLETE, run_after=THEIRS.isoformat()))
    assert sorted(key.split("/")[1] for key in s3.objects) == ["events", "ungated"]


def test_without_settings_an_ungated_task_is_written_all_the_same(
    transport: LineageLogTransport, s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__BLUEGREEN__ENVIRONMENT", "")
    settings.load.cache_clear()
    monkeypatch.setattr(policies, "_hooked", set())
    transport.emit(of_run("airflow", run_after=THEIRS.isoformat()))
    assert len(s3.objects) == 2


@pytest.mark.parametrize(
    ("state", "started", "known", "kept"),
    [
        ("success", OURS, {}, 1),
        ("failed", OURS, {}, 1),
        ("success", THEIRS, {}, 0),
        ("skipped", OURS, {}, 0),
        ("success", OURS, {"clear_number": 0}, 0),
    ],
    ids=["cleared here", "cleared and failed", "made true", "mirrored late", "known not to be cleared"],
)
def test_the_end_of_a_cleared_run_is_kept_where_its_tasks_worked(
    state: str,
    started: datetime,
    known: dict[str, int],
    kept: int,
    transport: LineageLogTransport,
    s3: UnreliableS3,
) -> None:
    dag_run = {"dag_id": "etl", "run_id": "r", "run_type": "scheduled", "start_date": started.isoformat()}
    facet = DagRunFacet(dagRun=dag_run | {"data_interval_end": THEIRS.isoformat()} | known)
    transport.emit(event({"airflowDagRun": facet, "airflowState": StateFacet({"a": "skipped", "b": state})}))
    assert len(s3.objects) == kept


def test_an_event_that_nobody_can_judge_is_kept(
    transport: LineageLogTransport,
    s3: UnreliableS3,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AIRFLOW__BLUEGREEN__ENVIRONMENT", "")
    settings.load.cache_clear()
    transport.emit(of_run(run_after=THEIRS.isoformat()))
    assert len(s3.objects) == 1
    assert "kept, although the owner of its run is unknown" in caplog.text


class Stats:
    """Airflow's metrics: the counters that were increased."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    def incr(self, name: str) -> None:
        self.counted.append(name)


def test_a_lost_event_is_counted_and_logged_and_fails_nobody(
    transport: LineageLogTransport,
    s3: UnreliableS3,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stats = Stats()
    provider = SimpleNamespace(Stats=stats)  # a module of Airflow's, which is not installed here
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.plugins.adapter", provider)
    s3.failures = 4
    transport.emit(event())
    transport.emit(event())
    assert (transport.failed, transport.written) == (2, 0)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "lineage event lost: AwsError: s3://log/events/2025/11/23/10/" in caplog.text
    assert "https://s3: refused" in caplog.text
    assert stats.counted == ["ol.emit.failed"] * 2


def test_an_event_that_is_none_fails_nobody(transport: LineageLogTransport, s3: UnreliableS3) -> None:
    transport.emit(object())
    assert (len(s3.objects), transport.failed) == (0, 1)


def test_an_event_gets_a_second_chance(transport: LineageLogTransport, s3: UnreliableS3) -> None:
    s3.failures = 1
    transport.emit(event())
    assert (len(s3.objects), len(s3.attempts), transport.failed) == (1, 2, 0)


def test_while_s3_hangs_one_event_in_a_while_is_patient(
    transport: LineageLogTransport, s3: UnreliableS3, tmp_path: Path
) -> None:
    s3.hangs = True
    for _ in range(3):
        transport.emit(event())
    assert s3.attempts == [*PATIENT, *QUICK, *QUICK]
    [mark] = tmp_path.glob("bluegreen-*/hanging-log")
    os.utime(mark, (0, 0))  # the pause is over
    s3.attempts.clear()
    transport.emit(event())
    transport.emit(event())
    assert s3.attempts == [*PATIENT, *QUICK]
    assert transport.failed == 5


def test_while_one_is_patient_the_others_are_not(
    transport: LineageLogTransport, s3: UnreliableS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.hangs = True
    transport.emit(event())
    [mark] = tmp_path.glob("bluegreen-*/hanging-log")
    os.utime(mark, (0, 0))  # the pause is over
    s3.attempts.clear()

    def request(*args: Any, **more: Any) -> None:
        monkeypatch.setattr(aws, "request", s3.request)
        transport.emit(event())  # another process's
        s3.request(*args, **more)

    monkeypatch.setattr(aws, "request", request)
    transport.emit(event())
    assert s3.attempts == [*QUICK, *PATIENT]


def test_an_event_that_is_written_tells_that_s3_hangs_no_more(
    transport: LineageLogTransport, s3: UnreliableS3
) -> None:
    s3.hangs = True
    transport.emit(event())
    s3.hangs = False
    transport.emit(event())
    s3.failures = 1
    transport.emit(event())
    assert s3.attempts == [*PATIENT, *QUICK, *PATIENT]
    assert (transport.failed, transport.written) == (1, 2)


def test_what_is_refused_at_once_does_not_hang(transport: LineageLogTransport, s3: UnreliableS3) -> None:
    s3.failures = 4
    transport.emit(event())
    transport.emit(event())
    assert s3.attempts == [*PATIENT, *PATIENT]


def test_without_a_folder_of_its_own_each_event_is_patient(
    transport: LineageLogTransport, s3: UnreliableS3, tmp_path: Path
) -> None:
    (tmp_path / f"bluegreen-{os.geteuid()}").touch()
    s3.hangs = True
    transport.emit(event())
    transport.emit(event())
    assert s3.attempts == [*PATIENT, *PATIENT]


def test_what_hangs_without_a_limit_of_its_own_is_not_waited_for(
    transport: LineageLogTransport, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(aws, "request", lambda *_args, **_more: answers.wait())
    monkeypatch.setattr(bluegreen.transport, "PATIENT", (0.01, 0.01))
    transport.emit(event())
    answers.set()
    assert "no answer within 0.01 s" in caplog.text


def test_a_transport_without_a_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lineage log's bucket"):
        LineageLogTransport.config_class.from_dict({"type": "x"})
