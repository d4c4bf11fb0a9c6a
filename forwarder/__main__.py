"""`python -m forwarder --bucket LOG --to http://127.0.0.1:5000`: see `--help`.

For a further sink: `--sink NAME --to URL [--header NAME --secret ARN]`, or `--sink NAME --datazone DOMAIN`.
"""

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
from forwarder.carrier import Carrier, MarquezCarrier
from forwarder.checkpoint_keeper import CheckpointKeeper, LostCheckpointError
from forwarder.forwarder import Forwarder, Timing
from forwarder.metrics import Metrics
from forwarder.sink import DataZoneSink, HttpSink, SinkCarrier, secret_reader
from lineage_log.checkpoint import BadCheckpointError
from lineage_log.log import Log
from lineage_log.marquez_client import MarquezClient
from lineage_log.patient_client import Patience, StoppedError, UnreachableError
from lineage_log.read_ahead import READERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the forwarder; return its exit code.

    0: stopped, or (--once) nothing is left to forward; 1: an error, in the last line; 2: invalid arguments.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.sink is None and (options.datazone or options.secret):
        parser.error("--datazone and --secret need --sink")
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
        carrier = _carrier(options, f"lineage-forwarder/{holder}")
    except ValueError as error:
        log.error("--to: %s", error)  # noqa: TRY400 - a trace would only hide the message
        return 2
    worker = _forwarder(options, carrier, holder, stop)
    log.info("%s: from s3://%s to %s", holder, options.bucket, options.to or options.datazone)
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


def _carrier(options: argparse.Namespace, agent: str) -> Carrier:
    """Raises ValueError if `--to` is not a URL."""
    if options.sink is None:
        return MarquezCarrier(MarquezClient(options.to, timeout=options.timeout, agent=agent))
    # Retries are ours: they know the lease.
    config = Config(
        connect_timeout=5,
        read_timeout=options.timeout,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=options.posters,
    )
    if options.datazone:
        return SinkCarrier(
            options.sink, DataZoneSink(boto3.client("datazone", config=config), options.datazone)
        )
    secret = None
    if options.secret:
        secret = secret_reader(boto3.client("secretsmanager", config=config), options.secret)
    sink = HttpSink(options.to, timeout=options.timeout, agent=agent, header=options.header, secret=secret)
    return SinkCarrier(options.sink, sink)


def _forwarder(
    options: argparse.Namespace, carrier: Carrier, holder: str, stop: threading.Event
) -> Forwarder:
    reading = Config(retries={"mode": "standard"}, max_pool_connections=READERS + options.posters + 2)
    # Neither the lease's renewals nor the metrics may wait long for an answer.
    brief = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1})
    keeper = CheckpointKeeper(
        boto3.client("s3", config=brief),
        options.bucket,
        options.checkpoint or _place(options.sink),
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
        metrics = Metrics(cloudwatch, options.metrics, options.bucket, sink=options.sink, disks=options.disk)
    source = Log(boto3.client("s3", config=reading), options.bucket)
    return Forwarder(source, keeper, carrier, timing, posters=options.posters, metrics=metrics, stop=stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m forwarder", description=forwarder.__doc__)
    parser.add_argument("--bucket", required=True, help="the lineage log's bucket")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--to",
        metavar="URL",
        help="root of Marquez, like http://127.0.0.1:5000; of a sink, where it takes events",
    )
    target.add_argument("--datazone", metavar="ID", help="with --sink: a domain of DataZone or SageMaker")
    parser.add_argument("--sink", metavar="NAME", help="it is not Marquez, but the further sink of this name")
    parser.add_argument(
        "--header", default="Authorization", metavar="NAME", help="with --secret (default: %(default)s)"
    )
    parser.add_argument("--secret", metavar="ARN", help="with --sink: the secret with the header's value")
    parser.add_argument(
        "--checkpoint",
        metavar="KEY",
        help=f"key of the checkpoint in the bucket; each database needs its own (default: {_place(None)}, "
        f"of a sink {_place('NAME')})",
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


def _place(sink: str | None) -> str:
    return "forwarder/checkpoint.json" if sink is None else f"forwarder/sink-{sink}.json"


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be a number greater than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
