"""The DAG of the nightly audit: what it fetches, runs and logs."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from bluegreen import audit, settings
from bluegreen.audit import AuditError
from bluegreen.proof import AUDITED, FENCE, FINDING

from tests.fakes.airflow.authoring import DAG, BaseOperator
from tests.fakes.modules import stand_in

BAD_NIGHT = {"findings": ["both: etl, due 10:00"], "fences": ["mwaactl unfence blue"], "summary": "2 runs"}
Shown = Callable[[str], None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Put a program into the bucket, as `mwaactl.recovery.nightly`."""
    objects = {"deploy/audit/stack.json": b'{"stack": "test"}'}

    class S3:
        def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
            assert Bucket == "ours"
            return {"Body": io.BytesIO(objects[Key])}

    def put(source: str) -> None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for package in ("mwaactl", "mwaactl/recovery"):
                archive.writestr(f"{package}/__init__.py", "")
            archive.writestr("mwaactl/recovery/nightly.py", source)
        objects["deploy/audit/mwaactl.zip"] = file.getvalue()

    monkeypatch.setattr(settings, "load", lambda: SimpleNamespace(bucket="ours"))
    stand_in(monkeypatch, {"boto3": {"client": lambda service: {"s3": S3()}[service]}})
    return put


def test_what_the_audit_says_becomes_lines_that_cloudwatch_counts(
    program: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    program(f"import sys; assert open(sys.argv[1]).read(); print({json.dumps(BAD_NIGHT)!r})")
    caplog.set_level(logging.INFO)
    assert audit.run() == BAD_NIGHT
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"{FINDING}: both: etl, due 10:00"),
        ("WARNING", f"{FENCE}: mwaactl unfence blue"),
        ("INFO", f"{AUDITED}: 2 runs"),
    ]


def test_an_audit_that_could_not_be_made_fails_the_task_and_is_not_counted(
    program: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    program("import sys; sys.exit('green does not answer')")
    with pytest.raises(AuditError, match="green does not answer"):
        audit.run()
    assert AUDITED not in caplog.text
    program(f"print({json.dumps({**BAD_NIGHT, 'error': 'blue is silent'})!r})")
    with pytest.raises(AuditError, match="blue is silent"):
        audit.run()
    assert AUDITED not in caplog.text
    assert FENCE in caplog.text, "it is seen without an audit, too"
    program("import sys; sys.exit(3)")
    with pytest.raises(AuditError, match="ended with 3"):
        audit.run()


@pytest.mark.parametrize("module", ["airflow.sdk", "airflow.models"])
def test_the_dag_is_due_each_night_on_airflow_2_and_3(
    module: str, program: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(f"print({json.dumps(BAD_NIGHT)!r})")
    stand_in(monkeypatch, {"airflow": {}, module: {"DAG": DAG, "BaseOperator": BaseOperator}})
    dag = audit.audit()
    assert dag.dag_id == "bluegreen_audit"
    assert dag.arguments["schedule"] == "30 4 * * *"
    assert (dag.arguments["catchup"], dag.arguments["is_paused_upon_creation"]) == (False, False)
    assert "max_active_runs" not in dag.arguments, "a serial DAG would be held back at a switch"
    (task,) = dag.tasks.values()
    assert task.execute({}) == BAD_NIGHT
