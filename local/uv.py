"""Find the uv executable: it makes the virtual environments of the local cloud."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from local.home import Home
from local.processes import LocalError


def uv(home: Home | None = None) -> Path:
    """The uv executable: on PATH, or beside this Python, or the one that `make` set up below the tools.

    Raises LocalError when there is none.
    """
    bootstrap = (home or Home.find()).tools / "bootstrap" / "bin"
    for folder in (None, str(Path(sys.executable).parent), str(bootstrap)):
        executable = shutil.which("uv", path=folder)
        if executable is not None:
            return Path(executable)
    raise LocalError(
        f"uv was not found on PATH, beside {sys.executable} or in {bootstrap}.\n"
        "Run `make local`, which sets it up, or `pip install uv`."
    )
