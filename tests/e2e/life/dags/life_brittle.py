"""A DAG that fails where an option has one value: what is good on one side is bad on the other."""

from __future__ import annotations

import os
from typing import Any

# Airflow looks for DAGs only in files that contain its name.
from life_common import dag, every, note, origin, task, work

START = origin("lives")
BAD = "13"  # core.parallelism

if START is not None:

    def brittle(**context: Any) -> None:
        if os.environ["AIRFLOW__CORE__PARALLELISM"] == BAD:
            note("fail", context)
            raise RuntimeError("fails with this option, as planned")
        work(1, **context)

    with dag("brittle", every(30), START):
        task(brittle)
