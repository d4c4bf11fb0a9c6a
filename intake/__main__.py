"""`python -m intake --bucket LOG`: see `--help`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import boto3
import waitress
from botocore.config import Config

from intake.app import Intake
from lineage_log.event import LARGEST
from lineage_log.log import Log

THREADS = 16  # requests at a time, each of which waits for S3


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until terminated; then finish what is being written."""
    parser = argparse.ArgumentParser(
        prog="python -m intake", description="Writes posted events to the lineage log."
    )
    parser.add_argument("--bucket", required=True, help="the lineage log's bucket")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=5002, help="the port to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    # Shorter than a producer waits; it posts the event again, or a load balancer asks another node.
    patience = Config(
        connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 2}, max_pool_connections=THREADS
    )
    source = Log(boto3.client("s3", config=patience), options.bucket)

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # waitress then ends, after the requests in progress

    signal.signal(signal.SIGTERM, end)
    logging.getLogger("intake").info("http://%s:%d to s3://%s", options.host, options.port, options.bucket)
    waitress.serve(
        Intake(source),
        host=options.host,
        port=options.port,
        threads=THREADS,
        max_request_body_size=LARGEST + 1,  # one that is larger is answered 413
        ident=None,
        _quiet=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
