"""Makes two hosts of one: each environment's own folder for temporary files, and one with a wrong clock.

Newer MWAA images execute this file at the start of every Airflow process, before the plugins' one; it may run
twice in one. Only the gate's clock is wrong, as `load.json` says: {"skew": {"green": seconds}}. It may also
say {"mutation": name}, see mutations.py.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

_here = Path(__file__).parent
_colour = os.environ.get("AIRFLOW__BLUEGREEN__ENVIRONMENT", "")
_plugins = _here.parent / "plugins"


def _skewed(seconds: float) -> None:
    from bluegreen import store

    class Time:
        """The module `time`, with another `time()`."""

        def __getattr__(self, name: str) -> object:
            return getattr(time, name)

        @staticmethod
        def time() -> float:
            return time.time() + seconds

    if vars(store)["time"] is not time:
        return  # done already
    vars(store)["time"] = Time()
    defaults = store.Store.__init__.__defaults__ or ()
    changed = tuple(Time.time if value is time.time else value for value in defaults)
    if changed == defaults:
        raise RuntimeError("the gate's clock is no longer where the load's airflow_local_settings.py sets it")
    store.Store.__init__.__defaults__ = changed


if (_here / "load.json").exists() and (_plugins / "bluegreen").exists():
    _chosen = json.loads((_here / "load.json").read_text())
    tempfile.tempdir = str(Path(_chosen["ledger"]).with_name(f"tmp-{_colour}"))
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    sys.path[:0] = [str(_here), str(_plugins)]
    if _seconds := _chosen["skew"].get(_colour):
        _skewed(_seconds)
    if _name := _chosen["mutation"]:
        from mutations import MUTATIONS  # type: ignore[import-not-found]  # its folder is known to Airflow only

        MUTATIONS[_name]()
