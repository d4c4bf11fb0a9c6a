"""`python -m forwarder --bucket LOG --to http://127.0.0.1:5000`: see `--help`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Sequence
from types import FrameType

import boto3
from botocore.config import Config

import forwarder
from forwarder.carry import READERS, Forwarder, StoppedError, Timing, UnreachableError
from forwarder.deliver import Marquez
from forwarder.log import Log
from forwarder.metrics import Metrics
from forwarder.place import BadPlaceError, LostPlaceError, PlaceKeeper

LEASE = 60.0  # seconds
POST_TIMEOUT = 20.0  # seconds; a post may begin when a third of the lease is over, and must end within it


def main(arguments: Sequence[str] | None = None) -> int:
    """0: told to stop, or (--once) all delivered; 1: see the last line of the log; 2: wrong arguments."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    log = logging.getLogger("forwarder")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    s3 = boto3.client("s3", config=Config(retries={"mode": "standard"}, max_pool_connections=READERS + 2))
    try:
        marquez = Marquez(options.to, timeout=POST_TIMEOUT)
    except ValueError as error:
        log.error("--to: %s", error)  # noqa: TRY400 - a trace would only hide the message
        return 2
    carrier = Forwarder(
        Log(s3, options.bucket),
        PlaceKeeper(s3, options.bucket, options.place, holder=holder, lease=LEASE),
        marquez,
        Timing(poll=options.poll, settle=options.settle, window=options.window),
        metrics=Metrics(boto3.client("cloudwatch"), options.metrics) if options.metrics else None,
        stop=stop,
    )
    log.info("%s: from s3://%s to %s", holder, options.bucket, options.to)
    try:
        if options.once:
            log.info("carried %d; nothing is left", carrier.once(patience=LEASE + 5))
        else:
            carrier.run()
    except (BadPlaceError, LostPlaceError, UnreachableError) as error:
        log.error("%s", error)  # noqa: TRY400 - a trace would only hide the message
        return 1
    except StoppedError:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m forwarder", description=forwarder.__doc__)
    parser.add_argument("--bucket", required=True, help="the lineage log's bucket")
    parser.add_argument("--to", required=True, help="root of the Marquez server, like http://127.0.0.1:5000")
    parser.add_argument(
        "--place",
        default="forwarder/place.json",
        help="key of the place in the bucket; a key of its own for each database (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="end when all that is there is delivered")
    defaults = Timing()
    for name, meaning in {
        "poll": "seconds between looks for new events",
        "settle": "seconds after its time at which an event is carried",
        "window": "seconds within which an event may come late and still be found",
    }.items():
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=float, default=value, help=f"{meaning} (default: %(default)s)")
    parser.add_argument("--metrics", metavar="NAMESPACE", help="report to CloudWatch under this namespace")
    return parser


if __name__ == "__main__":
    sys.exit(main())
