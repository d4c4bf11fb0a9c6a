"""Two DAGs for which a policy (`plugins/zoo_policy.py`) undoes layers of the gate: the next must do alone.

They are due at midnight, so each has one run, made when Airflow first sees it. Every task starts a process.
"""

from __future__ import annotations

from datetime import datetime, timezone

from zoo_ledger import callback, note
from zoo_parts import DAG, Asset, Deferring, EmptyOperator, FromTrigger, Noting, Sensing, task
from zoo_policy import ONLY_HOOK, ONLY_TASK

for name in (ONLY_TASK, ONLY_HOOK):
    with DAG(
        name,
        schedule="0 0 * * *",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # noqa: UP017
        catchup=False,
        is_paused_upon_creation=False,
        on_success_callback=callback("dag success"),
        on_failure_callback=callback("dag failure"),
        user_defined_macros={"note": note},
    ):
        lay, clear = Noting(task_id="lay").as_setup(), Noting(task_id="clear").as_teardown()
        lay >> Noting(task_id="dine") >> clear
        lay >> clear
        Noting(task_id="always", trigger_rule="always", on_skipped_callback=callback("on_skipped"))

        @task
        def literal(x: int) -> None:
            note("execute")

        literal.expand(x=[1, 2])
        Sensing(task_id="poke", poke_interval=1, timeout=60, retries=1)
        Sensing(task_id="reschedule", mode="reschedule", poke_interval=10, timeout=60)
        Deferring(task_id="deferring")
        FromTrigger(task_id="from_trigger")
        FromTrigger.partial(task_id="from_trigger_mapped").expand(number=[1])
        EmptyOperator(task_id="with_outlet", outlets=[Asset("s3://zoo/empty")])
        Noting(task_id="rendered", text="{{ note('rendered') }}")
        if name == ONLY_TASK:  # the last hook comes too late for these
            Noting(task_id="broken", text="{{ 1 // 0 }}")
            Noting(
                task_id="started",
                on_execute_callback=callback("on_execute"),
                post_execute=lambda c, _: note("after", c),
            )
