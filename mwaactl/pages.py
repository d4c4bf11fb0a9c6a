"""The addresses of a stack's web pages: Airflow, Marquez, the dashboard."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from bluegreen.timeline import Colour

from mwaactl import clock
from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable, UsageError

# Where Amazon's plugin for Airflow takes a token, by Airflow's major version.
LOGIN = {2: "/aws_mwaa/aws-console-sso?login=true#", 3: "/pluginsv2/aws_mwaa/aws-console-sso?login=true#"}
LOOPBACK = "127.0.0.1"
TUNNEL_SECONDS = 30.0
STEP = 0.2  # seconds


def airflow_url(deployment: Deployment, colour: Colour) -> str:
    """An address that logs the caller in, once and within 60 s: a secret. Raises Unreachable, UsageError."""
    environment = deployment.stack.require(colour)
    with aws_errors(
        f"log in to {environment.name} (this needs airflow:CreateWebLoginToken on role/<environment>/<role>)"
    ):
        token = deployment.clients.mwaa.create_web_login_token(Name=environment.name)
    host = token["WebServerHostname"]
    if host.startswith(LOOPBACK):  # of the local cloud, whose web server knows no such login
        return f"http://{host}/"
    return f"https://{host}{LOGIN[max(2, min(environment.major, 3))]}{token['WebToken']}"


def dashboard_url(deployment: Deployment) -> str:
    """UsageError if the stack has none."""
    if not deployment.stack.dashboard_url:
        name = deployment.name
        raise UsageError(
            f"stack {name} has no dashboard. To create it: "
            f"pulumi config set enable_monitoring true -s {name} && pulumi up -s {name}"
        )
    return deployment.stack.dashboard_url


@contextmanager
def marquez_url(deployment: Deployment, profile: str | None = None) -> Iterator[tuple[str, bool]]:
    """Marquez's address, valid within the block, and whether it is the end of a tunnel that ends with it.

    From inside the VPC that is its own name, elsewhere a tunnel is opened. Raises Unreachable, UsageError.
    """
    own = urlsplit(deployment.stack.marquez(deployment.stack.lineage_url))
    port = own.port or (443 if own.scheme == "https" else 80)
    if own.hostname and _connects(own.hostname, port):
        yield deployment.stack.lineage_url, False
        return
    command = deployment.stack.lineage_open_command
    match = re.search(r"localPortNumber=(\d+)", command)
    if match is None:
        raise UsageError(f"stack {deployment.name} has no tunnel to Marquez (output lineage_open_command)")
    with _tunnel(command, int(match[1]), profile):
        yield f"http://localhost:{match[1]}", True


@contextmanager
def _tunnel(command: str, port: int, profile: str | None) -> Iterator[None]:
    if shutil.which("aws") is None:
        raise UsageError(
            "the tunnel to Marquez needs the AWS CLI and its Session Manager plugin. On a machine that has "
            f"them: {command}"
        )
    if _connects(LOOPBACK, port):
        raise UsageError(
            f"something already listens on port {port} of this machine. If it is a tunnel to Marquez, open "
            f"http://localhost:{port}, else end it first"
        )
    env = {**os.environ, **({"AWS_PROFILE": profile} if profile else {})}
    # The stack's own output, written for a shell; what it says on stdout is not for ours.
    process = subprocess.Popen(  # noqa: S602
        command,
        shell=True,
        env=env,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # so that all that it has started can be ended
    )
    try:
        _wait(process, port, command)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, command: str) -> None:
    for _ in range(int(TUNNEL_SECONDS / STEP)):
        if process.poll() is not None:
            raise Unreachable(
                f"the tunnel to Marquez ended (exit code {process.returncode}). It needs the AWS CLI, its "
                f"Session Manager plugin and the permission ssm:StartSession. The command was: {command}"
            )
        if _connects(LOOPBACK, port):
            return
        clock.sleep(STEP)
    raise Unreachable(f"the tunnel to Marquez was not open after {TUNNEL_SECONDS:g} s: {command}")


def _connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
