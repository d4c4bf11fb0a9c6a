"""Variables and connections of one's own: a file that cannot be meant is named before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from local import secrets, up
from local.aws import callers
from local.home import Home
from local.processes import LocalError


class Missing(Exception):  # noqa: N818 - AWS's name is ResourceNotFoundException
    pass


def test_values_are_taken_as_airflow_exports_them(tmp_path: Path) -> None:
    file = tmp_path / "connections.json"
    warehouse = {"conn_type": "postgres", "host": "db", "port": 5432}
    file.write_text(json.dumps({"warehouse": warehouse, "plain": "postgres://db"}))
    assert secrets.contents("CONNECTIONS", str(file)) == {
        "warehouse": json.dumps(warehouse),
        "plain": "postgres://db",
    }
    yaml = tmp_path / "variables.yaml"
    yaml.write_text("batch: 10\nname: a b\n")
    assert secrets.contents("VARIABLES", str(yaml)) == {"batch": "10", "name": "a b"}
    assert secrets.contents("VARIABLES", "") == {}


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"[1, 2]",
        b"{",
        b"a: \xff",
        b"start: 2026-01-01",
        b"start: 2026-13-01",
        b"a: {2026-01-01: 3}",
        b"a: !!binary aGk=",
        b"a: !!set {x}",
        b"a: .nan",
        b"a: &a [*a]",
        b"on: yes",
        b"a: " + b"[" * 5000,
        b"a: ''",
        b"'': x",
        b"a b: x",
        b"a: " + b"x" * 65537,
    ],
)
def test_another_file_is_refused_before_anything_starts(tmp_path: Path, content: bytes | None) -> None:
    file, home = tmp_path / "variables.json", tmp_path / "home"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LocalError, match=r"VARIABLES=.*variables\.json"):
        up.up(Home(home), "standard", print, up.Own(variables=str(file)))
    assert not home.exists()


def test_a_value_that_json_does_not_have_is_named(tmp_path: Path) -> None:
    file = tmp_path / "variables.yaml"
    file.write_text("end: '2026-01-01'\nstart: 2026-01-01\n")
    with pytest.raises(LocalError, match=r"VARIABLES=.*: 'start' in .* put it in quotes"):
        secrets.contents("VARIABLES", str(file))
    with pytest.raises(LocalError, match=r"VARIABLES=~nosuchuser/x: .* cannot be read"):
        secrets.contents("VARIABLES", "~nosuchuser/x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("batch: ''", "'batch' in .* is empty, .* give it a value, or leave it out"),
        (f"batch: {'é' * 40000}", "'batch' in .* has 80,000 bytes, .* 65,536"),
        ("my batch: '1'", "'my batch' in .* another name"),
    ],
)
def test_what_secrets_manager_refuses_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "variables.yaml"
    file.write_text(content)
    with pytest.raises(LocalError, match=f"VARIABLES=.*: {said}"):
        secrets.contents("VARIABLES", str(file))


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said"}}, "PutSecretValue")


@pytest.mark.parametrize(
    "error",
    [client_error("InvalidRequestException"), EndpointConnectionError(endpoint_url="http://127.0.0.1:1")],
)
@pytest.mark.parametrize("new", [False, True])
def test_a_secret_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, new: bool
) -> None:
    def refuse(**_: str) -> None:
        raise error

    def missing(**_: str) -> None:
        raise Missing

    client = SimpleNamespace(
        put_secret_value=missing if new else refuse,
        create_secret=refuse,
        exceptions=SimpleNamespace(ResourceNotFoundException=Missing),
    )
    monkeypatch.setattr(callers, "deployer", lambda *_: client)
    with pytest.raises(
        LocalError, match=r"CONNECTIONS: .*'warehouse' .* p/c/warehouse: .*make local"
    ) as raised:
        secrets.store(Home(tmp_path), {"connections_prefix": "p/c"}, {"connections": {"warehouse": "x"}})
    assert str(error) in str(raised.value)


def test_a_secret_is_made_or_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = {"p/variables/old": "1"}

    def put(**request: Any) -> None:
        if request["SecretId"] not in stored:
            raise Missing
        stored[request["SecretId"]] = request["SecretString"]

    client = SimpleNamespace(
        put_secret_value=put,
        create_secret=lambda **request: stored.update({request["Name"]: request["SecretString"]}),
        exceptions=SimpleNamespace(ResourceNotFoundException=Missing),
    )
    monkeypatch.setattr(callers, "deployer", lambda *_: client)
    outputs = {"variables_prefix": "p/variables", "connections_prefix": "p/connections"}
    given = {"variables": {"old": "2", "new": "3"}, "connections": {}}
    assert secrets.store(Home(tmp_path), outputs, given) == 2
    assert stored == {"p/variables/old": "2", "p/variables/new": "3"}
