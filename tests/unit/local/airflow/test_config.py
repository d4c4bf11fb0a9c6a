"""How the local MWAA configures Airflow's processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from local.airflow import locks
from local.airflow.config import (
    CELERY,
    EXECUTOR_TAG,
    EXECUTOR_VARIABLE,
    IGNORING,
    IMAGE_TAG,
    IMAGE_VARIABLE,
    ISSUE_627,
    ISSUE_627_ALL,
    LOCAL,
    NEW,
    OLD,
    Installation,
    components,
    executor_of,
    image_of,
    option_variable,
    variables,
)
from local.mwaa.rules import Json, ValidationError


def installation(version: str = "3.3.1") -> Installation:
    return Installation(
        name="shop-blue",
        version=version,
        airflow_home=Path("/home/airflow"),
        venv=Path("/home/venv"),
        constraints=locks.lock(version),
        database_url="postgresql+psycopg2://here",
        port=8123,
        fernet_key="fernet",
        secret="secret",
    )


def configured(options: dict[str, str], version: str = "3.3.1") -> dict[str, str]:
    return variables(installation(version), options, {"AWS_ENDPOINT_URL": "http://cloud"}, {"LANG": "C"})


def test_an_option_becomes_airflows_environment_variable() -> None:
    assert option_variable("bluegreen.lead_seconds") == "AIRFLOW__BLUEGREEN__LEAD_SECONDS"
    assert option_variable("a.b.c") == "AIRFLOW__A_B__C"


def test_the_customers_option_wins_over_what_mwaa_only_suggests() -> None:
    assert configured({})["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"] == "1800.0"
    chosen = configured({"scheduler.task_queued_timeout": "60", "core.parallelism": "9"})
    assert chosen["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"] == "60"
    assert chosen["AIRFLOW__CORE__PARALLELISM"] == "9"


@pytest.mark.parametrize("version", locks.VERSIONS)
def test_what_mwaa_forces_wins_over_the_customers_option(version: str) -> None:
    chosen = configured(
        {
            "core.executor": "SequentialExecutor",
            "core.load_examples": "True",
            "core.fernet_key": "mine",
            "database.sql_alchemy_conn": "sqlite://",
        },
        version,
    )
    assert chosen["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert chosen["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert chosen["AIRFLOW__CORE__FERNET_KEY"] == "fernet"
    assert chosen["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://here"


def test_options_that_mwaa_keeps_for_itself_are_dropped() -> None:
    chosen = configured(
        {"celery.broker_url": "x", "metrics.statsd_host": "x", "logging.logging_config_class": "x"}
    )
    assert not [key for key, value in chosen.items() if value == "x"]


def test_airflow_is_pointed_at_the_local_cloud() -> None:
    chosen = configured({"openlineage.namespace": "shop"})
    assert chosen["AWS_ENDPOINT_URL"] == "http://cloud"
    assert chosen["AWS_REGION"] == "us-east-1"
    assert chosen["AIRFLOW__OPENLINEAGE__NAMESPACE"] == "shop"
    assert chosen["AIRFLOW_HOME"] == "/home/airflow"


def test_each_major_version_runs_its_own_components() -> None:
    names = {v: [c.name for c in components(installation(v))] for v in ("2.10.3", "3.0.6")}
    assert names["2.10.3"][0] == "webserver"
    assert names["3.0.6"] == [
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
    ]


@pytest.mark.parametrize("version", ["2.11.2", "3.3.1"])
def test_celery_has_a_worker_and_its_queue_in_the_environments_own_database(version: str) -> None:
    of = replace(installation(version), executor=CELERY)
    chosen = variables(of, {"core.executor": LOCAL, "celery.broker_url": "mine"}, {}, {})
    assert chosen["AIRFLOW__CORE__EXECUTOR"] == CELERY
    assert chosen["AIRFLOW__CELERY__BROKER_URL"] == "sqla+postgresql+psycopg2://here"
    assert chosen["AIRFLOW__CELERY__RESULT_BACKEND"] == "db+postgresql+psycopg2://here"
    assert [c.name for c in components(of)][-1] == "worker"
    assert len(components(of)) == len(components(installation(version))) + 1


def test_an_image_can_ignore_policies_in_the_dag_processor_or_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)
    shop: Json = {"Name": "shop", "AirflowVersion": "3.3.1", "Tags": {}}
    assert image_of(shop) == NEW
    monkeypatch.setenv(IMAGE_VARIABLE, OLD)
    assert image_of(shop) == OLD
    assert image_of(shop | {"Tags": {IMAGE_TAG: ISSUE_627}}) == ISSUE_627
    with pytest.raises(ValidationError, match="allowed are new, old, issue627 and issue627all"):
        image_of(shop | {"Tags": {IMAGE_TAG: "newest"}})
    processes = components(installation("3.3.1"))

    def ignoring(image: str) -> list[str]:
        return [c.name for c in processes if IGNORING.items() <= c.environ(image).items()]

    assert [ignoring(image) for image in (NEW, OLD, ISSUE_627)] == [[], [], ["dag-processor"]]
    assert ignoring(ISSUE_627_ALL) == [c.name for c in processes]


def test_an_environments_tag_chooses_the_executor_before_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(EXECUTOR_VARIABLE, raising=False)
    shop = {"Name": "shop", "AirflowVersion": "3.3.1", "Tags": {}}
    assert executor_of(shop) == LOCAL
    monkeypatch.setenv(EXECUTOR_VARIABLE, CELERY)
    assert executor_of(shop) == CELERY
    assert executor_of(shop | {"Tags": {EXECUTOR_TAG: LOCAL}}) == LOCAL
    with pytest.raises(ValidationError, match="allowed are LocalExecutor and CeleryExecutor"):
        executor_of(shop | {"Tags": {EXECUTOR_TAG: "Celery"}})
    with pytest.raises(ValidationError, match="loses every task"):
        executor_of(shop | {"AirflowVersion": "2.11.2"})
