"""The home's PostgreSQL server, started for real."""

from __future__ import annotations

import json
from pathlib import Path

from local.aws import postgres
from local.home import Home


def test_postgresql_keeps_a_database_over_a_restart_and_lets_nobody_in_without_password(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    server = postgres.start(home)
    try:
        server.create("shop-blue")
        server.dump("shop-blue", tmp_path / "dump.sql")
        server.create("shop-green", tmp_path / "dump.sql")
        server.drop("shop-green")
        assert not postgres.Server(server.port, "wrong").answers()
        postgres.stop(home)
        assert postgres.start(home) == server
        assert server.exists("shop-blue")
        assert not server.exists("shop-green")
    finally:
        postgres.stop(home)
    assert json.loads((tmp_path / "state" / "postgres" / "server.json").read_text())["port"] == server.port
