"""The probe: what its task reports, when it fails, and its DAG file."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bluegreen import policies, probe, proof, settings, software, store
from bluegreen.aws import AwsError
from bluegreen.proof import PROBE, Proof, problem
from bluegreen.store import Answer, Store

from components.airflow.probe import dag_file, named
from tests.fakes.airflow.authoring import DAG, BaseOperator
from tests.fakes.airflow.gate import always
from tests.fakes.modules import stand_in
from tests.fakes.timeline import GATE_OPTIONS, initial

T = datetime(2025, 11, 23, 10, tzinfo=UTC)
OURS, THEIRS = T + timedelta(minutes=1), T - timedelta(minutes=1)
JUDGED = Proof("dag_policy", ("settings_module",), "green", "green-1", 2, "green owns it")


class AirflowFailException(Exception):  # noqa: N818 - Airflow's own name
    """As in airflow.exceptions."""


class Ssm:
    """The parameter; `hangs`: it does not answer."""

    def __init__(self) -> None:
        self.hangs = False

    def read(self, known: Answer | None) -> Answer:
        if self.hangs:
            raise AwsError("https://ssm: timed out")
        return always(initial().switched("green", T, 2), 2, T - timedelta(hours=1))(known)


@pytest.fixture(params=["airflow.sdk", "airflow.models"])
def ssm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ssm]:
    """An environment of Airflow 3, then of Airflow 2: it is green, and owns the work from T on."""
    modules: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.exceptions": {"AirflowFailException": AirflowFailException},
        request.param: {"DAG": DAG, "BaseOperator": BaseOperator},
    }
    stand_in(monkeypatch, modules)
    monkeypatch.setattr(software, "secrets", lambda: software.READABLE)
    for option, value in {**GATE_OPTIONS, "WAIT_SECONDS": "0", "MAX_AGE_SECONDS": ""}.items():
        monkeypatch.setenv(f"AIRFLOW__BLUEGREEN__{option}", value)
    settings.load.cache_clear()
    ssm = Ssm()
    source = Store(settings.load(), ssm.read, tmp_path)
    monkeypatch.setattr(store, "store", lambda _chosen: source)
    monkeypatch.setattr(probe, "WAIT", 0.0)
    monkeypatch.setattr(policies, "_proofs", {})
    monkeypatch.setattr(proof, "live_routes", lambda: ("settings_module",))
    yield ssm
    settings.load.cache_clear()


def rendered(due: datetime = OURS, *, gated: bool = True) -> Any:
    """The probe's task after Airflow has rendered its template, for a run that was due then."""
    probe_dag = probe.probe(5)
    task = probe_dag.tasks["report"]
    dag_run = SimpleNamespace(
        dag_id=PROBE, run_id="r", run_type="scheduled", run_after=due, start_date=None, clear_number=0
    )
    if gated:
        policies.dag_policy(probe_dag)
        policies.task_policy(task)
        policies._proofs[PROBE, "r", "report", -1, 1] = JUDGED
    assert task.report == "{{ bluegreen_report(dag_run, task) }}"
    task.report = probe_dag.arguments["user_defined_macros"]["bluegreen_report"](dag_run, task)
    return task


@pytest.mark.parametrize("minutes", [1, 5, 30])
def test_the_file_in_the_dags_folder_makes_the_dag(minutes: int, ssm: Ssm, tmp_path: Path) -> None:
    file = tmp_path / "bluegreen_probe.py"
    file.write_text(dag_file(minutes))
    assert {"airflow", "dag"} <= set(file.read_text().lower().split()), "Airflow's safe mode needs both"
    made = runpy.run_path(str(file))["dag"]
    assert made.dag_id == PROBE
    assert made.arguments["schedule"] == f"*/{minutes} * * * *"
    assert made.arguments["is_paused_upon_creation"] is False
    assert made.arguments["catchup"] is False
    assert made.arguments["default_args"]["retries"] == 0
    assert [*made.tasks] == ["report"]
    assert made.tasks["report"].template_fields == ("report",)


def test_on_the_owner_it_reports_how_the_gate_judged_it(ssm: Ssm, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bluegreen")
    task = rendered()
    assert task.execute({}) == {
        "layer": "dag_policy",
        "layers": ["dag_policy", "task_policy"],
        "routes": ["settings_module"],
        "version": 2,
        "environment": "green",
        "life": "green-1",
        "mine": True,
        "reason": "green owns 2025-11-23T10:01:00+00:00",
        "unfinished": T.isoformat(),
        "installed": {name: software._version(name) for name in software.SHOWN},
        "requirements": {"checked": 0, "failed": 0, "first": []},
        "secrets": "readable",
    }
    assert 'blue/green probe gated: {"layer": "dag_policy"' in caplog.text
    assert f"blue/green switch unfinished: since {T.isoformat()}; see `mwaactl status`" in caplog.text


def test_a_switch_that_may_still_be_at_work_is_not_said_to_lack_its_end(
    ssm: Ssm, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LONG", datetime.now(UTC) - T + timedelta(hours=1))
    assert rendered().execute({})["unfinished"] == T.isoformat()
    assert "unfinished: since" not in caplog.text


def test_a_switch_whose_books_are_closed_has_ended() -> None:
    switched = initial().switched("green", T, 2)
    assert probe._unfinished(switched) == T
    assert probe._unfinished(switched.dag_moved("serial", "blue", T, 2)) == T, "it holds a DAG back"
    closed = switched.with_books("blue", {}, 3, closed=True)
    assert probe._unfinished(closed) is None
    assert probe._unfinished(closed.dag_moved("etl", "blue", T + timedelta(hours=1), 4)) == T + timedelta(
        hours=1
    )


@pytest.mark.parametrize(
    ("due", "message"),
    [
        (THEIRS, "it was executed where it is not owned: blue owns what is due at"),
        (OURS, r"the gate did not judge it \(layers that live in its process: none\)"),
    ],
    ids=["on the standby", "on the owner"],
)
def test_without_a_gate_its_task_fails_loudly(
    due: datetime, message: str, ssm: Ssm, caplog: pytest.LogCaptureFixture
) -> None:
    task = rendered(due, gated=False)
    with pytest.raises(AirflowFailException, match=message):
        task.execute({})
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage().startswith("blue/green gate absent: ")


@pytest.mark.parametrize("gated", [True, False])
def test_an_outage_of_the_parameter_is_reported_and_hides_no_execution(
    gated: bool, ssm: Ssm, caplog: pytest.LogCaptureFixture
) -> None:
    ssm.hangs = True
    task = rendered(gated=gated)
    report = json.loads(task.report)
    assert "https://ssm: timed out" in report["error"]
    message = "timeline cannot be read" if gated else "the gate did not judge it"
    with pytest.raises(AirflowFailException, match=message):
        task.execute({})
    assert ("blue/green gate absent" in caplog.text) is not gated


def test_without_settings_it_reports_that(ssm: Ssm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BLUEGREEN__ENVIRONMENT", "")
    settings.load.cache_clear()
    assert "SettingsError" in json.loads(rendered().report)["error"]


def test_the_requirements_in_its_file_are_looked_for(ssm: Ssm, tmp_path: Path) -> None:
    file = tmp_path / "bluegreen_probe.py"
    file.write_text(dag_file(5, "packaging\n# pandas\nno-such-thing==1 # why\n"))
    made = runpy.run_path(str(file))["dag"]
    run = SimpleNamespace(dag_id=PROBE, run_id="r", run_type="scheduled", run_after=OURS, start_date=None)
    run.clear_number = 0
    report = json.loads(made.arguments["user_defined_macros"]["bluegreen_report"](run, made.tasks["report"]))
    assert report["requirements"] == {"checked": 2, "failed": 1, "first": ["no-such-thing==1: not installed"]}


def test_software_that_cannot_be_looked_at_hides_no_execution(
    ssm: Ssm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise OSError("no metadata")

    monkeypatch.setattr(software, "software", broken)
    task = rendered()
    assert task.execute({})["software_error"] == "OSError: no metadata"


def test_a_password_in_a_requirement_is_not_in_the_file() -> None:
    lines = (
        "apache-airflow-providers-openlineage",
        "Pandas[excel]>=2,<3; python_version > '3.8'  # charts",
        "private @ https://user:secret@example.com/private-1.whl",
        "hashed==1 --hash=sha256:abc",
        "--extra-index-url https://user:secret@example.com/simple",
        "-r more.txt",
        "",
    )
    assert list(named("\n".join(lines))) == [
        "apache-airflow-providers-openlineage",
        'Pandas<3,>=2; python_version > "3.8"',
        "private",
        "hashed==1",
    ]
    assert "secret" not in dag_file(5, "\n".join(lines))


def test_what_is_no_report_is_a_problem() -> None:
    assert problem({}) == "the gate did not judge it (layers that live in its process: none)"
