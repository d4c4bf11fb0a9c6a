"""The emulated AWS: MiniStack, one process in a Python environment of its own.

`door.py` starts it, so that it judges each call by the policies of its caller. It needs its own
environment because it pins botocore. It keeps its state below `<home>/state/aws` and loads
it at its next start, on the same port: S3 objects are written at once, everything else on SIGTERM
(`make local-down`, a shutdown). After a crash or a power cut, `pulumi refresh` detects what is missing and
`pulumi up` creates it again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from local.home import ACCOUNT, REGION, Home
from local.processes import LOOPBACK, LocalError, Started, alone, clean_environ, find, kept_port, wait_until
from local.processes import start as start_process
from local.processes import stop as stop_process
from local.uv import uv

VERSION = "1.5.33"
NAME = "aws"  # of the process (see local.processes)
START_SECONDS = 60.0
DOOR = Path(__file__).with_name("door.py")
ROOT_KEY = "test"  # MiniStack's own: the deployer, who may do everything

Report = Callable[[str], None]


def start(home: Home, report: Report = lambda _: None) -> Started:
    """Start MiniStack unless it is running; return when it answers.

    Raises LocalError if it cannot be installed or does not start.
    """
    running = find(home, NAME)
    if running is not None and _healthy(running.port):
        return running
    python = ensure(home, report)
    state = home.dir("state", "aws")
    port = kept_port(state / "port", must_be_free=running is None)
    environment = clean_environ(
        GATEWAY_PORT=str(port),
        BIND_HOST=LOOPBACK,
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        MINISTACK_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        PERSIST_STATE="1",
        STATE_DIR=str(state / "services"),
        S3_PERSIST="1",
        S3_DATA_DIR=str(state / "s3"),
        TMPDIR=str(home.dir("state", "aws", "tmp")),
        AUTH="true",  # judge each call (door.py)
        DOOR_RECORD=str(home.door_record),
        # Listeners that are not needed here, and management of containers that are not ours.
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        DOCKER_HOST=f"unix://{state}/no-docker.sock",
        LOG_LEVEL="WARNING",
    )
    # Not from its folder, where a module of the same name is: -P.
    process = start_process(home, NAME, [python, "-P", DOOR], env=environment, port=port)
    wait_until(
        lambda: _healthy(port), "MiniStack (emulated AWS)", seconds=START_SECONDS, process=process, every=0.1
    )
    return process


def stop(home: Home) -> None:
    """Stop MiniStack, which saves its state."""
    stop_process(home, NAME)


def environ(home: Home) -> dict[str, str]:
    """The variables that point boto3, and what is built on it, at the emulated AWS: as the deployer."""
    return {
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{kept_port(home.dir('state', 'aws') / 'port')}",
        "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # botocore puts `api.` before MWAA's host
        "AWS_EC2_METADATA_DISABLED": "true",
        # The user's own profile must not lead a local command to a real account.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def ensure(home: Home, report: Report = lambda _: None) -> Path:
    """MiniStack's Python; its environment is installed on first use. Raises LocalError."""
    folder = home.tools / f"ministack-{VERSION}"
    python = folder / "bin" / "python"
    with alone(home.tools / "ministack.lock"):
        if (folder / "complete").exists():
            return python
        report(f"MiniStack {VERSION}: installing (once)")
        for command in (
            [str(uv(home)), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [str(uv(home)), "pip", "install", "--quiet", "--python", str(python), f"ministack=={VERSION}"],
        ):
            result = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise LocalError(f"Installing MiniStack failed: {' '.join(command)}\n{result.stderr.strip()}")
        (folder / "complete").touch()
    return python


def _healthy(port: int | None) -> bool:
    if port is None:
        return False
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/_ministack/health", timeout=2) as answer:
            return "services" in json.load(answer)
    except (OSError, ValueError):
        return False
