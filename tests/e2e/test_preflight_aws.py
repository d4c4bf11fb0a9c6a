"""What the preflight asks AWS itself, of an emulated one: metrics, and files however they were uploaded. And
a push of DAGs that is killed there."""

from __future__ import annotations

import io
import multiprocessing
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from boto3.s3.transfer import TransferConfig

from local.aws import ministack
from local.home import Home
from mwaactl.aws import Clients
from mwaactl.checks.cloudwatch import Metrics, read_metrics
from mwaactl.checks.evidence import compare_files
from mwaactl.checks.outcome import FileComparison
from mwaactl.dags import changes, journal, push
from mwaactl.dags.push import push_dags
from mwaactl.deployment import Deployment
from mwaactl.stack import parse
from tests.fakes.aws.clients import outputs
from tests.fakes.aws.s3 import LINEAGE_LOG

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDatumTypeDef

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_TOOLS", str(Home.find().tools))  # what `make` set up, shared by all homes
        home = Home(tmp_path_factory.mktemp("aws"))
        ministack.start(home)
        for name, value in ministack.environ(home).items():
            patch.setenv(name, value)
        yield Clients("us-east-1")
    ministack.stop(home)


def test_an_environments_metrics_are_read_back_as_amazon_publishes_them(clients: Clients) -> None:
    now = datetime.now(UTC)

    def put(metric: str, function: str, value: float, age: float, environment: str = "blue") -> None:
        dimensions: list[DimensionTypeDef] = [
            {"Name": "Function", "Value": function},
            {"Name": "Environment", "Value": environment},
        ]
        point: MetricDatumTypeDef = {
            "MetricName": metric,
            "Dimensions": dimensions,
            "Timestamp": now - timedelta(seconds=age),
            "Value": value,
        }
        clients.cloudwatch.put_metric_data(Namespace="AmazonMWAA", MetricData=[point])

    assert read_metrics(clients.cloudwatch, "blue", now) == Metrics()
    put("SchedulerHeartbeat", "Scheduler", 12, 190)
    put("SchedulerHeartbeat", "Scheduler", 11, 70)
    put("SchedulerHeartbeat", "Scheduler", 11, 10, "green")
    put("ImportErrors", "DAG Processing", 2, 190)
    put("ImportErrors", "DAG Processing", 1, 70)
    put("DagBagSize", "DAG Processing", 41, 70)
    metrics = read_metrics(clients.cloudwatch, "blue", now)
    assert (metrics.import_errors, metrics.dags) == (1, 41)
    assert metrics.heartbeat is not None
    assert timedelta(seconds=10) <= now - metrics.heartbeat <= timedelta(seconds=130), (
        "its minute begins before"
    )


def test_files_are_the_same_by_content_however_they_were_uploaded(clients: Clients) -> None:
    environments = parse(outputs()).airflow_environments
    sides = (environments["blue"], environments["green"])
    for side in sides:
        clients.s3.create_bucket(Bucket=side.bucket)
    blue, green = (side.bucket for side in sides)
    content = b"# a large DAG\n" * (6 * MIB // 14)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    clients.s3.put_object(Bucket=blue, Key="dags/large.py", Body=content)
    clients.s3.upload_fileobj(io.BytesIO(content), green, "dags/large.py", Config=parts)
    etags = {clients.s3.head_object(Bucket=bucket, Key="dags/large.py")["ETag"] for bucket in (blue, green)}
    assert len(etags) == 2, "it did come in parts"
    assert compare_files(clients.s3, *sides) == FileComparison(same=1)

    clients.s3.upload_fileobj(io.BytesIO(content[:-1] + b"!"), green, "dags/large.py", Config=parts)
    clients.s3.put_object(Bucket=blue, Key="dags/new.py", Body=b"")
    assert compare_files(clients.s3, *sides) == FileComparison(
        different=("large.py",), only_target=("new.py",)
    )


def test_a_push_that_is_killed_half_way_is_finished_by_the_next(
    clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "BEAT", 0.5)
    monkeypatch.setattr(journal, "DEAD", 3.0)
    environments = parse(outputs()).airflow_environments
    sides = (environments["blue"], environments["green"])
    for bucket in (LINEAGE_LOG, *(side.bucket for side in sides)):
        clients.s3.create_bucket(Bucket=bucket)
        for entry in clients.s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            clients.s3.delete_object(Bucket=bucket, Key=entry["Key"])
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text(f"x = '{name}'\n")
    killed = multiprocessing.get_context("fork").Process(target=_push_and_die, args=(tmp_path,))
    killed.start()
    killed.join(60)
    assert killed.exitcode == 9
    assert journal.unfinished_push(clients.s3, LINEAGE_LOG) is not None
    assert compare_files(clients.s3, *sides).only_target != (), "it died half way"

    (tmp_path / "a.py").rename(tmp_path / "d.py")
    result = push_dags(Deployment(parse(outputs()), clients), tmp_path)
    assert result.finished is not None
    assert result.environments["green"].left[:1] == ("a.py",)
    files = compare_files(clients.s3, *sides)
    assert (files.only_target, files.only_source, files.different) == ((), (), ())
    assert journal.unfinished_push(clients.s3, LINEAGE_LOG) is None
    for side in sides:
        below = clients.s3.list_objects_v2(Bucket=side.bucket, Prefix=journal.PUSHES)
        assert below.get("Contents", []) == []


def _push_and_die(folder: Path) -> None:
    """Push in a process that ends when blue has all the files and green none."""
    whole = changes.apply

    def apply(*arguments: Any, **options: Any) -> None:
        if "green" in arguments[3].bucket:
            time.sleep(3600)
        whole(*arguments, **options)
        os._exit(9)

    pytest.MonkeyPatch().setattr(push, "apply", apply)
    push_dags(Deployment(parse(outputs()), Clients("us-east-1")), folder)
