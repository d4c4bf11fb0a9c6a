"""Finding the uv executable, which creates the local cloud's virtual environments."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from local.home import Home
from local.processes import LocalError


def uv(home: Home | None = None) -> Path:
    """The uv executable: on PATH, next to this Python, or the one that `make` installs in the tools.

    Raises LocalError if there is none.
    """
    bootstrap = (home or Home.find()).tools / "bootstrap" / "bin"
    for folder in (None, str(Path(sys.executable).parent), str(bootstrap)):
        executable = shutil.which("uv", path=folder)
        if executable is not None:
            return Path(executable)
    raise LocalError(
        f"uv was not found on PATH, next to {sys.executable} or in {bootstrap}.\n"
        "Run `make local`, which installs it, or `pip install uv`."
    )
