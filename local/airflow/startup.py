"""The customer's startup script, which MWAA runs before each of Airflow's processes.

What it exports, the process has: before what MWAA only suggests, after the customer's options and what MWAA
forces. A script that fails, or takes longer than five minutes, keeps the process from starting.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from local.processes import LocalError

SECONDS = 295  # MWAA's five minutes without the five seconds in which it ends the script
# `source`: as on MWAA, `exit` in the script ends all of it, and then nothing is exported.
RUN = 'source "$1" && env -0 > "$2"'
PROTECTED = (
    "AIRFLOW_ENV_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_REGION",
    "CUSTOMER_ACCOUNT_ID",
    "PYTHONPATH",
)


def with_startup(
    script: Path, environ: Mapping[str, str], fixed: Collection[str], folder: Path, log: Path
) -> dict[str, str]:
    """`environ` and what the script exports, unless a variable is `fixed`. It runs in `folder`.

    Its output goes to the end of `log`. Raises LocalError.
    """
    with tempfile.TemporaryDirectory() as temporary, log.open("ab") as output:
        exported = Path(temporary) / "exported"
        try:
            done = subprocess.run(
                ["bash", "-c", RUN, "startup", str(script), str(exported)],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalError(f"the startup script took longer than {SECONDS} s (log: {log})") from error
        if not exported.exists() or done.returncode:
            raise LocalError(f"the startup script ended with exit code {done.returncode} (log: {log})")
        pairs = (text.split("=", 1) for text in exported.read_text().split("\0") if "=" in text)
        theirs = {key: value for key, value in pairs if environ.get(key) != value}
    return {**environ, **{key: value for key, value in theirs.items() if not _is_fixed(key, fixed)}}


def _is_fixed(key: str, fixed: Collection[str]) -> bool:
    return key in fixed or key in PROTECTED or key.startswith("MWAA__")
