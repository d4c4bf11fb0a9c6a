"""The gate's requests to AWS: signed, bounded in time whatever hangs, and safe in forked processes."""

from __future__ import annotations

import json
import os
import runpy
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from bluegreen import aws
from bluegreen.store import OwnershipUnknown, Parameter, Store
from botocore.credentials import CredentialResolver
from botocore.httpsession import DEFAULT_CA_BUNDLE

from tests.fakes.timeline import dumped, gate_settings, initial

DUE = datetime(2025, 11, 23, 10, tzinfo=UTC)
SETTINGS = gate_settings("blue")
RECORD = {"Value": dumped(initial()), "Version": 1, "LastModifiedDate": 1763891000.123}


class Server:
    """An AWS endpoint on loopback: remembers what came and answers with `status` and `content`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 200
        self.content = json.dumps({"Parameter": RECORD}).encode()
        self.headers: dict[str, str] = {}
        self.takes = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                time.sleep(outer.takes)
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content)

            do_POST = do_PUT = do_GET = answer  # noqa: N815 - the standard library's names

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A process that has keys, a region, and nothing else."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr(aws, "_own", None)
    monkeypatch.setattr(aws, "_spare", None)
    return monkeypatch


def read(timeout: float = 3.0) -> Any:
    return Parameter(SETTINGS.parameter, timeout).read(None)


def test_a_read_is_one_signed_request(server: Server, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ENDPOINT_URL_SSM", server.url)
    answer = read()
    modified = datetime.fromtimestamp(1763891000.123, UTC)
    assert answer.valid == (RECORD["Value"], 1, modified)
    [(method, path, headers, body)] = server.requests
    assert (method, path, json.loads(body)) == ("POST", "/", {"Name": "/p/s/ownership"})
    assert headers["X-Amz-Target"] == "AmazonSSM.GetParameter"
    assert headers["X-Amz-Security-Token"] == "session"
    credential, signed, _signature = headers["Authorization"].split(", ")
    assert credential.startswith("AWS4-HMAC-SHA256 Credential=AKIATEST/")
    assert credential.endswith("/eu-west-1/ssm/aws4_request")
    assert {"host", "x-amz-date", "x-amz-security-token"} <= set(signed.partition("=")[2].split(";"))


def test_an_object_is_put_under_its_bucket_and_key(server: Server, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ENDPOINT_URL", server.url + "/")
    headers = {"Content-Encoding": "gzip"}
    aws.request("s3", "PUT", "/events/a%20b", bucket="log", body=b"x", headers=headers, timeout=3)
    [(method, path, headers, body)] = server.requests
    assert (method, path, body) == ("PUT", "/log/events/a%20b", b"x")
    assert "/eu-west-1/s3/aws4_request" in headers["Authorization"]
    assert len(headers["X-Amz-Content-Sha256"]) == 64


def test_an_object_is_read_from_its_bucket_and_key(server: Server, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ENDPOINT_URL", server.url)
    server.content = b'{"owners": []}' * 10_000
    answer = aws.request("s3", "GET", "/ownership/ab.json", bucket="log", body=b"", headers={}, timeout=3)
    assert answer == server.content
    [(method, path, headers, body)] = server.requests
    assert (method, path, body) == ("GET", "/log/ownership/ab.json", b"")
    assert "/eu-west-1/s3/aws4_request" in headers["Authorization"]
    assert "Content-Type" not in headers


def test_a_response_beyond_the_limit_is_refused(server: Server, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ENDPOINT_URL", server.url)
    environ.setattr(aws, "MAX_BYTES", 1000)
    server.content = b"x" * 1001
    with pytest.raises(aws.AwsError, match="the answer does not end"):
        aws.request("s3", "GET", "/ownership/ab.json", bucket="log", body=b"", headers={}, timeout=3)


@pytest.mark.parametrize(
    ("service", "region", "options", "address"),
    [
        ("ssm", "eu-west-1", {}, "https://ssm.eu-west-1.amazonaws.com"),
        ("ssm", "cn-north-1", {}, "https://ssm.cn-north-1.amazonaws.com.cn"),
        ("ssm", "us-gov-west-1", {}, "https://ssm.us-gov-west-1.amazonaws.com"),
        ("ssm", "us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://ssm-fips.us-east-1.amazonaws.com"),
        ("ssm", "us-east-1", {"AWS_ENDPOINT_URL": "https://vpce-1.test"}, "https://vpce-1.test"),
        (
            "ssm",
            "us-east-1",
            {"AWS_ENDPOINT_URL": "https://all.test", "AWS_ENDPOINT_URL_SSM": "https://mine.test"},
            "https://mine.test",
        ),
        ("s3", "eu-west-1", {}, "https://log.s3.eu-west-1.amazonaws.com"),
        (
            "s3",
            "eu-west-1",
            {"AWS_ENDPOINT_URL_SSM": "https://ssm.test"},
            "https://log.s3.eu-west-1.amazonaws.com",
        ),
    ],
)
def test_endpoints_follow_botocores_rules(
    service: str, region: str, options: dict[str, str], address: str, environ: pytest.MonkeyPatch
) -> None:
    for name, value in options.items():
        environ.setenv(name, value)
    bucket = "log" if service == "s3" else None
    assert aws._endpoint(aws._Account(), service, region, bucket) == address


def test_a_refusal_is_told_with_its_reason(server: Server, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ENDPOINT_URL_SSM", server.url)
    server.status, server.content = 400, b'{"__type":"ThrottlingException","message":"Rate exceeded"}'
    with pytest.raises(aws.AwsError, match=r"http://127.*: 400 .*ThrottlingException.*Rate exceeded"):
        read()
    assert len(server.requests) == 1


def test_no_redirect_is_followed(server: Server, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ENDPOINT_URL_SSM", server.url)
    server.status, server.headers = 302, {"Location": f"{server.url}/elsewhere"}
    with pytest.raises(aws.AwsError, match="302"):
        read()
    assert [path for _, path, _, _ in server.requests] == ["/"]


def test_what_is_missing_is_named(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ.delenv("AWS_REGION")
    with pytest.raises(aws.AwsError, match="must specify a region"):
        read()
    environ.setenv("AWS_REGION", "eu-west-1")
    environ.setattr(CredentialResolver, "load_credentials", lambda _: None)
    with pytest.raises(aws.AwsError, match="Unable to locate credentials"):
        read()
    environ.setenv("AWS_ENDPOINT_URL_SSM", "nonsense")
    with pytest.raises(aws.AwsError, match="nonsense"):
        read()


# --- whom it trusts ---


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def https(authority: trustme.CA, environ: pytest.MonkeyPatch) -> Iterator[Server]:
    """An endpoint whose certificate is of `authority`; nothing is read of certificates yet."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server = Server(tls)
    environ.setenv("AWS_ENDPOINT_URL_SSM", server.url)
    environ.setattr(aws, "_tls", {})
    yield server
    server.stop()


def bundle(tmp_path: Path, authority: trustme.CA, name: str) -> Path:
    """As botocore has it, and one authority more."""
    path = tmp_path / "bundle.pem"
    named = f"\n# Issuer: CN={name} O=Test\n{authority.cert_pem.bytes().decode()}"
    path.write_text(Path(DEFAULT_CA_BUNDLE).read_text() + named)
    return path


@pytest.mark.parametrize(
    ("name", "read_of"),
    [("Amazon Root CA 9", {False}), ("Another Authority", {False, True})],
    ids=["Amazon's", "another's"],
)
def test_all_authorities_are_read_only_if_amazons_do_not_do(
    name: str,
    read_of: set[bool],
    https: Server,
    authority: trustme.CA,
    environ: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = bundle(tmp_path, authority, name)
    environ.setattr(aws, "get_cert_path", lambda _: str(path))
    assert read().valid
    assert read().valid
    assert len(https.requests) == 2
    assert set(aws._tls) == read_of
    assert len({id(tls) for tls in aws._tls.values()}) == 1, "what did not do is not tried again"


def test_an_authority_in_no_bundle_is_refused(https: Server) -> None:
    with pytest.raises(aws.AwsError, match="CERTIFICATE_VERIFY_FAILED"):
        read()
    assert https.requests == []


def test_a_bundle_of_ones_own_is_all_that_counts(
    https: Server, authority: trustme.CA, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    environ.setenv("AWS_CA_BUNDLE", str(tmp_path / "own.pem"))
    assert read().valid
    assert len(aws._tls[True].get_ca_certs()) == 1
    assert set(aws._tls) == {True}


def test_amazons_authorities_are_found_by_their_names() -> None:
    tls = ssl.create_default_context(cadata=aws._amazons(Path(DEFAULT_CA_BUNDLE).read_text()))
    names = {str(each["subject"][-1][0][-1]) for each in tls.get_ca_certs()}
    assert names == {
        *(f"Amazon Root CA {number}" for number in (1, 2, 3, 4)),
        "Starfield Services Root Certificate Authority - G2",
    }


def test_a_bundle_without_names_is_read_as_a_whole(
    https: Server, authority: trustme.CA, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "nameless.pem"))
    environ.setattr(aws, "get_cert_path", lambda _: str(tmp_path / "nameless.pem"))
    assert read().valid
    assert set(aws._tls) == {False}


# --- forked processes ---


def in_a_child(work: Callable[[], bool]) -> bool:
    child = os.fork()
    if not child:
        with suppress(BaseException):
            os._exit(0 if work() else 1)
        os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_leaves_what_it_prepared_to_its_children(environ: pytest.MonkeyPatch) -> None:
    prepared = aws._Account()
    environ.setattr(aws, "_spare", prepared)
    assert aws._mine() is not prepared
    assert aws._mine() is aws._mine()
    assert in_a_child(lambda: aws._mine() is prepared and aws._mine() is prepared)


def test_a_child_shares_nothing_with_a_parent_that_has_made_requests(environ: pytest.MonkeyPatch) -> None:
    mine = aws._mine()
    assert in_a_child(lambda: aws._mine() is not mine and aws._mine() is aws._mine())


def test_importing_asks_nobody(environ: pytest.MonkeyPatch) -> None:
    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was used")

    environ.delenv("AWS_ACCESS_KEY_ID")
    environ.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    environ.setattr(socket.socket, "connect", asked)
    environ.setattr(socket, "getaddrinfo", asked)
    module = runpy.run_path(str(aws.__file__), run_name="bluegreen.aws")
    assert set(module["_tls"]) == {False}
    assert set(module["_endpoints"]) == set(aws.BY_ALL)


# --- whatever hangs ---


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Ends what hangs, at the end of the test."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "bluegreen-read":
            thread.join(20)


class BadServer:
    """Accepts connections and says nothing, or begins an answer and goes on one byte at a time."""

    def __init__(self, drips: bool, let_go: threading.Event) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._drips, self._let_go = drips, let_go
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        accepted: list[socket.socket] = []
        while not self._let_go.is_set():
            with suppress(OSError):
                accepted.append(self._listener.accept()[0])
                if self._drips:
                    accepted[-1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            for connection in accepted if self._drips else ():
                with suppress(OSError):
                    connection.send(b"x")
        for connection in (self._listener, *accepted):
            connection.close()

    def stop(self) -> None:
        self._let_go.set()
        self._thread.join()


def asked_by_a_scheduler(tmp_path: Path) -> tuple[float, str]:
    """How many seconds a scheduler waits for an answer, and what it is told."""
    store = Store(SETTINGS, Parameter(SETTINGS.parameter, 3.0).read, tmp_path / "cache")
    started = time.monotonic()
    with pytest.raises(OwnershipUnknown) as caught:
        store.timeline(DUE, wait=0)
    return time.monotonic() - started, str(caught.value)


@pytest.mark.parametrize("drips", [False, True])
def test_a_server_that_hangs_or_drips_holds_no_scheduler_up(
    drips: bool, let_go: threading.Event, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = BadServer(drips, let_go)
    environ.setenv("AWS_ENDPOINT_URL_SSM", bad.url)
    seconds, reason = asked_by_a_scheduler(tmp_path)
    bad.stop()
    assert seconds < 1.5
    assert reason == "SSM parameter /p/s/ownership: no answer within 0.9 s"


@pytest.mark.parametrize("drips", [False, True])
def test_a_request_ends_by_itself_when_the_server_hangs_or_drips(
    drips: bool, let_go: threading.Event, environ: pytest.MonkeyPatch
) -> None:
    bad = BadServer(drips, let_go)
    environ.setenv("AWS_ENDPOINT_URL_SSM", bad.url)
    with pytest.raises(aws.AwsError, match="the answer does not end" if drips else "timed out"):
        read(timeout=0.3)
    bad.stop()


def test_a_name_server_that_hangs_holds_no_scheduler_up(
    let_go: threading.Event, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hang(*_: Any, **__: Any) -> Any:
        let_go.wait(60)
        raise socket.gaierror("let go")

    environ.setattr(socket, "getaddrinfo", hang)
    seconds, reason = asked_by_a_scheduler(tmp_path)
    assert seconds < 1.5
    assert "no answer within 0.9 s" in reason


def test_credentials_that_do_not_come_hold_no_scheduler_up(
    let_go: threading.Event, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container whose endpoint for credentials hangs: botocore asks it, with retries of its own."""
    bad = BadServer(False, let_go)
    environ.delenv("AWS_ACCESS_KEY_ID")
    environ.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environ.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad.url)
    seconds, reason = asked_by_a_scheduler(tmp_path)
    bad.stop()
    assert seconds < 1.5
    assert "no answer within 0.9 s" in reason


def test_pages_without_end_hold_no_scheduler_up(
    server: Server, let_go: threading.Event, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each page comes in time, all of them do not."""
    environ.setenv("AWS_ENDPOINT_URL_SSM", server.url)
    invalid = {**RECORD, "Version": 7}
    server.content = json.dumps({"Parameter": invalid, "Parameters": [invalid], "NextToken": "more"}).encode()
    server.takes = 0.3
    seconds, reason = asked_by_a_scheduler(tmp_path)
    assert seconds < 1.5
    assert "no answer within 0.9 s" in reason
