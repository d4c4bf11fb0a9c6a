"""Brings the blue/green gate into Airflow (bluegreen_policy.py), by the first two of its routes.

Older MWAA images import this file as `airflow_local_settings`. Newer images have a module of that name,
execute this file under another name and ignore what it defines. So the policies are set on the module that
Airflow imports, whichever that is. Running this file twice changes nothing.
"""

import sys
from pathlib import Path

__all__: list[str] = []

_folder = str(Path(__file__).resolve().parent)
if _folder not in sys.path:
    sys.path.append(_folder)

import bluegreen_policy  # noqa: E402 - the folder may not have been on the path

bluegreen_policy.install(sys.modules.get("airflow_local_settings") or sys.modules[__name__])
bluegreen_policy.register("policy_manager")
