"""The proxy that the end-to-end test puts before the parameter store."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.load.proxy import PUT, Proxy

LATE = 0.4  # seconds


class Server(socketserver.ThreadingTCPServer):
    """Answers every piece of data with itself, and remembers it."""

    daemon_threads = True
    allow_reuse_address = True
    got: list[bytes]


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            assert isinstance(self.server, Server)
            self.server.got.append(data)
            self.request.sendall(data)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Echo) as server:
        server.got = []
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(int(server.server_address[1]))
    yield proxy
    proxy.close()


def ask(proxy: Proxy, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(data)
        return client.recv(1024)


def test_it_passes_what_both_sides_say(proxy: Proxy) -> None:
    assert ask(proxy, b"hello") == b"hello"
    assert proxy.url == f"http://127.0.0.1:{proxy.port}"


def test_it_refuses_new_connections_cuts_old_ones_and_passes_again(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as old:
        old.sendall(b"hello")
        assert old.recv(1024) == b"hello"
        proxy.set("refuse")
        assert old.recv(1024) == b""
    with pytest.raises(ConnectionRefusedError):
        ask(proxy, b"hello")
    proxy.set("pass")
    assert ask(proxy, b"hello") == b"hello"


def test_a_put_arrives_late_even_if_its_sender_has_gone_and_other_calls_do_not_wait(
    proxy: Proxy, server: Server
) -> None:
    proxy.late, proxy.late_puts = LATE, 1
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(b"X-Amz-Target: " + PUT)
    assert ask(proxy, b"GetParameter") == b"GetParameter"
    assert server.got == [b"GetParameter"]
    deadline = time.monotonic() + 10
    while len(server.got) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.got[1].endswith(PUT)
    assert ask(proxy, PUT) == PUT, "the only one that was to be late has been"
