"""DAGs that try to get round the gate. What a run of each leaves in the ledger: `expected.py`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from zoo_ledger import CREATED, SCHEDULE, callback, note
from zoo_parts import (
    DAG,
    Asset,
    CronPartitionTimetable,
    Deferring,
    EmptyOperator,
    FromTrigger,
    Noting,
    Pager,
    PythonOperator,
    Sensing,
    TaskGroup,
    TriggerDagRunOperator,
    task,
    task_group,
)
from zoo_timetable import OwnIds

UTC = timezone.utc  # noqa: UP017 - as Airflow's own serialisation wants it
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY, PRODUCED = Asset("s3://zoo/empty"), Asset("s3://zoo/produced")


def dag(name: str, **kwargs: Any) -> DAG:
    """A DAG of the zoo: every half minute, unpaused, from now on, unless `kwargs` say otherwise."""
    chosen = {"schedule": SCHEDULE, "start_date": LONG_AGO, "catchup": False} | kwargs
    return DAG(f"zoo_{name}", is_paused_upon_creation=False, **chosen)


def work(**_: Any) -> None:
    note("execute")


with dag("rules", on_success_callback=callback("dag success")):
    first = PythonOperator(
        task_id="first",
        python_callable=work,
        pre_execute=callback("before"),
        post_execute=lambda c, _: note("after", c),
    )
    for rule in ("always", "all_done", "none_failed"):
        first >> Noting(task_id=rule, trigger_rule=rule)
    with TaskGroup("outer"), TaskGroup("inner"):
        Noting(task_id="leaf", trigger_rule="none_skipped")

with dag("mapped"):

    @task
    def make() -> list[int]:
        note("execute")
        return [1, 2]

    @task
    def twice(x: int) -> int:
        note("execute")
        return 2 * x

    @task(trigger_rule="always")
    def literal(x: int) -> None:
        note("execute")

    @task_group
    def each(x: int) -> None:
        PythonOperator(task_id="leaf", python_callable=work, op_args=[], trigger_rule="all_done")

    @task(trigger_rule="all_done")
    def reduce() -> None:
        note("execute")

    twice.expand(x=make()) >> reduce()
    literal.expand(x=[1, 2])
    each.expand(x=[1, 2])

with dag("branch"):

    @task.branch
    def choose() -> str:
        note("execute")
        return "left"

    @task.short_circuit
    def circuit() -> bool:
        note("execute")
        return False

    (
        choose()
        >> [Noting(task_id="left"), Noting(task_id="right")]
        >> Noting(task_id="join", trigger_rule="none_failed_min_one_success")
    )
    circuit() >> Noting(task_id="never")

with dag("sensors"):
    Sensing(task_id="poke", poke_interval=1, timeout=60)
    Sensing(task_id="reschedule", mode="reschedule", poke_interval=10, timeout=60)

with dag("deferrable"):
    Deferring(task_id="deferring")
    FromTrigger(task_id="from_trigger")
    FromTrigger.partial(task_id="from_trigger_mapped").expand(number=[1])

with dag("teardown"):
    lay, clear = Noting(task_id="lay").as_setup(), Noting(task_id="clear").as_teardown()
    lay >> Noting(task_id="dine") >> clear
    lay >> clear

with dag("empty", on_success_callback=callback("dag success")):
    EmptyOperator(task_id="empty") >> EmptyOperator(task_id="with_outlet", outlets=[EMPTY])

with dag("after_empty", schedule=[EMPTY]):
    Noting(task_id="consume")

with dag("producer"):
    Noting(task_id="produce", outlets=[PRODUCED])

with dag("consumer", schedule=[PRODUCED]):
    Noting(task_id="consume", trigger_rule="always")

with dag("callbacks", on_failure_callback=callback("dag failure")):

    @task(retries=1, retry_delay=timedelta(seconds=1), on_retry_callback=callback("on_retry"))
    def flaky(**context: Any) -> None:
        note("execute")
        if context["ti"].try_number == 1:
            raise ValueError("the first time it fails")

    @task(on_failure_callback=callback("on_failure"))
    def fails() -> None:
        note("execute")
        raise ValueError("it always fails")

    @task.short_circuit(
        on_success_callback=callback("on_success"), on_execute_callback=callback("on_execute")
    )
    def shorts() -> bool:
        note("execute")
        return True

    @task(on_skipped_callback=callback("on_skipped"))
    def skips() -> None:
        note("execute")
        from airflow.exceptions import AirflowSkipException

        raise AirflowSkipException("it skips itself")

    flaky()
    fails()
    shorts()
    skips()

with dag("catchup", catchup=True, start_date=CREATED - timedelta(minutes=3), max_active_runs=8):
    Noting(task_id="always", trigger_rule="always")

with dag("parent"):
    TriggerDagRunOperator(
        task_id="trigger", trigger_dag_id="zoo_child", pre_execute=callback("before"), trigger_rule="always"
    )

with dag("child", schedule=None):
    Noting(task_id="only")

with dag("templates", user_defined_macros={"note": note}):
    Noting(task_id="rendered", text="{{ note('rendered') }}")
    Noting(task_id="broken", text="{{ 1 // 0 }}", trigger_rule="always")

with dag("past", default_args={"depends_on_past": True, "wait_for_downstream": True}):
    Noting(task_id="one") >> Noting(task_id="two")

with dag(
    "own_ids",
    schedule=OwnIds(SCHEDULE),
    on_failure_callback=[callback("dag failure"), Pager("paged")],
    on_success_callback=[callback("dag success"), Pager("told")],
):

    @task
    def fails() -> None:
        note("execute")
        raise ValueError("it always fails")

    fails()

with dag(
    "partitions",
    schedule=CronPartitionTimetable(SCHEDULE, timezone="UTC") if CronPartitionTimetable else SCHEDULE,
    on_success_callback=[callback("dag success"), Pager("paged")],
):
    Noting(task_id="only")

for name in ("cleared_here", "cleared_on_the_standby"):  # each has one run, made when Airflow first sees it
    with dag(name, schedule="0 0 * * *"):
        Noting(task_id="one") >> Noting(task_id="always", trigger_rule="always")

with dag("passes_on_an_id", schedule=None):
    TriggerDagRunOperator(
        task_id="trigger",
        trigger_dag_id="zoo_passed_on",
        trigger_run_id="scheduled__{{ run_id[-20:] }}",
        pre_execute=callback("before"),
    )

with dag("passed_on", schedule=None):
    Noting(task_id="only", trigger_rule="always")
