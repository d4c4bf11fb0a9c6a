"""The client's connections to Marquez."""

from __future__ import annotations

import pytest

from lineage_log.marquez_client import MarquezClient
from tests.fakes.lineage.marquez import FakeMarquez


def test_a_connection_that_the_server_closed_as_idle_is_not_used_again(
    marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MarquezClient(marquez.url, timeout=5)
    assert client.ping().delivered
    [(idle, _)] = client._idle
    assert idle.sock is not None
    idle.sock.close()  # as after the server's idle timeout
    monkeypatch.setattr("lineage_log.marquez_client.KEEP_OPEN", 0)
    assert client.ping().delivered
    client.close()
