"""The client's connections to Marquez."""

from __future__ import annotations

import pytest

from lineage_log.http_server import Answer
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
    monkeypatch.setattr("lineage_log.http_server.KEEP_OPEN", 0)
    assert client.ping().delivered
    client.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "<!DOCTYPE html>\n<html><head><style>body { color: red }</style><title>Error 500</title></head>\n"
            "<body><h2>HTTP ERROR 500</h2>\n<pre>    Request failed.</pre></body></html>",
            "HTTP 500: Error 500 HTTP ERROR 500 Request failed.",
        ),
        ('{"code": 500,\n "message": "a <b> c"}', 'HTTP 500: {"code": 500, "message": "a <b> c"}'),
        ("x" * 5000, "HTTP 500: " + "x" * 300),
    ],
)
def test_an_answer_is_shown_in_one_line_without_markup(text: str, shown: str) -> None:
    assert str(Answer(500, text)) == shown
