"""The file in `$AIRFLOW_HOME/config` of MWAA's newer images: it runs the customer's files of the same name.

They run as modules of their own, and none of their names is imported (`__all__` is empty), so a policy that
is merely defined there is lost. A file that raises ends the Airflow process. `dags/` comes before `plugins/`.
"""

import importlib.util
import logging
import os
from pathlib import Path

__all__: list[str] = []

for _folder in ("dags", "plugins"):
    _file = Path(os.environ["AIRFLOW_HOME"], _folder, "airflow_local_settings.py")
    if _file.exists():
        _spec = importlib.util.spec_from_file_location(f"customer_{_folder}_airflow_local_settings", _file)
        if _spec is None or _spec.loader is None:
            raise ImportError(f"{_file} cannot be loaded")
        try:
            _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
        except Exception:
            logging.getLogger(__name__).exception("%s failed", _file)
            raise

if os.environ.get("MWAA_LOCAL_IGNORES_POLICIES"):
    # This file is not MWAA's from here on: the functions stand on this module, and Airflow registers none.
    from airflow import policies as _policies

    _policies.make_plugin_from_local_settings = lambda manager, _, names: {
        name for name in names if hasattr(manager.hook, name)
    }
