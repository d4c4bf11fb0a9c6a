"""Three tasks that say what they read and write, so that Marquez draws the way of the data.

    orders (S3) -> clean_orders -> orders_clean (S3) -> load_warehouse -> orders (PostgreSQL) -> daily_report -> report (S3)

Open Marquez (`mwaactl` and the stack's outputs say how), choose the namespace of the environment that ran this DAG and
look for one of its jobs.

The tasks declare OpenLineage datasets as inlets and outlets; the OpenLineage provider reports them as they are. The tasks do
no work here. Operators that the provider knows (SQL, Spark, S3 copies and more) report what they read and write by themselves.
"""

from __future__ import annotations

from datetime import datetime, timezone

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
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    tags=["example", "lineage"],
    doc_md=__doc__,
)
def example_openlineage():
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
