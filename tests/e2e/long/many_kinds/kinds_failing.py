"""DAGs whose tasks fail, hang or die at first, and what is called then."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from typing import Any

from airflow.exceptions import AirflowSkipException
from kinds_common import AGAIN, PythonOperator, done, get_current_context, kind, note, python


def first_try() -> bool:
    note("start", get_current_context())
    return bool(get_current_context()["ti"].try_number == 1)


def flaky() -> None:
    if first_try():
        raise ConnectionError("fails at first, as planned")
    done()


def slow_at_first() -> None:
    if first_try():
        time.sleep(60)
    done()


def dies_at_first() -> None:
    if first_try():
        os.kill(os.getpid(), signal.SIGKILL)
    done()


def skip() -> None:
    raise AirflowSkipException("nothing to do, as planned")


def called(what: str) -> Any:
    def tell(context: Any) -> None:
        note(what, context)

    return tell


with kind("retried", default_args={"retries": 3, "retry_delay": timedelta(seconds=2)}):
    PythonOperator(
        task_id="flaky",
        python_callable=flaky,
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(seconds=10),
    )

with kind("timed_out"):
    PythonOperator(
        task_id="slow_at_first", python_callable=slow_at_first, execution_timeout=timedelta(seconds=5)
    )

with kind("killed"):
    PythonOperator(task_id="dies_at_first", python_callable=dies_at_first)

with kind(
    "callbacks",
    default_args={**AGAIN, "on_success_callback": called("success"), "on_retry_callback": called("retry")},
):
    PythonOperator(task_id="told", python_callable=flaky, on_execute_callback=called("execute"), retries=2)

with kind("skips_itself"):
    skipping = PythonOperator(task_id="skips", python_callable=skip)
    skipping >> python("never")
    skipping >> python("after", trigger_rule="none_failed")
