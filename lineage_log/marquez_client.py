"""A client for Marquez (or another server with its lineage API)."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from urllib.parse import quote

from lineage_log.http_server import Answer, HttpServer

PROBE_NAMESPACE = "lineage-forwarder"
PRODUCER = "urn:mwaa-openlineage:forwarder"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


class MarquezClient(HttpServer):
    """A client for one Marquez, by its root URL."""

    def post(self, event: bytes) -> Answer:
        return self._request("POST", "/api/v1/lineage", event)

    def probe(self) -> Answer:
        """Post a small event of our own, to test whether the server accepts events at the moment.

        Neither a query nor the health port shows that: both work while the database is read-only.
        """
        return self.post(probe_event())

    def run(self, run_id: str) -> Answer:
        """The server's record of a run, as JSON; 404 for an unknown one."""
        return self._request("GET", f"/api/v1/jobs/runs/{quote(run_id, safe='', errors='replace')}", None)

    def ping(self) -> Answer:
        """Send a small query."""
        return self._request("GET", "/api/v1/namespaces?limit=1", None)


def probe_event() -> bytes:
    """A small event of our own, always of the same run."""
    job = {"namespace": PROBE_NAMESPACE, "name": "probe"}
    event = {
        "eventType": "COMPLETE",
        "eventTime": datetime.now(UTC).isoformat(),
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER))},
        "job": job,
        "inputs": [],
        "outputs": [],
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
    }
    return json.dumps(event).encode()
