"""Airflow's own command line in an environment, which Amazon MWAA carries out in the web server.

CreateCliToken gives a token of 60 s. With it the command goes to the web server as text; the answer has what
it printed as base64, and the HTTP status tells whether it succeeded: 200 or 400. Which commands MWAA allows:
https://docs.aws.amazon.com/mwaa/latest/userguide/airflow-cli-command-reference.html
"""

from __future__ import annotations

import base64
import json
import shlex
import urllib.error
import urllib.request
from collections.abc import Sequence

from bluegreen.timeline import Colour

from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Model

# Airflow 3 has the pages of older plugins below /pluginsv2. Which one it is there is not documented.
PATHS = ("/aws_mwaa/cli", "/pluginsv2/aws_mwaa/cli")
SECONDS = 120.0
LOOPBACK = "127.0.0.1"  # the local cloud
NOT_FOUND = 404


class Printed(Model):
    """What a command printed. `ok`: it succeeded."""

    environment: str
    command: str
    ok: bool
    stdout: str
    stderr: str


def run(deployment: Deployment, colour: Colour, words: Sequence[str]) -> Printed:
    """Have an environment carry out `airflow <words>`. Raises Unreachable, UsageError.

    Call it once: an unanswered command may have been carried out.
    """
    environment = deployment.stack.require(colour)
    with aws_errors(
        f"get a token for Airflow's commands in {environment.name} (this needs airflow:CreateCliToken on it: "
        "the document `airflow_cli` of the output operator_policies)"
    ):
        token = deployment.clients.mwaa.create_cli_token(Name=environment.name)
    host, command = token["WebServerHostname"], shlex.join(words)
    root = f"http://{host}" if host.startswith(LOOPBACK) else f"https://{host}"
    for path in PATHS:
        status, body = _post(root + path, token["CliToken"], command)
        if status != NOT_FOUND:
            break
    try:
        printed = json.loads(body)
        stdout, stderr = (base64.b64decode(printed[part]).decode() for part in ("stdout", "stderr"))
    except (ValueError, KeyError, TypeError) as error:
        text = body.decode(errors="replace").strip()[:300]
        raise Unreachable(
            f"{environment.name} did not carry out `airflow {command}`: HTTP {status} {text}"
        ) from error
    return Printed(
        environment=environment.name, command=command, ok=status == 200, stdout=stdout, stderr=stderr
    )


def _post(url: str, token: str, command: str) -> tuple[int, bytes]:
    """Status and body. Raises Unreachable."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
    request = urllib.request.Request(url, command.encode(), headers, method="POST")  # noqa: S310 - MWAA's
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"the web server does not answer: {reason}. It may be private (webserver_access), so that only "
            "the VPC reaches it. Whether the command was carried out is not known"
        ) from error
