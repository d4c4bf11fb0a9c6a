"""A customer's cluster policy in the dags folder, as the images of Amazon MWAA since 2026 execute it.

Nothing that is only defined here is taken over, so it sets its policy on the module that Airflow reads. The
DAG processor parses this file, too (the words airflow and dag are in it): doing it twice changes nothing.
"""

import sys
from typing import Any


def _tag(dag: Any) -> None:
    dag.tags = {*dag.tags, "by-dags-folder"}


_module: Any = sys.modules.get("airflow_local_settings")
if _module is not None and not hasattr(_module, "dag_policy"):
    _module.dag_policy = _tag
    _module.__all__ = [*_module.__all__, "dag_policy"]
