"""`mwaactl open`: the stack's pages in the browser."""

from __future__ import annotations

import os
import re
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mwaactl.deployment import Deployment
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment
from tests.fakes.aws.mwaa import HOST, TOKEN
from tests.fakes.mwaactl.commands import Command

# A tunnel whose other end serves a page, as `aws ssm start-session` would forward to one.
AWS = """#!/usr/bin/env python3
import http.server, os, pathlib, re, sys
pathlib.Path(os.environ["SEEN"]).write_text(f"{os.environ.get('AWS_PROFILE')} {os.getpid()}")
if "broken" in sys.argv:
    sys.exit(254)
port = int(re.search(r"localPortNumber=(\\d+)", " ".join(sys.argv))[1])
http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were opened."""
    opened: list[str] = []

    def open_it(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", open_it)
    return opened


def outputs(monkeypatch: pytest.MonkeyPatch, aws: FakeClients, **changes: Any) -> None:
    monkeypatch.setattr(Deployment, "open", lambda *_: deployment(aws, "fullha", **changes))


def test_airflow_of_the_owner_is_opened_logged_in_and_the_token_is_not_shown(
    run: Command, aws: FakeClients, browser: list[str]
) -> None:
    result = run("open", "airflow")
    assert browser == [f"https://{HOST}/pluginsv2/aws_mwaa/aws-console-sso?login=true#{TOKEN}"]
    assert result.output == f"Opened Airflow of {BLUE}.\n"
    run("switch", "green", "--yes")
    aws.ssm.clock.forward(60)
    assert run("open", "airflow").output == f"Opened Airflow of {GREEN}.\n"


def test_print_shows_the_address_and_opens_nothing(run: Command, browser: list[str]) -> None:
    result = run("open", "airflow", "green", "--print")
    assert result.stdout == f"https://{HOST}/pluginsv2/aws_mwaa/aws-console-sso?login=true#{TOKEN}\n"
    assert browser == []


def test_airflow_2_takes_the_token_elsewhere(
    run: Command, aws: FakeClients, browser: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = deployment(aws)
    blue = stack.stack.airflow_environments["blue"].model_copy(update={"airflow_version": "2.11.2"})
    outputs(monkeypatch, aws, airflow_environments={"blue": blue.model_dump()})
    run("open", "airflow", "blue")
    assert browser == [f"https://{HOST}/aws_mwaa/aws-console-sso?login=true#{TOKEN}"]


def test_the_local_cloud_needs_no_login(run: Command, aws: FakeClients, browser: list[str]) -> None:
    aws.mwaa.environments[BLUE]["WebserverUrl"] = "127.0.0.1:8081"
    run("open", "airflow", "blue")
    assert browser == ["http://127.0.0.1:8081/"]


def test_without_a_browser_the_error_says_how_to_get_the_address(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    result = run("open", "airflow", "blue")
    assert (result.exit_code, "--print" in result.stderr) == (4, True)
    assert TOKEN not in result.output
    assert run("open", "airflow", "purple").exit_code == 2


def test_the_dashboard_is_the_stacks_own(
    run: Command, aws: FakeClients, browser: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("open", "dashboard")
    assert browser == ["https://console.example/dashboard"]
    outputs(monkeypatch, aws, dashboard_url="")
    result = run("open", "dashboard")
    assert (result.exit_code, "enable_monitoring" in result.stderr) == (2, True)


class Tunnel:
    """An AWS CLI on PATH, and a stack whose Marquez can be reached through it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, aws: FakeClients) -> None:
        self.seen, self._patch, self._aws = folder / "seen", monkeypatch, aws
        cli = folder / "aws"
        cli.write_text(AWS)
        cli.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setenv("SEEN", str(self.seen))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        monkeypatch.setattr("mwaactl.clock.sleep", self._sleep)
        self.page = ""
        self.stack()

    def stack(self, command: str = "aws ssm start-session", **changes: Any) -> None:
        outputs(
            self._patch,
            self._aws,
            **{
                "lineage_url": "http://127.0.0.1:1",  # nobody listens
                "lineage_open_command": f"{command} --parameters localPortNumber={self.port}",
                **changes,
            },
        )

    def _sleep(self, seconds: float) -> None:
        if seconds > 60:  # it is open: look at the page, then Ctrl-C
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}") as answer:
                self.page = answer.read().decode()
            raise KeyboardInterrupt
        time.sleep(seconds)

    def ended(self) -> bool:
        pid = int(self.seen.read_text().split()[1])
        for _ in range(50):
            if not Path(f"/proc/{pid}").exists():
                break
            time.sleep(0.1)
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0


@pytest.fixture
def tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: FakeClients) -> Tunnel:
    return Tunnel(tmp_path, monkeypatch, aws)


def test_marquez_is_opened_through_a_tunnel_that_ends_with_ctrl_c(
    run: Command, tunnel: Tunnel, browser: list[str]
) -> None:
    result = run("--profile", "data", "open", "marquez")
    assert result.exit_code == 0, result.output
    assert browser == [f"http://localhost:{tunnel.port}"]
    assert "Directory listing" in tunnel.page
    assert tunnel.seen.read_text().startswith("data ")
    assert tunnel.ended()


def test_a_shell_between_us_and_the_tunnel_does_not_keep_it_open(
    run: Command, tunnel: Tunnel, browser: list[str]
) -> None:
    tunnel.stack("true && aws ssm start-session")
    assert run("open", "marquez", "--print").stdout == f"http://localhost:{tunnel.port}\n"
    assert tunnel.ended()


def test_inside_the_vpc_no_tunnel_is_needed(run: Command, tunnel: Tunnel, browser: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as marquez:
        url = f"http://127.0.0.1:{marquez.getsockname()[1]}"
        tunnel.stack(lineage_url=url)
        assert run("open", "marquez").exit_code == 0
    assert browser == [url]
    assert not tunnel.seen.exists()


def test_a_tunnel_that_fails_says_what_it_needs(run: Command, tunnel: Tunnel) -> None:
    tunnel.stack("aws broken")
    result = run("open", "marquez")
    assert result.exit_code == 4
    assert re.search(r"exit code 254.*Session Manager plugin", result.stderr)


def test_a_port_that_is_in_use_is_not_taken_for_marquez(
    run: Command, tunnel: Tunnel, browser: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", tunnel.port)):
        result = run("open", "marquez")
    assert (result.exit_code, browser) == (2, [])
    assert f"port {tunnel.port}" in result.stderr


def test_without_the_aws_cli_the_command_is_shown(
    run: Command, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    result = run("open", "marquez")
    assert (result.exit_code, "aws ssm start-session" in result.stderr) == (2, True)
