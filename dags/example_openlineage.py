"""A small web shop, from two sources to two consumers: four DAGs connected by datasets.

    demo_raw     copies the sources into the lake
    demo_clean   checks and cleans what is there
    demo_load    loads the warehouse
    demo_use     builds a report and a model from it

Open Marquez (run the stack's output `lineage_open_command`), choose the namespace of the environment that ran
these DAGs, then one of their jobs. To see a failed check there, trigger demo_clean with {"bad_rows": 3}.

The tasks do no work; they declare OpenLineage datasets as inlets and outlets, and Airflow's OpenLineage
provider reports these. Operators that the provider supports (SQL, Spark, S3 copies and more) report what they
read and write on their own, and so can your own operators, as `Check` does. In its graph Marquez shows 16
characters of a job's name (`dag.task`) and 15 of a dataset's, so the names here are no longer than that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from openlineage.client.event_v2 import Dataset, InputDataset
from openlineage.client.facet_v2 import column_lineage_dataset as lineage
from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality
from openlineage.client.facet_v2 import schema_dataset as schema

try:  # Airflow 3
    from airflow.sdk import BaseOperator, dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.models import BaseOperator

Columns = dict[str, tuple[Any, ...]]  # name -> type, and each (dataset, column) that it comes from


def dataset(namespace: str, name: str, columns: Columns) -> Dataset:
    """A dataset is identified by where it is (the namespace) and its name there. Facets describe it."""
    fields = [schema.SchemaDatasetFacetFields(column, kind) for column, (kind, *_) in columns.items()]
    origins = {
        column: lineage.Fields([lineage.InputField(of.namespace, of.name, field) for of, field in sources])
        for column, (_, *sources) in columns.items()
    }
    facets: dict[str, Any] = {"schema": schema.SchemaDatasetFacet(fields)}
    if any(origin.inputFields for origin in origins.values()):
        facets["columnLineage"] = lineage.ColumnLineageDatasetFacet(origins)
    return Dataset(namespace=namespace, name=name, facets=facets)


def copied(source: Dataset, *without: str) -> Columns:
    """The source's columns, unchanged."""
    facets: Any = source.facets
    fields = facets["schema"].fields
    return {field.name: (field.type, (source, field.name)) for field in fields if field.name not in without}


LAKE, WAREHOUSE = "s3://example-lake", "postgres://warehouse.example:5432"
SHOP_SALES = dataset(
    "mysql://shop.example:3306",
    "shop.sales",
    {"sale_id": ("bigint",), "user_id": ("bigint",), "amount": ("decimal",), "sold_at": ("timestamp",)},
)
CRM_USERS = dataset(
    "mysql://crm.example:3306",
    "crm.users",
    {"user_id": ("bigint",), "email": ("varchar",), "country": ("varchar",)},
)
RAW_SALES = dataset(LAKE, "raw/sales", copied(SHOP_SALES))
RAW_USERS = dataset(LAKE, "raw/users", copied(CRM_USERS))
CLEAN_SALES = dataset(LAKE, "clean/sales", copied(RAW_SALES))
CLEAN_USERS = dataset(LAKE, "clean/users", copied(RAW_USERS, "email"))
DW_SALES = dataset(WAREHOUSE, "dw.public.sales", copied(CLEAN_SALES))
DW_USERS = dataset(WAREHOUSE, "dw.public.users", copied(CLEAN_USERS))
REVENUE = dataset(
    LAKE,
    "reports/revenue",
    {
        "day": ("date", (DW_SALES, "sold_at")),
        "country": ("varchar", (DW_USERS, "country")),
        "revenue": ("decimal", (DW_SALES, "amount")),
    },
)
CHURN = dataset(
    LAKE,
    "models/churn",
    {
        "user_id": ("bigint", (DW_USERS, "user_id")),
        "risk": ("double", (DW_SALES, "amount"), (DW_SALES, "sold_at")),
    },
)


class Check(BaseOperator):  # type: ignore[misc]  # Airflow is unknown to mypy
    """Tests its inlet and reports the outcome of each test."""

    outcome: tuple[quality.Assertion, ...] = ()

    def execute(self, context: Any) -> None:
        """Finds as many bad rows as the run's parameter asks for. Raises ValueError if there are any."""
        bad_rows = context["params"]["bad_rows"]
        self.outcome = (
            quality.Assertion("unique", success=True, column="sale_id"),
            quality.Assertion("not_null", success=not bad_rows, column="user_id"),
        )
        if bad_rows:
            raise ValueError(f"{self.inlets[0].name}: {bad_rows} rows have no user_id")

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """The provider calls this, also after a failure."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        [tested] = self.inlets
        facet = quality.DataQualityAssertionsDatasetFacet([*self.outcome])
        checked = InputDataset(
            namespace=tested.namespace,
            name=tested.name,
            facets=tested.facets,
            inputFacets={"dataQualityAssertions": facet},
        )
        return OperatorLineage(inputs=[checked])


def step(task_id: str, reads: list[Dataset], writes: Dataset) -> Any:
    """A task that derives one dataset from others."""

    @task(task_id=task_id, inlets=reads, outlets=[writes])
    def make() -> None:
        print(f"{', '.join(read.name for read in reads)} -> {writes.name}")

    return make()


COMMON = {
    "start_date": datetime(2025, 1, 1, tzinfo=UTC),
    "catchup": False,
    "is_paused_upon_creation": False,  # so that Marquez shows them right away
    "tags": ["example", "lineage"],
    "doc_md": __doc__,
}


@dag(schedule="*/10 * * * *", **COMMON)
def demo_raw() -> None:
    step("sales", [SHOP_SALES], RAW_SALES)
    step("users", [CRM_USERS], RAW_USERS)


@dag(schedule="2-59/10 * * * *", params={"bad_rows": 0}, **COMMON)
def demo_clean() -> None:
    Check(task_id="check", inlets=[RAW_SALES]) >> step("sales", [RAW_SALES], CLEAN_SALES)
    step("users", [RAW_USERS], CLEAN_USERS)


@dag(schedule="4-59/10 * * * *", **COMMON)
def demo_load() -> None:
    step("sales", [CLEAN_SALES], DW_SALES)
    step("users", [CLEAN_USERS], DW_USERS)


@dag(schedule="6-59/10 * * * *", **COMMON)
def demo_use() -> None:
    step("revenue", [DW_SALES, DW_USERS], REVENUE)
    step("churn", [DW_SALES, DW_USERS], CHURN)


demo_raw()
demo_clean()
demo_load()
demo_use()
