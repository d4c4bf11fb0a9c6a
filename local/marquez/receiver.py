"""A stand-in for Marquez on machines without a container engine: it checks and keeps OpenLineage events.

`python -m local.marquez.receiver --port P --store DIR`. It has the part of Marquez's API that the forwarder
and the tests use, and one page at `/`.
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import logging
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from local.marquez.double import answer_for
from local.marquez.events import EventChecker, EventStore, Job
from local.processes import LOOPBACK

log = logging.getLogger("local.marquez.receiver")


def application(folder: Path) -> Starlette:
    """The receiver as an ASGI application, its events in `folder`."""
    store, checker = EventStore(folder), EventChecker()

    async def lineage(request: Request) -> Response:
        try:
            event = json.loads(await _body(request))
        except (ValueError, OSError, EOFError, zlib.error) as error:
            return _refusal(400, [f"not JSON: {error}"])
        if problems := checker.problems(event):
            return _refusal(422, problems)
        store.add(event)
        return Response(status_code=201)

    async def namespaces(_request: Request) -> Response:
        return JSONResponse({"namespaces": [{"name": name} for name in sorted(store.namespaces)]})

    async def events(request: Request) -> Response:
        try:
            limit = int(request.query_params.get("limit", "100"))
            offset = int(request.query_params.get("offset", "0"))
        except ValueError:
            limit = offset = -1
        if limit < 0 or offset < 0:
            return _refusal(400, ["limit and offset must be whole numbers, 0 or more"])
        chosen = list(store.recent)[offset : offset + limit]
        return JSONResponse({"events": chosen, "totalCount": store.count})

    async def run(request: Request) -> Response:
        status, body = answer_for(store.runs, request.path_params["run_id"])
        return JSONResponse(body, status_code=status)

    async def page(_request: Request) -> Response:
        return HTMLResponse(_page(store))

    return Starlette(
        routes=[
            Route("/api/v1/lineage", lineage, methods=["POST"]),
            Route("/api/v1/namespaces", namespaces),
            Route("/api/v1/events/lineage", events),
            Route("/api/v1/jobs/runs/{run_id}", run),
            Route("/", page),
        ]
    )


async def _body(request: Request) -> bytes:
    body = await request.body()
    return gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body


def _refusal(status: int, problems: Sequence[str]) -> Response:
    log.warning("refused (%d): %s", status, "; ".join(problems))
    return JSONResponse({"code": status, "message": "; ".join(problems)}, status_code=status)


def _page(store: EventStore) -> str:
    def row(namespace: str, name: str, job: Job) -> str:
        states = [list(job.runs.values()).count(state) for state in ("COMPLETE", "FAIL")]
        cells = [
            namespace,
            name,
            str(len(job.runs)),
            *(str(count) for count in states),
            job.last_event,
            ", ".join(sorted(job.inputs)),
            ", ".join(sorted(job.outputs)),
        ]
        return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"

    titles = ("namespace", "job", "runs", "completed", "failed", "last event", "inputs", "outputs")
    rows = "".join(row(*names, job) for names, job in sorted(store.jobs.items(), key=lambda item: item[0]))
    return (
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=10>"
        "<title>Lineage receiver</title>"
        "<style>body{font:15px sans-serif;margin:2em}td,th{text-align:left;padding:.3em 1em .3em 0}</style>"
        "<h1>Lineage receiver</h1><p>This is not Marquez: no container engine runs here, so its events are "
        f"checked against the OpenLineage spec and kept. {store.count} events.</p>"
        f"<table><tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>{rows}</table>"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.marquez.receiver")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True, help="the folder for the events")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    log.info("lineage receiver (not Marquez) on http://%s:%d/", LOOPBACK, options.port)
    log.info("events are kept in %s", options.store / "events.jsonl")
    uvicorn.run(
        application(options.store), host=LOOPBACK, port=options.port, log_config=None, access_log=False
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
