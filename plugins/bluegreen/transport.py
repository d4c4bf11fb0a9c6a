"""OpenLineage transport: each event becomes one object in the lineage log, an S3 bucket.

Tasks never connect to Marquez; a forwarder reads the log and posts the events there. Events of runs that the
other environment executes are dropped. A task's event carries the proof that the gate judged it (`proof.py`);
that of a task without one is never dropped, and is also written below `ungated/`.

Lineage never fails a task: an event that cannot be written is counted and logged. Nor does it delay a task
for long, although the provider makes tasks wait for each event: while S3 hangs, all events except one per
host and PAUSE_SECONDS get a single quick attempt.

    AIRFLOW__OPENLINEAGE__TRANSPORT='{"type": "bluegreen.transport.LineageLogTransport", "bucket": "NAME"}'
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attr
from openlineage.client.serde import Serde
from openlineage.client.transport.transport import Config, Transport

from bluegreen import aws, policies, proof, settings, store
from bluegreen.gate import FOLLOWS_PRODUCER, Gate, Run
from bluegreen.host import host_folder
from bluegreen.proof import Proof
from bluegreen.timeline import due_instant

log = logging.getLogger("bluegreen.lineage")

VERDICT_WAIT = 3.0  # seconds; after ten in total, the provider kills the emitting process
PATIENT = (2.0, 2.0)  # seconds for each attempt to write
QUICK = (1.0,)  # while S3 hangs; enough for an S3 that works, even on an overloaded host
RETRY_SECONDS = 0.2  # between attempts
PAUSE_SECONDS = 10.0  # after a patient attempt fails, only quick ones follow for this long
# Airflow sets these in the process that executes a task, and in no other.
CONTEXT_DAG, CONTEXT_RUN = "AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_DAG_RUN_ID"
# To write an event as JSON takes time without bound if a facet holds itself, or the same value many times.
MOST_VALUES = 100_000  # in an event; less than a second
DEEPEST = 100  # levels of them; Marquez refuses more than 1,000
# An event of another time has a wrong clock. The forwarder would find it too late, so its key is the present.
OLDEST, NEWEST = timedelta(days=400), timedelta(minutes=5)


@attr.define
class LineageLogConfig(Config):
    """The location of the log: the bucket's name and the prefix of the events' keys."""

    bucket: str
    prefix: str = "events/"

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> LineageLogConfig:
        """Parse the transport's JSON. Raises ValueError if the bucket is missing."""
        if not params.get("bucket"):
            raise ValueError("the openlineage transport needs the lineage log's bucket: {'bucket': ...}")
        return cls(bucket=params["bucket"], prefix=params.get("prefix", "events/"))


class LineageLogTransport(Transport):
    """Writes events to the log. `written`, `dropped` and `failed` are this process's counts."""

    kind = "lineage-log"
    config_class = LineageLogConfig

    def __init__(self, config: LineageLogConfig) -> None:
        self.config = config
        self.written = self.dropped = self.failed = 0

    def emit(self, event: Any) -> None:
        """Write one event (run, job or dataset event of any client version), unless its run is not ours."""
        try:
            _drop_boundless_facets(event)
            text = Serde.to_json(event)
            plain = json.loads(text)
            judged = _proof(plain)
            ungated = judged is not None and judged.layer is None
            if not ungated and not _ours(plain):
                self.dropped += 1
                return
            if judged is not None:
                plain["run"]["facets"][proof.FACET] = judged.facet()
                text = json.dumps(plain)
            name, body = _key(plain.get("eventTime")), gzip.compress(text.encode(), mtime=0)
            self._put(self.config.prefix + name, body)
            if ungated:
                log.error("%s: no layer of it judged this task, which is executed all the same", proof.ABSENT)
                self._put(proof.UNGATED + name, body)
            self.written += 1
        except Exception as error:  # noqa: BLE001 - whatever the error, the task continues
            self.failed += 1
            log.error("%s: %s: %s", proof.LOST, type(error).__name__, error)  # noqa: TRY400 - in one line
            _count()

    def _put(self, key: str, body: bytes) -> None:
        """Write an object. Raises AwsError."""
        with _patience(self.config.bucket) as (*earlier, last):
            for seconds in earlier:
                with suppress(aws.AwsError):
                    self._request(key, body, seconds)
                    return
                time.sleep(RETRY_SECONDS)
            self._request(key, body, last)

    def _request(self, key: str, body: bytes, seconds: float) -> None:
        """Send the request in a thread: DNS and credential lookups have no other time limit."""
        outcome: list[Exception | None] = []

        def send() -> None:
            try:
                aws.request(
                    *("s3", "PUT", "/" + quote(key)),
                    bucket=self.config.bucket,
                    body=body,
                    headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
                    timeout=seconds,
                )
            except Exception as error:  # noqa: BLE001 - reported to the waiting thread
                outcome.append(error)
            else:
                outcome.append(None)

        thread = threading.Thread(target=send, name="bluegreen-lineage", daemon=True)
        thread.start()
        thread.join(seconds)
        error = outcome[0] if outcome else f"no answer within {seconds:g} s"
        if error is not None:
            raise aws.AwsError(f"s3://{self.config.bucket}/{key}: {error}")


@contextmanager
def _patience(bucket: str) -> Iterator[tuple[float, ...]]:
    """Seconds for each attempt to write. A file signals to this host's processes that S3 hangs."""
    folder = host_folder()
    hanging = folder / f"hanging-{bucket}" if folder else None
    patient = hanging is None or _may_be_patient(hanging)
    began = time.monotonic()
    try:
        yield PATIENT if patient else QUICK
    except aws.AwsError:
        if hanging and time.monotonic() - began > PATIENT[0]:
            with suppress(OSError):
                hanging.touch()
        raise
    if hanging:
        with suppress(OSError):
            hanging.unlink()


def _may_be_patient(hanging: Path) -> bool:
    """Whether S3 is not hanging, or no process has been patient recently; in that case, this one is."""
    try:
        if abs(time.time() - hanging.stat().st_mtime) < PAUSE_SECONDS:
            return False
        hanging.touch()
    except OSError:
        pass  # the file does not exist
    return True


def _count() -> None:
    """Count a lost event in the Airflow metric that the provider uses for other transports."""
    with suppress(Exception):
        from airflow.providers.openlineage.plugins.adapter import Stats  # wherever this Airflow defines it

        Stats.incr("ol.emit.failed")


def _key(event_time: str | None) -> str:
    """YYYY/MM/DD/HH/<time>-<unique>.json.gz in UTC, so that keys sort by the time of the events."""
    now = _now()
    moment = _instant(event_time) or now
    if not now - OLDEST <= moment <= now + NEWEST:
        moment = now
    return f"{moment:%Y/%m/%d/%H/%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:12]}.json.gz"


def _now() -> datetime:
    return datetime.now(UTC)


def _instant(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _drop_boundless_facets(event: Any) -> None:
    """Remove facets that could not be written in time. Raises ValueError if that is not enough."""
    values = 0
    for owner in (getattr(event, "run", None), getattr(event, "job", None)):
        facets: dict[str, Any] = getattr(owner, "facets", None) or {}
        for name, facet in [*facets.items()]:
            try:
                values += _count_values(facet, MOST_VALUES - values)
            except ValueError as error:
                log.warning("lineage facet %s dropped: %s", name, error)
                del facets[name]
    _count_values(event, MOST_VALUES)


def _count_values(value: Any, most: int) -> int:
    """How many values JSON would have. Raises ValueError if it would be more than `most`, or too deep."""
    level, count = [value], 1
    for _ in range(DEEPEST):
        level = list(islice((inner for outer in level for inner in _values_of(outer)), most - count + 1))
        count += len(level)
        if count > most:
            raise ValueError(f"more than {MOST_VALUES} values")
        if not level:
            return count
    raise ValueError(f"values in more than {DEEPEST} levels")


def _values_of(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    return (getattr(value, field.name) for field in attr.fields(type(value))) if attr.has(type(value)) else ()


def _proof(event: dict[str, Any]) -> Proof | None:
    """How a task was judged that this process executes; None for every other event.

    Neither layer has judged a task at its START if only layer 3 is live: it comes right after. The scheduler
    and the web server report tasks whose state a person sets; those are not executed.
    """
    facet = ((event.get("run") or {}).get("facets") or {}).get("airflow") or {}
    dag_run, ti = _dag_run(facet), facet.get("taskInstance") if isinstance(facet, dict) else None
    if dag_run is None or not isinstance(ti, dict):
        return None
    dag_id, run_id, kind = str(dag_run.get("dag_id")), str(dag_run.get("run_id")), event.get("eventType")
    judged = policies.known_proof(dag_id, run_id)
    if judged is not None:
        return judged
    task_id = str(((facet.get("task") or {}).get("task_id")) or "")
    executed = kind == "START" and not policies.is_hooked(task_id)
    worked = kind == "COMPLETE" and (os.environ.get(CONTEXT_DAG), os.environ.get(CONTEXT_RUN)) == (
        dag_id,
        run_id,
    )
    return _missing() if executed or worked else None


def _missing() -> Proof:
    try:
        here = settings.load()
        who = here.environment, here.life
    except settings.SettingsError:
        who = "", ""
    return Proof(None, proof.live_routes(), *who, None, proof.MISSING)


def _ours(event: dict[str, Any]) -> bool:
    """Whether the event reports work done here. An event that cannot be judged is written, not dropped."""
    facets = (event.get("run") or {}).get("facets") or {}
    dag_run = _dag_run(facets.get("airflowDagRun")) or _dag_run(facets.get("airflow"))
    states = ((facets.get("airflowState") or {}).get("tasksState") or {}).values()
    worked = any(state != "skipped" for state in states)
    if dag_run is None:
        # of a finished run, the provider of Airflow 2.10 reports only the states of its tasks
        return worked or not states or _ours_all_along(event)
    verdict = policies.known_verdict(str(dag_run.get("dag_id")), str(dag_run.get("run_id")))
    if verdict is not None:
        return verdict.mine  # a task's event
    kind = str(dag_run.get("run_type"))
    if kind in FOLLOWS_PRODUCER:
        return True  # the facet does not name the producer; the gate has judged the run's tasks
    run = Run(
        dag_id=str(dag_run.get("dag_id")),
        run_id=str(dag_run.get("run_id")),
        kind=kind,
        due=due_instant(_instant(dag_run.get("run_after")), _instant(dag_run.get("data_interval_end"))),
        started=_instant(dag_run.get("start_date")),
        cleared=(dag_run.get("clear_number") or 0) > 0,
        made_here=kind == "scheduled" and bool(dag_run.get("external_trigger")),  # see describe()
    )
    # providers before 2.11 do not report that a run was cleared; the work of its tasks shows it at the end
    may_be_cleared = worked and "clear_number" not in dag_run
    return _mine(run) or (may_be_cleared and _mine(replace(run, cleared=True)))


def _ours_all_along(event: dict[str, Any]) -> bool:
    """Whether we own a DAG both at a run's logical date (from its lineage id) and at its end."""
    run_id = str(event["run"]["runId"])
    logical = datetime.fromtimestamp((uuid.UUID(run_id).int >> 80) / 1000, UTC)
    ended = _instant(event.get("eventTime"))
    return all(_mine(Run(event["job"]["name"], run_id, "scheduled", due)) for due in (logical, ended))


def _mine(run: Run) -> bool:
    try:
        chosen = settings.load()
        return Gate(chosen, store.store(chosen)).verdict(run, wait=VERDICT_WAIT).mine
    except (settings.SettingsError, store.OwnershipUnknown) as error:
        log.warning(
            "lineage event of %s kept, although the owner of its run is unknown: %s", run.run_id, error
        )
        return True


def _dag_run(facet: Any) -> dict[str, Any] | None:
    dag_run = facet.get("dagRun") if isinstance(facet, dict) else None
    return dag_run if isinstance(dag_run, dict) and dag_run.get("run_type") else None
