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
from botocore.exceptions import BotoCoreError, ClientError

import forwarder
from forwarder.checkpoint_keeper import CheckpointKeeper, LostCheckpointError
from forwarder.forwarder import Forwarder, Timing
from forwarder.metrics import Metrics
from lineage_log.checkpoint import BadCheckpointError
from lineage_log.log import Log
from lineage_log.marquez_client import MarquezClient
from lineage_log.patient_client import Patience, StoppedError, UnreachableError
from lineage_log.read_ahead import READERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the forwarder; return its exit code.

    0: stopped, or (--once) nothing is left to forward; 1: an error, in the last line; 2: invalid arguments.
    """
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
    try:
        marquez = MarquezClient(options.to, timeout=options.timeout, agent=f"lineage-forwarder/{holder}")
    except ValueError as error:
        log.error("--to: %s", error)  # noqa: TRY400 - a trace would only hide the message
        return 2
    worker = _forwarder(options, marquez, holder, stop)
    log.info("%s: from s3://%s to %s", holder, options.bucket, options.to)
    try:
        if options.once:
            log.info("forwarded %d events", worker.once(patience=options.lease + 5))
        else:
            worker.run()
    except (BadCheckpointError, LostCheckpointError, UnreachableError) as error:
        log.error("%s", error)  # noqa: TRY400 - a trace would only hide the message
        return 1
    except (ClientError, BotoCoreError) as error:
        log.error("S3: %s", error)  # noqa: TRY400 - likewise
        return 1
    except StoppedError:
        pass
    return 0


def _forwarder(
    options: argparse.Namespace, marquez: MarquezClient, holder: str, stop: threading.Event
) -> Forwarder:
    reading = Config(retries={"mode": "standard"}, max_pool_connections=READERS + options.posters + 2)
    # Neither the lease's renewals nor the metrics may wait long for an answer.
    brief = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1})
    keeper = CheckpointKeeper(
        boto3.client("s3", config=brief),
        options.bucket,
        options.checkpoint,
        holder=holder,
        lease=options.lease,
    )
    timing = Timing(
        poll=options.poll,
        settle=options.settle,
        window=options.window,
        # Longer than a post: an event at which Marquez hangs becomes a suspect before Marquez is given up.
        patience=Patience(give_up=max(30, options.timeout + 10)),
    )
    metrics = None
    if options.metrics:
        cloudwatch = boto3.client("cloudwatch", config=brief)
        metrics = Metrics(cloudwatch, options.metrics, options.bucket, disks=options.disk)
    source = Log(boto3.client("s3", config=reading), options.bucket)
    return Forwarder(source, keeper, marquez, timing, posters=options.posters, metrics=metrics, stop=stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m forwarder", description=forwarder.__doc__)
    parser.add_argument("--bucket", required=True, help="the lineage log's bucket")
    parser.add_argument("--to", required=True, help="root URL of Marquez, like http://127.0.0.1:5000")
    parser.add_argument(
        "--checkpoint",
        default="forwarder/checkpoint.json",
        metavar="KEY",
        help="key of the checkpoint in the bucket; each database needs its own (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="forward what is in the log, then exit")
    defaults = Timing()
    seconds = {
        "poll": (defaults.poll, "between polls for new events"),
        "settle": (defaults.settle, "from an event's time until it is forwarded"),
        "window": (defaults.window, "after its event's time within which a new object is forwarded at once"),
        "timeout": (20.0, "for Marquez to answer a post"),
        "lease": (10.0, "without a sign of life before another forwarder takes over"),
    }
    for name, (value, meaning) in seconds.items():
        parser.add_argument(
            f"--{name}", type=_positive, default=value, help=f"seconds {meaning} (default: %(default)g)"
        )
    parser.add_argument(
        "--posters",
        type=int,
        choices=range(1, 33),
        default=12,  # of the 20 connections to its database that Marquez may open
        metavar="1-32",
        help="number of events to post in parallel, of different jobs (default: %(default)d)",
    )
    parser.add_argument(
        "--metrics", metavar="NAMESPACE", help="report metrics to CloudWatch in this namespace"
    )
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="PATH",
        help="with --metrics: report how full the disk is there; of several, the fullest",
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be a number greater than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
