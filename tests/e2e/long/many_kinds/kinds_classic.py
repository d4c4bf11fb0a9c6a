"""Pipelines of operators, as most folders have them: steps, branches, groups, rules, templates, secrets."""

from __future__ import annotations

import json
import os
from typing import Any

from kinds_common import (
    BaseHook,
    BashOperator,
    BranchPythonOperator,
    EmptyOperator,
    LatestOnlyOperator,
    Param,
    PythonOperator,
    ShortCircuitOperator,
    TaskGroup,
    Variable,
    done,
    due_at,
    get_current_context,
    kind,
    python,
)
from kinds_schedule import odd
from life_common import CHOSEN

with kind("invoices", tags=["finance"], description="Three steps, one after the other"):
    python("extract", 0.5) >> python("transform") >> python("load")


def line(dag_run: Any, ti: Any) -> str:
    """What a shell writes to the ledger."""
    told = {
        "what": "done",
        "colour": os.environ["AIRFLOW__BLUEGREEN__ENVIRONMENT"],
        "dag": ti.dag_id,
        "run": dag_run.run_id,
        "due": due_at(dag_run).isoformat(),
        "task": ti.task_id,
        "map": ti.map_index,
        "try": ti.try_number,
        "at": due_at(dag_run).isoformat(),
        "pid": 0,
        "causes": [],
    }
    return json.dumps(told)


with kind("shell_report", user_defined_macros={"line": line}):
    BashOperator(
        task_id="print",
        bash_command="echo 'for {{ ds }}' && printf '%s\\n' \"$LINE\" >> " + CHOSEN["ledger"],
        env={"LINE": "{{ line(dag_run, ti) }}"},
        append_env=True,
    )


def route(**context: Any) -> str:
    done()
    return "express" if odd(due_at(context["dag_run"])) else "standard"


with kind("order_routing"):
    choose = BranchPythonOperator(task_id="choose", python_callable=route)
    join = python("join", trigger_rule="none_failed_min_one_success")
    choose >> [python("express"), python("standard")] >> join


def never() -> bool:
    done()
    return False


with kind("weekend_only"):
    check = ShortCircuitOperator(
        task_id="check", python_callable=never, ignore_downstream_trigger_rules=False
    )
    check >> python("skipped_today") >> python("always_after", trigger_rule="all_done")

with kind("latest_snapshot"):
    LatestOnlyOperator(task_id="newest") >> python("snapshot")


def broken() -> None:
    raise ValueError("fails, as planned")


with kind("rules", default_args={"retries": 0}):
    failing = PythonOperator(task_id="failing", python_callable=broken)
    fine = EmptyOperator(task_id="fine")
    [failing, fine] >> python("on_one_failed", trigger_rule="one_failed")
    [failing, fine] >> python("on_all_done", trigger_rule="all_done")
    failing >> python("on_all_failed", trigger_rule="all_failed")

with kind("nested_groups"):
    with TaskGroup("raw") as raw:
        python("read")
    with TaskGroup("clean") as clean, TaskGroup("text"):
        python("trim") >> python("lower")
    raw >> clean >> python("publish")

with kind("fan_out_fan_in"):
    python("begin") >> [python(f"part_{number}") for number in range(3)] >> python("end")


def check_rendered(day: str, until: str, twice: str, nested: dict[str, list[str]]) -> None:
    context = get_current_context()
    assert day == context["data_interval_start"].strftime("%Y-%m-%d")
    assert until == due_at(context["dag_run"]).isoformat()
    assert twice == "42"
    assert nested == {"of": [context["run_id"]]}
    done()


with kind("templated", user_defined_macros={"double": lambda number: 2 * number}):
    PythonOperator(
        task_id="render",
        python_callable=check_rendered,
        op_kwargs={
            "day": "{{ ds }}",
            "until": "{{ data_interval_end.isoformat() }}",
            "twice": "{{ double(21) }}",
            "nested": {"of": ["{{ run_id }}"]},
        },
    )


def use(limit: str) -> None:
    assert limit == "10", limit
    done()


with kind("with_params", params={"limit": Param(10, type="integer", minimum=1), "region": "north"}):
    PythonOperator(task_id="use", python_callable=use, op_args=["{{ params.limit }}"])


def read(from_template: str) -> None:
    assert Variable.get("kinds_colour") == from_template == "turquoise"
    assert BaseHook.get_connection("kinds_warehouse").host == "warehouse.example.com"
    done()


with kind("secrets_readers"):
    PythonOperator(task_id="read", python_callable=read, op_args=["{{ var.value.kinds_colour }}"])

with kind("no_mail", default_args={"retries": 0, "email": ["x@example.com"], "email_on_failure": False}):
    failing = PythonOperator(task_id="fails", python_callable=broken)
    failing >> python("fails_quietly_after", trigger_rule="all_done")
