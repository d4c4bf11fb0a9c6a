"""A plugin must not outlive the engine that started it. Standard library only: every plugin imports it."""

from __future__ import annotations

import os
import signal
import threading
import time


def end_with_parent() -> None:
    """End this process soon after the engine that started it, whatever the reason for the engine's end."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
