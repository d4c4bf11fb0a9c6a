"""OpenLineage transport: each event becomes one object of the lineage log, an S3 bucket.

Tasks never talk to Marquez; a forwarder carries the log there. Events of runs that the other environment
executes are dropped. Lineage never fails a task: an event that cannot be written is counted and logged.

    AIRFLOW__OPENLINEAGE__TRANSPORT='{"type": "bluegreen.transport.LineageLogTransport", "bucket": "NAME"}'
"""

from __future__ import annotations

import gzip
import json
import logging
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import attr
from openlineage.client.serde import Serde
from openlineage.client.transport.transport import Config, Transport

from bluegreen import aws, settings, store
from bluegreen.gate import FOLLOWS_PRODUCER, Gate, Run

log = logging.getLogger("bluegreen.lineage")

VERDICT_WAIT = 3.0  # seconds; the provider gives an event about ten
REQUEST_SECONDS = 3.0
ATTEMPTS = 2


@attr.define
class LineageLogConfig(Config):
    """Where the log is: the bucket's name and the prefix of the events' keys."""

    bucket: str
    prefix: str = "events/"

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> LineageLogConfig:
        """Read the transport's JSON. Raises ValueError if the bucket is missing."""
        if not params.get("bucket"):
            raise ValueError("the openlineage transport needs the lineage log's name: {'bucket': ...}")
        return cls(bucket=params["bucket"], prefix=params.get("prefix", "events/"))


class LineageLogTransport(Transport):
    """Writes events to the log. `written`, `dropped` and `failed` count those of this process."""

    kind = "lineage-log"
    config_class = LineageLogConfig

    def __init__(self, config: LineageLogConfig) -> None:
        self.config = config
        self.written = self.dropped = self.failed = 0

    def emit(self, event: Any) -> None:
        """Write one event (run, job or dataset event of any client version), unless its run is another's."""
        text = Serde.to_json(event)
        plain = json.loads(text)
        if not _ours(plain):
            self.dropped += 1
            return
        key = self.config.prefix + _key(plain.get("eventTime"))
        try:
            self._put(key, gzip.compress(text.encode(), mtime=0))
        except aws.AwsError as error:
            self.failed += 1
            log.error(  # noqa: TRY400 - the reason says it all, once per event
                "lineage event lost (%d in this process): s3://%s/%s: %s",
                self.failed,
                self.config.bucket,
                key,
                error,
            )
        else:
            self.written += 1

    def _put(self, key: str, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                aws.request(
                    *("s3", "PUT", "/" + quote(key)),
                    bucket=self.config.bucket,
                    body=body,
                    headers=headers,
                    timeout=REQUEST_SECONDS,
                )
            except aws.AwsError:
                if attempt == ATTEMPTS:
                    raise
            else:
                return


def _key(event_time: str | None) -> str:
    """YYYY/MM/DD/HH/<time>-<unique>.json.gz in UTC, so that keys sort as the events happened."""
    moment = _instant(event_time) or datetime.now(UTC)
    return f"{moment:%Y/%m/%d/%H/%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:12]}.json.gz"


def _instant(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _ours(event: dict[str, Any]) -> bool:
    """Whether the event tells of work done here. What nobody can judge is written rather than lost."""
    facets = (event.get("run") or {}).get("facets") or {}
    dag_run = next(
        (found for name in ("airflowDagRun", "airflow") if (found := _dag_run(facets.get(name)))), None
    )
    if dag_run is None:
        # the OpenLineage provider of Airflow 2.10 says only how the tasks of a finished run ended
        states = ((facets.get("airflowState") or {}).get("tasksState") or {}).values()
        return not states or any(state != "skipped" for state in states)
    kind = str(dag_run.get("run_type"))
    if kind in FOLLOWS_PRODUCER:
        return True  # the facet does not say who produced; the gate has judged its tasks
    run = Run(
        dag_id=str(dag_run.get("dag_id")),
        run_id=str(dag_run.get("run_id")),
        kind=kind,
        due=_instant(dag_run.get("run_after") or dag_run.get("data_interval_end")),
        started=_instant(dag_run.get("start_date")),
        cleared=(dag_run.get("clear_number") or 0) > 0,
    )
    try:
        chosen = settings.load()
        return Gate(chosen, store.store(chosen)).verdict(run, wait=VERDICT_WAIT).mine
    except (settings.SettingsError, store.OwnershipUnknown) as error:
        log.warning(
            "lineage event of %s kept, though nobody could say whose run it is: %s", run.run_id, error
        )
        return True


def _dag_run(facet: Any) -> dict[str, Any] | None:
    dag_run = facet.get("dagRun") if isinstance(facet, dict) else None
    return dag_run if isinstance(dag_run, dict) and dag_run.get("run_type") else None
