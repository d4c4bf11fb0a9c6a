"""What each DAG of the folder must have done by each instant at which it is due. It knows no Airflow.

Every DAG is due once in `PERIOD` seconds, each at a second of its own, so that they spread over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

PERIOD = 180
UTC = timezone.utc  # noqa: UP017 - as Airflow's own serialisation wants it


@dataclass(frozen=True)
class Kind:
    """One DAG. `tasks` complete in each run, `odd` and `even` in every second one, `perhaps` at most once.

    `after`: the DAG that causes its runs, each of which notes the due instant of its cause.
    """

    name: str
    tasks: tuple[str, ...] = ("work",)
    odd: tuple[str, ...] = ()
    even: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    after: str | None = None

    def expected(self, due: datetime) -> tuple[str, ...]:
        return self.tasks + (self.odd if odd(due) else self.even)


def mapped(task: str, count: int) -> tuple[str, ...]:
    """Task instances as the ledger names them."""
    return tuple(f"{task}[{index}]" for index in range(count))


def odd(due: datetime) -> bool:
    return int(due.timestamp() // PERIOD) % 2 == 1


KINDS = (
    # Classic operators
    Kind("invoices", ("extract", "transform", "load")),
    Kind("shell_report", ("print",)),
    Kind("order_routing", ("choose", "join"), odd=("express",), even=("standard",)),
    Kind("weekend_only", ("check", "always_after")),
    Kind("latest_snapshot", (), perhaps=("snapshot",)),
    Kind("rules", ("on_one_failed", "on_all_done", "on_all_failed")),
    Kind("nested_groups", ("raw.read", "clean.text.trim", "clean.text.lower", "publish")),
    Kind("fan_out_fan_in", ("begin", "part_0", "part_1", "part_2", "end")),
    Kind("templated", ("render",)),
    Kind("with_params", ("use",)),
    Kind("secrets_readers", ("read",)),
    Kind("no_mail", ("fails_quietly_after",)),
    # What fails, and what is called then
    Kind("retried", ("flaky",)),
    Kind("timed_out", ("slow_at_first",)),
    Kind("killed", ("dies_at_first",)),
    Kind("callbacks", ("told",)),
    Kind("skips_itself", ("after",)),
    # TaskFlow
    Kind("sales_etl", ("extract", "transform", "load")),
    Kind("several_outputs", ("measure", "report")),
    Kind("big_xcom", ("make", "pass_on", "check")),
    Kind("weather_branch", ("decide", "done"), odd=("rain",), even=("sun",)),
    Kind("gate_keeper", ("is_open", "record")),
    Kind("mapped_files", ("list_files", *mapped("load", 3), "sum_up")),
    Kind("mapped_groups", (*mapped("each.read", 2), *mapped("each.write", 2), "finish")),
    Kind("mapped_twice", ("numbers", *mapped("square", 2), *mapped("double", 2))),
    Kind("cluster", ("create", "compute", "delete")),
    # Limits
    Kind("in_pool", ("one", "two")),
    Kind("prioritised", ("urgent", "later")),
    Kind("few_tasks", ("a", "b", "c")),
    Kind("one_run", ("work",)),
    Kind("on_the_past", ("work",)),
    Kind("on_downstream", ("first", "second")),
    Kind("with_deadline", ("work",)),
    # Waiting
    Kind("poking", ("wait", "work")),
    Kind("rescheduling", ("wait", "work")),
    Kind("deferring_sensor", ("work",)),
    Kind("deferring_operator", ("defer",)),
    Kind("gives_up_softly", ("anyway",)),
    Kind("upstream", ("publish",)),
    Kind("downstream", ("consume",)),
    # Schedules
    Kind("no_catchup", ("work",)),
    Kind("berlin", ("work",)),
    Kind("delta", ("work",)),
    Kind("own_timetable", ("work",)),
    # Causes
    Kind("parent", ("before",)),
    Kind("child", ("work",), after="parent"),
    Kind("producer", ("produce",)),
    Kind("chained", ("pass_on",), after="producer"),
    Kind("end_of_chain", ("consume",), after="producer"),
    Kind("other_producer", ("produce",)),
    Kind("either_of_two", ("consume",), after="other_producer"),
)
# Due at instants that are not all alike on both sides, once in all, or when somebody asks.
OTHERS = ("endless", "at_events", "at_once", "from_the_past", "both_of_two", "by_hand", "backfilled")
BY_NAME = {kind.name: kind for kind in KINDS}


def offset(name: str) -> int:
    """The DAG's second within the period."""
    own = [kind.name for kind in KINDS if kind.after is None]
    return own.index(name) * PERIOD // len(own)


def cron(name: str) -> str:
    """Its sixth field is the second."""
    minute, second = divmod(offset(name), 60)
    return f"{minute}-59/{PERIOD // 60} * * * * {second}"


def instants(name: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """Those at which it is due in [since, until)."""
    seconds = (since.timestamp() - offset(name)) // PERIOD * PERIOD + offset(name)
    while (instant := datetime.fromtimestamp(seconds, UTC)) < until:
        if instant >= since:
            yield instant
        seconds += PERIOD


def first_before(name: str, origin: datetime) -> datetime:
    """A start date by which the first run is due at or after the origin."""
    return next(instants(name, origin - timedelta(seconds=PERIOD), origin))
