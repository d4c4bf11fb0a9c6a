"""Three tasks that say what they read and write, so that Marquez draws the way of the data.

    orders/raw.csv -> clean_orders   -> orders/clean.parquet
                      load_warehouse -> shop.public.orders
                      daily_report   -> reports/daily.html

Open Marquez (the stack's output `lineage_open_command` says how), choose the namespace of the environment
that ran this DAG, and one of its jobs.

The tasks do no work; they declare OpenLineage datasets as inlets and outlets, which Airflow's OpenLineage
provider reports as they are. Operators that the provider knows (SQL, Spark, copies in S3 and more) report by
themselves what they read and write.
"""

from __future__ import annotations

from datetime import UTC, datetime

from openlineage.client.event_v2 import Dataset

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

# A dataset is where it lives (the namespace) and what it is called there.
RAW = Dataset(namespace="s3://example-landing", name="orders/raw.csv")
CLEAN = Dataset(namespace="s3://example-lake", name="orders/clean.parquet")
TABLE = Dataset(namespace="postgres://warehouse.example:5432", name="shop.public.orders")
REPORT = Dataset(namespace="s3://example-lake", name="reports/daily.html")


@dag(
    schedule="*/10 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,  # to be looked at in Marquez at once
    tags=["example", "lineage"],
    doc_md=__doc__,
)
def example_openlineage() -> None:
    @task(inlets=[RAW], outlets=[CLEAN])
    def clean_orders() -> None:
        """Read the raw file, write the clean one."""
        print(f"{RAW.name} -> {CLEAN.name}")

    @task(inlets=[CLEAN], outlets=[TABLE])
    def load_warehouse() -> None:
        """Load the clean file into the warehouse's table."""
        print(f"{CLEAN.name} -> {TABLE.name}")

    @task(inlets=[TABLE], outlets=[REPORT])
    def daily_report() -> None:
        """Summarise the table."""
        print(f"{TABLE.name} -> {REPORT.name}")

    clean_orders() >> load_warehouse() >> daily_report()


example_openlineage()
