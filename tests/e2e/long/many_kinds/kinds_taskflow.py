"""Airflow DAGs of decorated functions: results passed on, branches, mapping, setup and teardown."""

from __future__ import annotations

from kinds_common import done, due_at, get_current_context, kind, setup, task, task_group, teardown
from kinds_schedule import odd

with kind("sales_etl"):

    @task
    def extract() -> dict[str, float]:
        done()
        return {"a": 1.5, "b": 2.5}

    @task
    def transform(sales: dict[str, float]) -> float:
        done()
        return sum(sales.values())

    @task
    def load(total: float) -> None:
        assert total == 4
        done()

    load(transform(extract()))

with kind("several_outputs"):

    @task(multiple_outputs=True)
    def measure() -> dict[str, int]:
        done()
        return {"rows": 3, "columns": 2}

    @task
    def report(rows: int, columns: int) -> None:
        assert rows * columns == 6
        done()

    measured = measure()
    report(measured["rows"], measured["columns"])

with kind("big_xcom"):

    @task
    def make() -> list[int]:
        done()
        return list(range(8_000))

    @task
    def pass_on(numbers: list[int]) -> list[int]:
        done()
        return numbers[::-1]

    @task
    def check(numbers: list[int]) -> None:
        assert sum(numbers) == 31_996_000
        done()

    check(pass_on(make()))

with kind("weather_branch"):

    @task.branch
    def decide() -> str:
        done()
        return "rain" if odd(due_at(get_current_context()["dag_run"])) else "sun"

    @task
    def told() -> None:
        done()

    (
        decide()
        >> [told.override(task_id="rain")(), told.override(task_id="sun")()]
        >> told.override(task_id="done", trigger_rule="none_failed_min_one_success")()
    )

with kind("gate_keeper"):

    @task.short_circuit
    def is_open() -> bool:
        done()
        return True

    @task
    def record() -> None:
        done()

    is_open() >> record()

with kind("mapped_files"):

    @task
    def list_files() -> list[str]:
        done()
        return ["a.csv", "bb.csv", "ccc.csv"]

    @task(max_active_tis_per_dagrun=2)
    def load(name: str) -> int:
        done()
        return len(name)

    @task
    def sum_up(sizes: list[int]) -> None:
        assert sum(sizes) == 18
        done()

    sum_up(load.expand(name=list_files()))

with kind("mapped_groups"):

    @task_group
    def each(region: str) -> None:
        @task
        def read(name: str) -> str:
            done()
            return name

        @task
        def write(name: str) -> None:
            assert name in ("north", "south")
            done()

        write(read(region))

    @task
    def finish() -> None:
        done()

    each.expand(region=["north", "south"]) >> finish()

with kind("mapped_twice"):

    @task
    def numbers() -> list[int]:
        done()
        return [2, 3]

    @task
    def square(number: int) -> int:
        done()
        return number * number

    @task
    def double(number: int) -> None:
        assert number in (4, 9)
        done()

    double.expand(number=square.expand(number=numbers()))

with kind("cluster"):

    @setup
    def create() -> str:
        done()
        return "cluster-1"

    @task
    def compute(name: str) -> None:
        assert name == "cluster-1"
        done()

    @teardown
    def delete(name: str) -> None:
        done()

    made = create()
    compute(made) >> delete(made)
