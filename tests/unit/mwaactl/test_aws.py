"""Whose credentials `mwaactl` uses: those of `--profile`, of AWS_PROFILE, or boto3's own choice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from typer.testing import CliRunner, Result

from mwaactl import deployment
from mwaactl.cli.app import app
from mwaactl.stack import parse
from tests.fakes.aws.clients import outputs
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.timeline import dumped, initial

ON_CALL = "arn:aws:iam::123456789012:role/on-call"
CONFIG = f"""
[profile plain]
aws_access_key_id = AKIDPLAIN
aws_secret_access_key = secret

[profile on-call]
role_arn = {ON_CALL}
source_profile = plain
"""
ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/on-call/x</Arn><AssumedRoleId>A:x</AssumedRoleId>
</AssumedRoleUser><Credentials><AccessKeyId>AKIDASSUMED</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


@dataclass
class Aws:
    """STS and Parameter Store. `assumed`: (access key, role) of each AssumeRole; `readers`: access keys."""

    url: str = ""
    assumed: list[tuple[str, str]] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Aws]:
    seen = Aws()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            if "Action=AssumeRole" in body:
                seen.assumed.append((key, parse_qs(body)["RoleArn"][0]))
                self._answer(ASSUMED, "text/xml")
            else:
                seen.readers.append(key)
                record = {
                    "Name": OWNERSHIP,
                    "Value": dumped(initial()),
                    "Version": 1,
                    "LastModifiedDate": 1.0,
                }
                self._answer(json.dumps({"Parameter": record}), "application/x-amz-json-1.1")

        def _answer(self, text: str, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    config = tmp_path / "config"
    config.write_text(CONFIG)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", seen.url)
    monkeypatch.setattr(deployment, "load", lambda *_: parse(outputs()))
    yield seen
    server.shutdown()
    server.server_close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_profile_may_assume_a_role(aws: Aws) -> None:
    result = run("--profile", "on-call", "active")
    assert (result.exit_code, result.stdout) == (0, "blue\n")
    assert aws.assumed == [("AKIDPLAIN", ON_CALL)]
    assert set(aws.readers) == {"AKIDASSUMED"}


def test_the_environments_profile_may_assume_a_role_too(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "on-call")
    assert run("active").exit_code == 0
    assert set(aws.readers) == {"AKIDASSUMED"}


def test_the_option_goes_before_what_the_environment_names(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "on-call")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert run("active").exit_code == 0
    assert set(aws.readers) == {"AKIDENVIRONMENT"}, "so it goes before AWS_PROFILE"
    aws.readers.clear()
    assert run("--profile", "plain", "active").exit_code == 0
    assert set(aws.readers) == {"AKIDPLAIN"}
    aws.readers.clear()
    assert run("active").exit_code == 0
    assert set(aws.readers) == {"AKIDENVIRONMENT"}, "the option is of one command only"


def test_an_unknown_profile_is_named(aws: Aws) -> None:
    result = run("--profile", "nobody", "active")
    assert result.exit_code == 4
    assert "nobody" in result.stderr
    assert "AWS_PROFILE" in result.stderr
