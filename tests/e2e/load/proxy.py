"""A TCP proxy that can be made to refuse, to hang, and to bring a write late."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Literal

Mode = Literal["pass", "refuse"]
PUT = b"AmazonSSM.PutParameter"


class Proxy:
    """Listens on a port of loopback and passes everything to another one.

    `late` seconds pass before a PutParameter is handed on, even if its sender has given up meanwhile; with
    `late_puts`, that befalls only so many.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._mode: Mode = "pass"
        self.late = 0.0
        self.late_puts: int | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, mode: Mode) -> None:
        """Refuse connections and cut those that there are, or pass again."""
        with self._lock:
            self._mode = mode
            if mode == "refuse":
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)  # closing alone lets `accept` take one more
                self._listener.close()
                for connection in self._open:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
            else:
                self._listener = self._listen(self.port)

    def close(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self.set("refuse")
        self._thread.join(5)

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        listener.settimeout(0.2)
        return listener

    def _accept(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                listener = self._listener if self._mode == "pass" else None
            if listener is None:
                time.sleep(0.1)
                continue
            try:
                client, _ = listener.accept()
            except OSError:  # nobody came in time, or closed by `set`
                continue
            client.settimeout(None)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _delay(self) -> float:
        with self._lock:
            if self.late_puts is None:
                return self.late
            self.late_puts -= 1
            return self.late if self.late_puts >= 0 else 0.0

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if PUT in data:
                    time.sleep(self._delay())
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
