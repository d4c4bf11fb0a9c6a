"""A double of Marquez for tests and benchmarks: it behaves as measured with 0.51.1, including failures.

`python -m local.marquez.double --port P --admin-port A`. It is a program here and not part of a test, because
the tests of the forwarder and of real Airflows and the benchmarks all need it as a separate process.

Port P has the part of the lineage API that is used here; port A has Marquez's admin API (`/ping`,
`/healthcheck`) and the double's own:

- `PUT /faults` with a JSON object: see `Faults`;
- `GET /state`: posts in order (event type, run, user agent), the runs' states, the number of raw events;
- `GET /events`: the raw events.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import hashlib
import json
import random
import re
import signal
import sys
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LOOPBACK = "127.0.0.1"
STATES = {"COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}  # all other kinds: RUNNING
ENDS = ("COMPLETED", "FAILED", "ABORTED")
KINDS = ("none", "refuse", "hang", "stuck", "fail", "half", "read-only")
REASONS = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    404: "Not Found",
    422: "Unprocessable",
    500: "Error",
}


@dataclass
class Faults:
    """The faults to simulate. `kind`:

    - `refuse`: nothing listens; `hang`: requests are read and never answered;
    - `stuck`: as `hang`, but the posts are written when the fault ends, as by a process that was stopped;
    - `fail`: 500 and nothing written; `half`: 500, but the event is written;
    - `read-only`: as when the database fails over: posts fail, queries and the health port do not.

    `share`: of the posts that the fault hits, 0 to 1; `once`: none of which it has hit before. `latency`:
    seconds for which a post keeps the database busy; `connections`: how many posts it handles at a time.
    """

    kind: str = "none"
    share: float = 1.0
    once: bool = False
    latency: float = 0.0
    connections: int = 20


@dataclass
class Run:
    """A run, as Marquez returns it."""

    id: str  # a UUID, also if the events name another id
    namespace: str
    job: str
    state: str = "NEW"
    startedAt: str | None = None  # noqa: N815 - Marquez's names
    endedAt: str | None = None  # noqa: N815
    nominalStartTime: str | None = None  # noqa: N815 - always null, as measured
    facets: dict[str, Any] = field(default_factory=dict)

    def apply(self, kind: str, instant: str) -> None:
        """Apply the run's next event: the last write wins, whatever its time."""
        self.state = STATES.get(kind.upper(), "RUNNING")
        if self.state in ENDS:
            self.endedAt = instant
        else:
            self.startedAt = instant


class Marquez:
    """Marquez's runs and events. Posts are handled one at a time here; the server makes them wait."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.raw: list[dict[str, Any]] = []
        self.posts: list[tuple[str, str, str]] = []

    def unknown_parent(self, event: dict[str, Any]) -> str | None:
        """The id of the run that an event names as its parent, if there is none."""
        run = event.get("run")
        facet = ((run.get("facets") or {}) if isinstance(run, dict) else {}).get("parent")
        if not facet:
            return None
        namespace, name = facet["job"]["namespace"], facet["job"]["name"]
        parent_id = run_uuid(facet["run"]["runId"], f"{namespace}.{name.rpartition('.')[0] or name}.")
        return None if parent_id in self.runs else parent_id

    def take(self, event: dict[str, Any], agent: str, parent: str | None = None) -> int:
        """Write an event; return the status with which a healthy Marquez answers it.

        `parent`: which one was unknown when the post began. Marquez creates it though another post may have
        done so since.
        """
        job, run = event.get("job"), event.get("run")
        if run is not None and not (isinstance(job, dict) and job.get("namespace") and job.get("name")):
            return 422
        instant = instant_of(event.get("eventTime"))
        if instant is None:
            return 500
        self.raw.append(event)
        if not isinstance(run, dict) or not isinstance(job, dict):
            return 201
        kind, run_id = event.get("eventType"), run_uuid(run["runId"])
        self.posts.append((kind or "", run["runId"], agent))
        if parent := parent or self.unknown_parent(event):
            facet = run["facets"]["parent"]["job"]
            made = self.runs.setdefault(parent, Run(parent, facet["namespace"], facet["name"]))
            if kind is not None:
                made.apply(kind, instant)
        known = self.runs.setdefault(run_id, Run(run_id, job["namespace"], job["name"]))
        known.facets |= run.get("facets") or {}
        if kind is None:
            return 500  # half of it is written
        known.apply(kind, instant)
        return 201

    def query(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        limit, offset = (int(query.get(name, [d])[0]) for name, d in (("limit", "100"), ("offset", "0")))
        match parts:
            case ["api", "v1", "namespaces"]:
                names = sorted({run.namespace for run in self.runs.values()})
                return 200, {"namespaces": [{"name": name} for name in names[offset : offset + limit]]}
            case ["api", "v1", "jobs", "runs", run_id]:
                return answer_for(self.runs, run_id)
            case ["api", "v1", "namespaces", namespace, "jobs", job, "runs"]:
                runs = [asdict(r) for r in self.runs.values() if (r.namespace, r.job) == (namespace, job)]
                return (
                    (200, {"runs": runs[offset : offset + limit]}) if runs else (404, {"message": "no job"})
                )
            case ["api", "v1", "events", "lineage"]:
                chosen = self.raw[::-1][offset : offset + limit]
                return 200, {"events": chosen, "totalCount": len(self.raw)}
        return 404, {"message": "HTTP 404 Not Found"}


def run_uuid(text: str, parent_of: str | None = None) -> str:
    """The id that Marquez gives to a run: what is no UUID to Java is hashed, a parent's with its job."""
    parts = text.split("-")
    if len(text) <= 36 and len(parts) == 5 and all(re.fullmatch("[0-9a-fA-F]{1,15}", part) for part in parts):
        widths = (8, 4, 4, 4, 12)
        return "-".join(
            part[-width:].rjust(width, "0").lower() for part, width in zip(parts, widths, strict=True)
        )
    if parent_of is not None:
        return str(uuid.uuid3(uuid.NAMESPACE_URL, parent_of + text))
    digest = hashlib.md5(text.encode(errors="replace"), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest, version=3))


def answer_for(runs: Mapping[str, Run], run_id: str) -> tuple[int, Any]:
    """The status and body of the answer to a query for one run: by its UUID only."""
    if len(run_id) != 36:
        return 404, {"code": 404, "message": "HTTP 404 Not Found"}
    run = runs.get(run_id.lower())
    if run is None:
        return 404, {"message": f"Run '{run_id}' not found."}
    return 200, asdict(run)


class Double:
    """The two ports. `faults` may be changed at any time."""

    def __init__(self, port: int, admin_port: int, faults: Faults, seed: int = 0) -> None:
        self._port, self._admin_port = port, admin_port
        self.faults = faults
        self.marquez = Marquez()
        self._random = random.Random(seed)  # noqa: S311 - which posts fail, the same in each test run
        self._database = asyncio.Semaphore(faults.connections)
        self._api: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._freed = asyncio.Event()  # when what hangs is cut off
        self._posts = 0
        self._hit: set[bytes] = set()

    async def serve(self, ended: asyncio.Event) -> None:
        admin = await asyncio.start_server(self._connection(self._administer), LOOPBACK, self._admin_port)
        await self._listen()
        await ended.wait()
        admin.close()
        self._refuse()

    async def _listen(self) -> None:
        if self._api is None:
            handler = self._connection(self._answer, keep=True)
            self._api = await asyncio.start_server(handler, LOOPBACK, self._port, limit=16 * 1024 * 1024)

    def _refuse(self) -> None:
        if self._api is not None:
            self._api.close()
            self._api = None
        for writer in self._open:
            writer.transport.abort()
        self._freed.set()
        self._freed = asyncio.Event()

    def _connection(self, answer: Any, keep: bool = False) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if keep:
                self._open.add(writer)
            ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
            with contextlib.suppress(*ends):  # the last one when the program ends
                while (request := await _request(reader)) is not None:
                    status, content = await answer(*request)
                    body = json.dumps(content).encode()
                    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
                    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                    await writer.drain()
            self._open.discard(writer)
            writer.close()

        return serve

    async def _answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, Any]:
        url = urlsplit(target)
        if self.faults.kind == "hang" or (self.faults.kind == "stuck" and method == "GET"):
            await self._freed.wait()
            raise ConnectionAbortedError
        if method == "GET":
            if self.faults.kind in ("fail", "half") and self._random.random() < self.faults.share:
                return 500, {"message": "the database is away"}
            return self.marquez.query(url.path, parse_qs(url.query))
        if (method, url.path) != ("POST", "/api/v1/lineage"):
            return 404, {"message": "HTTP 404 Not Found"}
        return await self._take(headers, body)

    async def _take(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Answer a post according to the current fault."""
        kind = self.faults.kind
        self._posts += 1
        try:
            event = json.loads(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            return 400, {"message": f"Unable to process JSON: {error}"}
        parent = None
        if self.faults.latency:
            async with self._database:
                parent = self.marquez.unknown_parent(event)
                await asyncio.sleep(self.faults.latency)
        agent = headers.get("user-agent", "")
        if not self._hits(kind, body):
            return self.marquez.take(event, agent, parent), None
        if kind == "stuck":
            await self._freed.wait()
        if kind in ("half", "stuck"):
            self.marquez.take(event, agent)
        if kind == "stuck":
            raise ConnectionAbortedError
        return 500, {"message": "There was an error processing your request."}

    def _hits(self, kind: str, body: bytes) -> bool:
        """Whether the fault hits this post; remembered for `once`."""
        again = self.faults.once and body in self._hit
        hit = kind != "none" and not again and self._random.random() < self.faults.share
        if hit:
            self._hit.add(body)
        return hit

    async def _administer(self, method: str, target: str, _headers: Any, body: bytes) -> tuple[int, Any]:
        known = self.marquez
        match method, target:
            case "GET", "/ping":
                return 200, "pong"
            case "GET", "/healthcheck":
                healthy = self.faults.kind not in ("fail", "half")  # it does not see a read-only database
                return (200 if healthy else 500), {"postgresql": {"healthy": healthy}}
            case "GET", "/state":
                runs = {run.id: run.state for run in known.runs.values()}
                return 200, {"posts": known.posts, "runs": runs, "raw": len(known.raw), "tried": self._posts}
            case "GET", "/events":
                return 200, known.raw
            case "PUT", "/faults":
                faults = json.loads(body)
                if faults.get("kind", "none") not in KINDS:
                    return 400, {"message": f"kind must be one of {', '.join(KINDS)}"}
                await self._set(Faults(**faults))
                return 200, asdict(self.faults)
        return 404, {"message": "see the docstring of local.marquez.double"}

    async def _set(self, faults: Faults) -> None:
        hung = self.faults.kind in ("hang", "stuck")
        self.faults = faults
        self._database = asyncio.Semaphore(faults.connections)
        if faults.kind == "refuse" or hung:
            self._refuse()
        if faults.kind != "refuse":
            await self._listen()


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes] | None:
    """The method, target, headers (lower-case names) and body; None at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _version = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return method, target, headers, body


def instant_of(text: Any) -> str | None:
    """A time as Marquez returns it."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    if instant.tzinfo is None:
        return None
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def _main(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    faults = Faults(latency=options.latency, connections=options.connections)
    await Double(options.port, options.admin_port, faults).serve(ended)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.marquez.double")
    parser.add_argument("--port", type=int, required=True, help="the lineage API")
    parser.add_argument("--admin-port", type=int, required=True, help="health, faults and state")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that each post takes")
    parser.add_argument("--connections", type=int, default=20, help="posts handled in parallel")
    asyncio.run(_main(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
