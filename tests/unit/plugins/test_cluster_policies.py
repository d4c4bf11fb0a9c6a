"""The gate in Airflow: what each layer does to tasks, DAGs and callbacks, and how the shim installs them."""

from __future__ import annotations

import importlib.util
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bluegreen import policies, proof, settings, store
from bluegreen.aws import AwsError
from bluegreen.store import Answer, Store

from tests.fakes.airflow.gate import always
from tests.fakes.modules import stand_in
from tests.fakes.timeline import GATE_OPTIONS, initial

SHIM = Path(__file__).parents[3] / "plugins" / "airflow_local_settings.py"
T = datetime(2025, 11, 23, 10, tzinfo=UTC)
TIMELINE = initial().switched("green", T, 2, known=["etl"]).with_books("blue", {}, 3, closed=True)
OURS = T + timedelta(minutes=1)
THEIRS = T - timedelta(minutes=1)


class AirflowException(Exception):  # noqa: N818 - Airflow's own name
    """As in airflow.exceptions."""


class AirflowSkipException(AirflowException):
    """As in airflow.exceptions."""


class AirflowFailException(AirflowException):
    """As in airflow.exceptions."""


class Airflow:
    """The little of Airflow that the policies touch, on the environment green; and its parameter."""

    def __init__(self) -> None:
        self.source: Any = None
        self.context: dict[str, Any] | None = None
        self.reachable = True
        self.reads = 0

    def read(self, known: Answer | None) -> Answer:
        self.reads += 1
        if not self.reachable:
            raise AwsError("https://ssm: refused")
        return always(TIMELINE, 3, T - timedelta(hours=1))(known)

    def get_current_context(self) -> dict[str, Any]:
        if self.context is None:
            raise RuntimeError("not in a task")
        return self.context


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Airflow:
    airflow = Airflow()
    modules: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.exceptions": {
            "AirflowException": AirflowException,
            "AirflowFailException": AirflowFailException,
            "AirflowSkipException": AirflowSkipException,
        },
        "airflow.operators": {},
        "airflow.operators.python": {"get_current_context": airflow.get_current_context},
        "sqlalchemy": {"inspect": lambda ti: ti.known},
    }
    stand_in(monkeypatch, modules)
    for option, value in {**GATE_OPTIONS, "WAIT_SECONDS": "0", "MAX_AGE_SECONDS": "300"}.items():
        monkeypatch.setenv(f"AIRFLOW__BLUEGREEN__{option}", value)
    settings.load.cache_clear()
    source = Store(settings.load(), airflow.read, tmp_path)
    airflow.source = source
    monkeypatch.setattr(store, "store", lambda _chosen: source)
    monkeypatch.setattr(policies, "_verdicts", {})
    monkeypatch.setattr(policies, "_proofs", {})
    monkeypatch.setattr(proof, "live_routes", lambda: ("settings_module",))
    monkeypatch.setattr(policies, "_hooked", set())
    monkeypatch.setattr(policies, "_outage", False)
    return airflow


def run(due: datetime, **attributes: Any) -> SimpleNamespace:
    plain = {"dag_id": "etl", "run_id": f"scheduled__{due.isoformat()}", "run_type": "scheduled"}
    more = {"run_after": due, "start_date": None, "clear_number": 0}
    return SimpleNamespace(**plain | more | attributes)


def context(due: datetime, **attributes: Any) -> dict[str, Any]:
    return context_of(run(due, **attributes))


def context_of(dag_run: SimpleNamespace) -> dict[str, Any]:
    return {"dag_run": dag_run, "ti": SimpleNamespace(task_id="work", map_index=-1, try_number=1)}


def operator(**attributes: Any) -> SimpleNamespace:
    plain: dict[str, Any] = {"task_id": "work", "_pre_execute_hook": None, "on_skipped_callback": []}
    return SimpleNamespace(**plain | attributes)


# --- layer 1: the scheduler ---


def born(due: datetime, *, passed: bool = True, **attributes: Any) -> str | None:
    """The state in which the scheduler makes a task instance of a run."""
    dag_run = run(due, **attributes)
    known = SimpleNamespace(persistent=False, detached=False)
    ti = SimpleNamespace(run_id=dag_run.run_id, dag_id=dag_run.dag_id, state=None, known=known)
    policies.task_instance_mutation_hook(ti, dag_run if passed else None)
    state: str | None = ti.state
    return state


def test_task_instances_of_the_others_runs_are_born_skipped(airflow: Airflow) -> None:
    assert born(THEIRS) == "skipped"
    assert born(THEIRS, run_id="20251123-0959") == "skipped"  # a timetable's own id
    assert born(OURS) is None


def test_the_scheduler_asks_once_for_all_task_instances_of_a_run(airflow: Airflow) -> None:
    assert [born(THEIRS) for _ in range(9)] == ["skipped"] * 9
    assert airflow.reads == 1


class Session:
    """The scheduler's session, as far as Airflow before 3.3 makes the gate look into it."""

    def __init__(self) -> None:
        self.searches = 0
        self.objects: list[Any] = []
        self.new = ()

    def __contains__(self, wanted: Any) -> bool:
        return any(wanted is other for other in self.objects)

    @property
    def identity_map(self) -> dict[int, Any]:
        self.searches += 1
        return dict(enumerate(self.objects))


class DagRun:
    """As in airflow.models.dagrun."""

    def __init__(self, dag_run: SimpleNamespace) -> None:
        vars(self).update(vars(dag_run))


@pytest.fixture
def session(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Session:
    session = Session()
    modules: dict[str, dict[str, Any]] = {
        "airflow.models": {},
        "airflow.models.dagrun": {"DagRun": DagRun},
        "airflow.settings": {"Session": lambda: session},
    }
    stand_in(monkeypatch, modules)
    monkeypatch.setattr(policies, "_recent", None)
    return session


def test_before_airflow_3_3_the_run_is_found_in_the_schedulers_session(session: Session) -> None:
    theirs, ours = DagRun(run(THEIRS)), DagRun(run(OURS))
    assert born(THEIRS, passed=False) is None  # a run that is not there is left to its tasks
    session.objects = [object(), theirs, ours]
    session.searches = 0
    assert [born(THEIRS, passed=False) for _ in range(9)] == ["skipped"] * 9
    assert session.searches == 1
    assert born(OURS, passed=False) is None
    session.objects = [ours]
    assert born(THEIRS, passed=False) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"run_id": "manual__1", "run_type": "manual"},
        {"run_type": "backfill"},
        {"clear_number": 1},
        {"external_trigger": True},
    ],
)
def test_the_scheduler_leaves_what_people_asked_for_to_the_tasks(
    attributes: dict[str, Any], airflow: Airflow
) -> None:
    assert born(THEIRS, **attributes) is None


@pytest.mark.parametrize(
    ("state", "persistent", "detached"),
    [("queued", False, False), (None, True, False), (None, False, True)],
)
def test_an_existing_task_instance_is_never_changed(
    state: str | None, persistent: bool, detached: bool, airflow: Airflow
) -> None:
    known = SimpleNamespace(persistent=persistent, detached=detached)
    ti = SimpleNamespace(run_id="scheduled__1", dag_id="etl", state=state, known=known)
    policies.task_instance_mutation_hook(ti, run(THEIRS))
    assert ti.state == state


def test_without_the_parameter_the_scheduler_goes_on_and_does_not_ask_again_at_once(airflow: Airflow) -> None:
    airflow.reachable = False
    assert [born(THEIRS), born(THEIRS - timedelta(minutes=1))] == [None, None]
    assert airflow.reads == 1


def test_the_scheduler_tells_once_of_an_outage_and_of_its_end(
    airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    airflow.reachable = False
    for minute in range(5):
        born(THEIRS - timedelta(minutes=minute))
    assert caplog.text.count("leaving all runs to their tasks") == 1
    assert "https://ssm: refused" in caplog.text
    airflow.reachable = True
    airflow.source._turns.succeeded(0.0)  # the pause is over
    assert [born(THEIRS - timedelta(minutes=minute)) for minute in range(5)] == ["skipped"] * 5
    assert caplog.text.count("can be read again") == 1


def test_a_clock_just_before_the_instant_is_no_outage(airflow: Airflow) -> None:
    assert born(datetime.now(UTC) + timedelta(seconds=1)) is None
    assert born(THEIRS) == "skipped"


def test_nothing_that_goes_wrong_in_the_hook_reaches_the_scheduler(
    airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    policies.task_instance_mutation_hook(SimpleNamespace(run_id="scheduled__1"), None)
    assert "to its own process" in caplog.text


# --- layer 2: before templates are rendered ---


def gated_dag(**attributes: Any) -> SimpleNamespace:
    dag = SimpleNamespace(get_template_env=lambda **_: "jinja", on_success_callback=None, **attributes)
    policies.dag_policy(dag)
    return dag


def test_parsing_and_showing_a_dag_is_not_gated(airflow: Airflow) -> None:
    assert gated_dag().get_template_env() == "jinja"
    assert airflow.reads == 0


def test_a_task_of_our_run_renders_its_templates(airflow: Airflow) -> None:
    airflow.context = context(OURS)
    assert gated_dag().get_template_env(force_sandboxed=False) == "jinja"


def test_a_task_of_the_others_run_is_skipped_before_rendering(airflow: Airflow) -> None:
    airflow.context = context(THEIRS)
    dag = gated_dag()
    with pytest.raises(AirflowSkipException, match=r"blue owns what is due at .* this is green"):
        dag.get_template_env()
    assert dag.get_template_env() == "jinja"  # its callbacks may render


def test_wrapping_twice_wraps_once(airflow: Airflow) -> None:
    dag = gated_dag()
    wrapped = dag.get_template_env
    policies.dag_policy(dag)
    assert dag.get_template_env is wrapped


# --- layer 3: before the work ---


def test_a_task_of_a_run_that_was_cleared_here_wrongly_fails_at_once(airflow: Airflow) -> None:
    wrong = context(THEIRS, clear_number=1, queued_at=THEIRS)
    task = operator()
    policies.task_policy(task)
    with pytest.raises(AirflowFailException, match="clear it on green once more"):
        task._pre_execute_hook(wrong)
    airflow.context = wrong
    with pytest.raises(AirflowFailException):
        gated_dag().get_template_env()


def test_the_work_of_the_others_run_does_not_begin(airflow: Airflow) -> None:
    task = operator()
    policies.task_policy(task)
    task._pre_execute_hook(context(OURS))
    for _ in range(2):
        with pytest.raises(AirflowSkipException):
            task._pre_execute_hook(context(THEIRS))


def test_a_tasks_log_says_what_the_gate_found_and_what_it_took(
    airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bluegreen")
    for minute in (2, 1):
        task = operator()
        policies.task_policy(task)
        task._pre_execute_hook(context(T + timedelta(minutes=minute)))
        task._pre_execute_hook(context(T + timedelta(minutes=minute)))
    messages = [record.getMessage() for record in caplog.records]
    judged = "judged by task_policy (settings_module), version 3, on green green-1"
    assert [re.sub(r"[\d.]+ ms", "N ms", line) for line in messages] == [
        f"blue/green gate: green owns 2025-11-23T10:02:00+00:00; N ms, read from SSM; {judged}",
        f"blue/green gate: green owns 2025-11-23T10:01:00+00:00; N ms, from the cache; {judged}",
    ]


# --- the proof of an execution ---


def proof_of(dag_run: SimpleNamespace) -> proof.Proof | None:
    return policies.known_proof(dag_run.dag_id, dag_run.run_id)


def test_the_first_layer_that_judges_a_task_is_its_proof(airflow: Airflow) -> None:
    task = operator()
    policies.task_policy(task)
    assert policies.is_hooked("work")
    assert proof_of(run(OURS)) is None
    airflow.context = context(OURS)
    gated_dag().get_template_env()
    task._pre_execute_hook(context(OURS))
    assert proof_of(run(OURS)) == proof.Proof(
        layer="dag_policy",
        routes=("settings_module",),
        environment="green",
        life="green-1",
        version=3,
        reason="green owns 2025-11-23T10:01:00+00:00",
    )


@pytest.mark.parametrize("kind", ["manual", "backfill"])
def test_a_run_that_was_created_here_has_a_proof_without_a_version(kind: str, airflow: Airflow) -> None:
    task = operator()
    policies.task_policy(task)
    task._pre_execute_hook(context(THEIRS, run_type=kind))
    judged = proof_of(run(THEIRS))
    assert judged is not None
    assert (judged.layer, judged.version) == ("task_policy", None)
    assert judged.reason == f"{kind} runs are executed where they were created"


def test_a_task_that_had_no_verdict_was_judged_too(airflow: Airflow) -> None:
    """Its FAIL event is no sign of a missing gate, also after a callback that got a verdict in the end."""
    airflow.reachable = False
    airflow.context = context(OURS)
    with pytest.raises(AirflowException):
        gated_dag().get_template_env()
    judged = proof_of(run(OURS))
    assert judged is not None
    assert (judged.layer, judged.version) == ("dag_policy", None)
    assert judged.reason.startswith("no verdict: ")
    airflow.reachable = True
    airflow.source._turns.succeeded(0.0)  # the pause is over
    call_back(dag_that_tells([]), run(OURS), known=True)
    again = proof_of(run(OURS))
    assert again is not None
    assert (again.layer, again.version) == ("dag_policy", 3)


def test_routes_that_cannot_be_told_do_not_fail_the_task(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "live_routes", None)
    task = operator()
    policies.task_policy(task)
    task._pre_execute_hook(context(OURS))
    judged = proof_of(run(OURS))
    assert judged is not None
    assert judged.routes == ()


def test_a_callback_alone_proves_nothing(airflow: Airflow) -> None:
    call_back(dag_that_tells([]), run(OURS), known=True)
    assert proof_of(run(OURS)) is None
    task = operator()
    policies.task_policy(task)
    task._pre_execute_hook(context(OURS))
    judged = proof_of(run(OURS))
    assert judged is not None
    assert judged.layer == "task_policy"


def test_a_dag_authors_own_hook_is_still_called_for_our_runs_only(airflow: Airflow) -> None:
    called: list[str] = []
    task = operator(_pre_execute_hook=lambda context: called.append(context["dag_run"].run_id))
    policies.task_policy(task)
    policies.task_policy(task)
    task._pre_execute_hook(context(OURS))
    with pytest.raises(AirflowSkipException):
        task._pre_execute_hook(context(THEIRS))
    assert called == [run(OURS).run_id]


def test_mapped_tasks_are_gated(airflow: Airflow) -> None:
    task = SimpleNamespace(
        task_id="work",
        partial_kwargs={"start_from_trigger": True},
        start_trigger_args="args",
        on_skipped_callback=(),
    )
    policies.task_policy(task)
    with pytest.raises(AirflowSkipException):
        task.partial_kwargs["pre_execute"](context(THEIRS))
    assert task.partial_kwargs["start_from_trigger"] is False
    assert task.start_trigger_args is None


def test_no_task_starts_in_the_triggerer(airflow: Airflow) -> None:
    task = operator(start_from_trigger=True)
    policies.task_policy(task)
    assert task.start_from_trigger is False


def test_without_a_verdict_a_task_neither_runs_nor_is_skipped(airflow: Airflow) -> None:
    airflow.reachable = False
    task = operator()
    policies.task_policy(task)
    with pytest.raises(AirflowException, match=r"no verdict on scheduled__.* of etl") as caught:
        task._pre_execute_hook(context(OURS))
    assert not isinstance(caught.value, AirflowSkipException)
    assert "/p/s/ownership" in str(caught.value)


def test_without_settings_no_task_runs(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BLUEGREEN__ENVIRONMENT", "")
    settings.load.cache_clear()
    task = operator()
    policies.task_policy(task)
    with pytest.raises(AirflowException, match=r"AIRFLOW__BLUEGREEN__ENVIRONMENT.* is not set"):
        task._pre_execute_hook(context(OURS))


# --- callbacks ---


def execute_dag_callbacks(dag: Any, request: Any, callback: Any) -> None:
    """As the DAG processor of Airflow 3 does if no task of the run succeeded: the context has only the id."""
    callback({"dag": dag, "run_id": request.run_id, "reason": request.msg})


def call_back(dag: Any, dag_run: SimpleNamespace, *, known: bool, name: str = "on_success_callback") -> None:
    callbacks = getattr(dag, name)
    callback = callbacks[0] if isinstance(callbacks, list) else callbacks
    if known:
        callback({"dag": dag, "run_id": dag_run.run_id} | context_of(dag_run))
    else:
        server = SimpleNamespace(dag_run=dag_run, last_ti=None)
        request = SimpleNamespace(run_id=dag_run.run_id, msg="success", context_from_server=server)
        execute_dag_callbacks(dag, request, callback)


class Notifier:
    """A callback that is an object, with templates, as Airflow's BaseNotifier."""

    template_fields = ("text",)

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def __call__(self, context: dict[str, Any]) -> None:
        self.calls.append(context["run_id"])


def dag_that_tells(calls: list[str], *, several: bool = False) -> SimpleNamespace:
    tell = Notifier(calls)
    dag = SimpleNamespace(
        dag_id="etl",
        get_template_env=None,
        on_success_callback=[tell] if several else tell,
        on_failure_callback=tell,
    )
    policies.dag_policy(dag)
    return dag


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("run_id", ["scheduled__x", "20251123-1000", "manual__looks_like_it", ""])
def test_a_run_that_is_only_mirrored_calls_nobody_whatever_its_id(
    several: bool, known: bool, run_id: str, airflow: Airflow
) -> None:
    calls: list[str] = []
    dag = dag_that_tells(calls, several=several)
    for due in (OURS, THEIRS):
        call_back(dag, run(due, run_id=f"{run_id}{due.minute}"), known=known)
    assert calls == [f"{run_id}{OURS.minute}"]


@pytest.mark.parametrize("known", [False, True])
def test_what_a_person_made_calls_back_where_it_was_made(known: bool, airflow: Airflow) -> None:
    calls: list[str] = []
    call_back(dag_that_tells(calls), run(THEIRS, run_type="manual", run_id="scheduled__x"), known=known)
    assert calls == ["scheduled__x"]


@pytest.mark.parametrize("known", [False, True])
def test_a_run_that_was_cleared_here_wrongly_reports_its_failure_and_no_success(
    known: bool, airflow: Airflow
) -> None:
    calls: list[str] = []
    dag = dag_that_tells(calls)
    wrong = run(THEIRS, clear_number=1, queued_at=THEIRS)
    call_back(dag, wrong, known=known)
    assert calls == []
    call_back(dag, wrong, known=known, name="on_failure_callback")
    assert calls == [wrong.run_id]


@pytest.mark.parametrize(("owner", "expected"), [("green", ["r"]), ("blue", [])])
def test_a_run_that_airflow_does_not_describe_calls_back_on_the_owner_of_now_only(
    owner: str, expected: list[str], airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    if owner == "blue":
        timeline = TIMELINE.switched("blue", now - timedelta(minutes=1), 3)
        monkeypatch.setattr(airflow.source, "_read", always(timeline, 3, now - timedelta(hours=1)))
    calls: list[str] = []
    dag = dag_that_tells(calls)
    dag.on_success_callback({"dag": dag, "run_id": "r"})
    assert calls == expected


@pytest.mark.parametrize("name", ["on_skipped_callback", "on_success_callback"])
def test_a_task_that_skips_itself_calls_nothing_where_it_is_not_owned(airflow: Airflow, name: str) -> None:
    """Airflow 2 calls both, if the scheduler could not read the ownership and left the task to it."""
    calls: list[str] = []
    task = operator(**{name: lambda context: calls.append(context["dag_run"].run_id)})
    policies.task_policy(task)
    for due in (OURS, THEIRS):
        getattr(task, name)(context(due))
    assert calls == [run(OURS).run_id]


def test_a_callback_is_called_when_nobody_can_say_whose_run_it_is(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "CALLBACK_WAIT", 0.1)
    calls: list[bool] = []
    task = operator(on_skipped_callback=[lambda _: calls.append(True)])
    policies.task_policy(task)
    airflow.reachable = False
    task.on_skipped_callback[0](context(THEIRS))
    assert calls == [True]


# --- the listener ---


@pytest.fixture
def listener(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Any:
    modules: dict[str, dict[str, Any]] = {
        "airflow.listeners": {"hookimpl": lambda function=None, **_: function or (lambda other: other)},
        "airflow.plugins_manager": {"AirflowPlugin": object},
    }
    stand_in(monkeypatch, modules)
    spec = importlib.util.spec_from_file_location("bluegreen_plugin", SHIM.with_name("bluegreen_plugin.py"))
    assert spec is not None
    assert spec.loader is not None
    plugin: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    [listener] = plugin.BlueGreenPlugin.listeners
    return listener


def cleared(at: datetime, **attributes: Any) -> SimpleNamespace:
    plain = {"clear_number": 1, "queued_at": at, "start_date": OURS, "state": "success", "note": None}
    return run(THEIRS - timedelta(minutes=1), **plain | attributes)


def test_a_cleared_run_that_waited_for_a_switch_starts_with_the_time_of_its_clear(
    airflow: Airflow, listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for number, start in [(0, OURS), (1, THEIRS)]:
        waited = cleared(THEIRS, clear_number=number)
        listener.on_dag_run_running(waited, "started")
        assert waited.start_date == start
    assert airflow.reads == 1, "a run that was not cleared asks nobody"
    airflow.reachable = False
    later = cleared(THEIRS, start_date=datetime.now(UTC))  # for which the copy is too old
    listener.on_dag_run_running(later, "started")
    assert "is judged by its new start" in caplog.text


def test_a_run_that_was_cleared_on_the_wrong_side_never_ends_as_success(
    airflow: Airflow, listener: Any
) -> None:
    wrong = cleared(THEIRS, note="mine")
    for _ in range(2):
        listener.on_dag_run_success(wrong, "success")
    assert wrong.state == "failed"
    mine, command = wrong.note.splitlines()
    assert mine == "mine"
    assert command.endswith("clear it on green once more")
    failed = cleared(THEIRS, state="failed")
    listener.on_dag_run_failed(failed, "task_failure")
    assert failed.note.endswith("clear it on green once more")
    assert failed.state == "failed"


@pytest.mark.parametrize(
    ("at", "attributes", "msg"),
    [
        (OURS, {}, "success"),  # cleared on its owner
        (THEIRS, {"clear_number": 0}, "success"),  # a mirror
        (THEIRS, {"run_type": "manual"}, "success"),
        (THEIRS, {}, ""),  # a person calls it a success
    ],
)
def test_every_other_run_ends_as_airflow_says(
    at: datetime, attributes: dict[str, Any], msg: str, airflow: Airflow, listener: Any
) -> None:
    ended = cleared(at, **attributes)
    listener.on_dag_run_success(ended, msg)
    listener.on_dag_run_failed(ended, msg)
    assert (ended.state, ended.note) == ("success", None)


def test_nothing_that_goes_wrong_in_the_listener_reaches_the_scheduler(
    airflow: Airflow, listener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broken = SimpleNamespace(clear_number=1)
    listener.on_dag_run_running(broken, "started")
    listener.on_dag_run_success(broken, "success")
    assert caplog.text.count("AttributeError") >= 2
    airflow.reachable = False
    unknown = cleared(THEIRS)
    listener.on_dag_run_success(unknown, "success")
    assert unknown.state == "success"
    assert "where, is not known" in caplog.text
