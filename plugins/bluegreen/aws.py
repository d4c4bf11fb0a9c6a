"""The few AWS requests of Airflow's processes, at a tenth of the cost of a botocore client.

Each Airflow task is a process of its own, forked from one that has imported this module. A client costs it
140 ms of CPU, because the service's whole model and, for HTTPS, all certificates are read each time. So
botocore only finds the credentials, the region and the endpoint, and signs; what it needs for that is read
once in the parent, which opens no connection for it. The request itself is sent by the standard library.
"""

from __future__ import annotations

import os
import ssl
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import URLError

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from botocore.httpsession import get_cert_path
from botocore.session import Session

MODELS = {"ssm": "2014-11-06", "s3": "2006-03-01", "secretsmanager": "2017-10-17"}
SIGNERS = {"ssm": SigV4Auth, "s3": S3SigV4Auth, "secretsmanager": SigV4Auth}
BY_ALL = ("ssm", "s3")  # the services that more than the probe calls
MAX_BYTES = 10_000_000  # of a response


class AwsError(RuntimeError):
    """A request that was refused or not answered; the message says by whom and why."""


class _Account:
    """Botocore's session and credentials, for one process: once used, they may hold sockets."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.session = Session()
        self.session.get_component("credential_provider")
        self._credentials: Any = None

    def option(self, name: str) -> Any:
        return self.session.get_config_variable(name)

    def credentials(self) -> Any:
        """The credentials for signing. Raises botocore's errors."""
        if self._credentials is None:
            self._credentials = self.session.get_component("credential_provider").load_credentials()
        if self._credentials is None:
            raise NoCredentialsError
        return self._credentials.get_frozen_credentials()


# What a forked process inherits: created at import, without any network access.
_spare: _Account | None = None  # for a child: the process that creates it does not use it
_tls: dict[bool, ssl.SSLContext] = {}  # of every authority, or of Amazon's own
_endpoints: dict[str, EndpointProvider] = {}
_own: _Account | None = None


def _mine() -> _Account:
    global _own, _spare
    here = os.getpid()
    if _own is None or _own.process != here:
        if _spare is not None and _spare.process != here:
            _own, _spare = _spare, None
            _own.process = here
        else:
            _own = _Account()
    return _own


def _certificates(account: _Account, *, every: bool = False) -> ssl.SSLContext:
    """Trust Amazon's own authorities, which load in a tenth of the time, `every` one, or a configured set."""
    chosen: Any = account.option("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
    every = every or chosen is not True
    if every not in _tls:
        bundle: Any = get_cert_path(chosen)
        own = "" if every else _amazons(Path(bundle).read_text("ascii", "replace"))
        _tls[every] = ssl.create_default_context(cafile=None if own else bundle, cadata=own or None)
    return _tls[every]


def _amazons(bundle: str) -> str:
    """The certificates of Amazon Trust Services in a bundle whose comments name them, else an empty text."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return "\n".join(
        begin + after.partition(end)[0] + end
        for before, after in pairwise(bundle.split(begin))
        if any(name in before.rpartition(end)[2] for name in ("Amazon Root CA", "Starfield Services Root"))
    )


def _endpoint(account: _Account, service: str, region: str, bucket: str | None) -> str:
    """The URL of a service, or of a bucket, by botocore's rules."""
    if service not in _endpoints:
        load = account.session.get_component("data_loader").load_data
        rules = load(f"{service}/{MODELS[service]}/endpoint-rule-set-1")
        _endpoints[service] = EndpointProvider(rules, load("partitions"))
    custom = (
        os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        or os.environ.get("AWS_ENDPOINT_URL")
        or account.session.get_scoped_config().get("endpoint_url")
    )
    known: dict[str, Any] = {
        "Region": region,
        "UseFIPS": not custom and bool(account.option("use_fips_endpoint")),
        "UseDualStack": not custom and bool(account.option("use_dualstack_endpoint")),
    }
    if custom:
        known["Endpoint"] = custom
    if bucket is not None:
        known |= {"Bucket": bucket, "ForcePathStyle": bool(custom)}
    return str(_endpoints[service].resolve_endpoint(**known).url)


def request(
    service: str,
    method: str,
    path: str = "/",
    *,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float,
    bucket: str | None = None,
) -> bytes:
    """Send one signed request to a service of MODELS; return the response's body. No retries, no redirects.

    `path` is URL-encoded. `timeout` (seconds) limits connecting, each wait for data, and the body as a whole;
    DNS and credential lookups have no limit here. Raises AwsError, also for a response beyond MAX_BYTES.
    """
    address = service
    deadline = time.monotonic() + timeout
    try:
        mine = _mine()
        region = os.environ.get("AWS_REGION") or mine.option("region")
        if not region:
            raise NoRegionError
        address = _endpoint(mine, service, region, bucket)
        signed = AWSRequest(method, address.rstrip("/") + path, dict(headers), body)
        SIGNERS[service](mine.credentials(), service, region).add_auth(signed)
        ready = signed.prepare()
        sent = urllib.request.Request(  # noqa: S310 - AWS's address, or one configured
            ready.url,
            body or None,
            {name: _text(value) for name, value in ready.headers.items()},
            method=method,
        )
        with _open(sent, mine, timeout) as answer:
            content = b""
            while chunk := answer.read1(65536):
                content += chunk
                if len(content) > MAX_BYTES or time.monotonic() > deadline:
                    raise AwsError(f"{address}: the answer does not end")
    except AwsError:
        raise
    except (OSError, ValueError, RuntimeError, HTTPException, BotoCoreError, ClientError) as error:
        raise AwsError(f"{address}: {type(error).__name__}: {error}") from error
    if answer.status >= 300:
        raise AwsError(f"{address}: {answer.status} {content[:300].decode(errors='replace')}")
    return content


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _open(sent: urllib.request.Request, mine: _Account, timeout: float) -> Any:
    tls = _certificates(mine)
    try:
        return _opener(tls).open(sent, timeout=timeout)
    except URLError as error:
        # Not signed by Amazon's authorities: another partition of AWS may have its own, and so may a proxy.
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            everything = _certificates(mine, every=True)
            if everything is not tls:
                _tls[False] = everything  # this process does not try Amazon's alone again
                return _opener(everything).open(sent, timeout=timeout)
        raise


def _opener(tls: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """An opener that uses the environment's proxies, follows no redirects and returns any status."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=tls),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


if __name__ == "bluegreen.aws":  # not when Airflow's plugin manager executes this file again
    with suppress(OSError, BotoCoreError):  # each request reports a mistake in AWS's configuration
        _spare = _Account()
        _certificates(_spare)
        for _service in BY_ALL:
            _endpoint(_spare, _service, "us-east-1", None)
