"""The routes by which the gate reaches Airflow: each alone, all together, and what remains without a gate.

Airflow's managers of policy plugins are pluggy's, real here too; what Airflow does with them is in `Core`.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pluggy
import pytest
from bluegreen import policies, proof, routes
from bluegreen_policy import ROUTES

from components.airflow.plugins import plugins_zip
from tests.fakes.modules import module

PLUGINS = Path(__file__).parents[3] / "plugins"
NAMES = ["task_instance_mutation_hook", "dag_policy", "task_policy"]
PROJECT = "airflow.policy"
ALL = tuple(sorted(ROUTES))
hookspec, hookimpl = pluggy.HookspecMarker(PROJECT), pluggy.HookimplMarker(PROJECT)


class AirflowException(Exception):  # noqa: N818 - Airflow's own name
    """As in airflow.exceptions."""


class Subject(SimpleNamespace):
    """What a policy is asked about: a task, a DAG, a task instance. All of them allow weak references."""


def declared(*, dag_run: bool) -> dict[str, Any]:
    """What airflow.policies declares, before and since 3.3."""

    def task_policy(task: Any) -> None: ...

    def dag_policy(dag: Any) -> None: ...

    def before(task_instance: Any) -> None: ...

    def since(task_instance: Any, dag_run: Any) -> None: ...

    hook = since if dag_run else before
    hook.__name__ = "task_instance_mutation_hook"
    return {spec.__name__: hookspec(spec) for spec in (task_policy, dag_policy, hook)}


class Core:
    """Airflow's own part: one manager for the whole process (3.2), or a new one at each initialisation."""

    def __init__(self, *, newer: bool) -> None:
        class DefaultPolicy: ...

        self.newer = newer
        self.policies = module(
            "airflow.policies", DefaultPolicy=DefaultPolicy, hookimpl=hookimpl, **declared(dag_run=newer)
        )
        self.hook = lambda: None
        self.settings = module("airflow.settings", task_instance_mutation_hook=self.hook)
        vars(self.hook)["is_noop"] = True
        if newer:
            manager = self.manager()
            vars(self.settings)["get_policy_plugin_manager"] = lambda: manager

    def manager(self) -> pluggy.PluginManager:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(self.policies)
        manager.register(self.policies.DefaultPolicy)
        return manager

    @property
    def current(self) -> pluggy.PluginManager:
        found: pluggy.PluginManager = proof.policy_manager()
        return found

    def initialize(self, *, entry_point: bool = False, settings_module: str | None = None) -> None:
        """settings.initialize(): first the entry points, then the module of settings, imported once."""
        if not self.newer:
            vars(self.settings)["POLICY_PLUGIN_MANAGER"] = self.manager()
        if entry_point:
            [point] = PathDistribution(next(PLUGINS.glob("*.dist-info"))).entry_points
            assert (point.group, point.module) == (PROJECT, "bluegreen_policy")
            if self.current.get_plugin(point.name) is None:
                self.current.register(point.load(), name=point.name)
        if settings_module is not None:
            if "airflow_local_settings" not in sys.modules or settings_module != "airflow_local_settings":
                execute(settings_module)
            self.register_functions(sys.modules["airflow_local_settings"])

    def register_functions(self, module: Any) -> None:
        """policies.make_plugin_from_local_settings."""
        plugin = ModuleType("AirflowLocalSettingsPolicy")
        for name in module.__all__:
            function = getattr(module, name)
            spec = inspect.signature(getattr(self.policies, name))
            # what differs is wrapped by Airflow, in a way of each version's own
            assert inspect.signature(function).parameters.keys() == spec.parameters.keys()
            setattr(plugin, name, hookimpl(function, specname=name))
        self.current.register(plugin)

    def ask(self, subject: Subject) -> None:
        """Ask all policies about an object."""
        hook = self.current.hook
        hook.task_policy(task=subject)
        hook.dag_policy(dag=subject)
        more = {"dag_run": None} if self.newer else {}
        hook.task_instance_mutation_hook(task_instance=subject, **more)


def execute(name: str, file: str = "airflow_local_settings.py") -> ModuleType:
    """Execute a file of the plugins folder as a module of some name, as Airflow and MWAA do."""
    spec = importlib.util.spec_from_file_location(name, PLUGINS / file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(params=[False, True], ids=["before 3.2", "since 3.2"])
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Core]:
    core = Core(newer=request.param)
    airflow = module("airflow", policies=core.policies, settings=core.settings)
    for made in (
        airflow,
        core.policies,
        core.settings,
        module("airflow.exceptions", AirflowException=AirflowException),
        module("airflow.listeners", hookimpl=lambda function=None, **_: function or (lambda other: other)),
        module("airflow.plugins_manager", AirflowPlugin=object),
    ):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    forget()
    yield core
    forget()


def forget() -> None:
    """Let the next process execute the files of the plugins folder anew."""
    for name in list(sys.modules):
        if "airflow_local_settings" in name or name in ("bluegreen_policy", "bluegreen_plugin"):
            del sys.modules[name]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The gate's policies leave their names here."""
    calls: list[str] = []

    def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
        calls.append("task_instance_mutation_hook")

    def dag_policy(dag: Any) -> None:
        calls.append("dag_policy")

    def task_policy(task: Any) -> None:
        calls.append("task_policy")

    gate = (task_instance_mutation_hook, dag_policy, task_policy)
    monkeypatch.setattr(policies, "POLICIES", gate)
    return calls


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave out all routes but those named."""

    def leave(*names: str) -> None:
        import bluegreen_policy

        monkeypatch.setattr(bluegreen_policy, "ROUTES", names)

    return leave


def start(core: Core, route: str | None = None) -> None:
    """A process starts and loads its plugins; by default each route is there."""
    core.initialize(
        entry_point=route in (None, "entry_point"),
        settings_module="airflow_local_settings" if route not in ("entry_point", "airflow_plugin") else None,
    )
    if route in (None, "airflow_plugin"):
        execute("bluegreen_plugin", "bluegreen_plugin.py")


@pytest.mark.parametrize("route", ROUTES)
def test_each_route_alone_calls_each_policy_once(route: str, core: Core, calls: list[str], only: Any) -> None:
    only(route)
    start(core, route)
    if route == "airflow_plugin":
        execute("bluegreen_plugin", "bluegreen_plugin.py")
    assert proof.live_routes() == (route,)
    core.ask(Subject())
    assert sorted(calls) == sorted(NAMES)


def test_together_they_act_once_and_all_are_live(core: Core, calls: list[str]) -> None:
    start(core)
    assert proof.live_routes() == ALL
    for _ in range(2):
        core.ask(Subject())
    assert sorted(calls) == sorted(NAMES * 2)


@pytest.mark.parametrize("route", ROUTES)
def test_settings_that_are_initialised_again_undo_no_route(
    route: str, core: Core, calls: list[str], only: Any
) -> None:
    """As in the DAG processor of Airflow 2 and 3.0, with what was imported before."""
    only(route)
    start(core, route)
    vars(core.hook)["is_noop"] = True
    if not core.newer:
        start(core, route if route != "airflow_plugin" else "nothing")
    assert proof.live_routes() == (route,)
    core.ask(Subject())
    assert sorted(calls) == sorted(NAMES)


def test_airflow_calls_the_hook_of_task_instances_without_a_module_of_settings(
    core: Core, calls: list[str], only: Any
) -> None:
    """It takes the hook for a no-op otherwise, and creates task instances without it."""
    only("entry_point")
    start(core, "entry_point")
    assert vars(core.hook)["is_noop"] is False


def test_a_route_that_is_taken_twice_is_taken_once(core: Core, calls: list[str]) -> None:
    """The plugin managers of Airflow 3's core and its SDK each execute the plugin, old ones every file."""
    start(core)
    before = len(core.current.hook.task_policy.get_hookimpls())
    for name, file in [
        ("bluegreen_plugin", "bluegreen_plugin.py"),
        ("customer_plugins_airflow_local_settings", "airflow_local_settings.py"),
        ("bluegreen_policy", "bluegreen_policy.py"),
        ("bluegreen_plugin", "bluegreen_plugin.py"),
    ]:
        execute(name, file)
    assert len(core.current.hook.task_policy.get_hookimpls()) == before
    core.ask(Subject())
    assert sorted(calls) == sorted(NAMES)


def test_an_object_that_only_a_later_route_is_asked_about_is_gated(core: Core, calls: list[str]) -> None:
    """One call of Airflow's is many of pluggy's: what another route has done counts for that object only."""
    start(core)
    core.ask(Subject())
    first, second = routes.policies("policy_manager")[2], routes.policies("entry_point")[2]
    calls.clear()
    subjects = [Subject(), Subject()]
    for policy in (first, second):
        for subject in subjects:
            policy(subject)
    assert calls == ["task_policy"] * 4, "called for one object after the other, neither knows of the first"
    calls.clear()
    for policy in (first, second, first):
        policy(subjects[0])
    assert calls == ["task_policy"] * 2, "Airflow asks again about the same object: by the same route"


def test_a_policy_that_fails_in_one_route_is_tried_by_the_next(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    def task_policy(task: Any) -> None:
        tried.append(task)
        if len(tried) == 1:
            raise RuntimeError

    monkeypatch.setattr(policies, "POLICIES", (task_policy,))
    subject = Subject()
    with pytest.raises(RuntimeError):
        routes.policies("entry_point")[0](subject)
    routes.policies("policy_manager")[0](subject)
    assert tried == [subject, subject]


# --- the settings module ---


def test_newer_images_get_the_policies_on_their_own_module(core: Core, calls: list[str]) -> None:
    amazons: Any = module("airflow_local_settings", __all__=[])
    sys.modules["airflow_local_settings"] = amazons
    core.initialize(settings_module="customer_plugins_airflow_local_settings")
    assert amazons.__all__ == NAMES
    assert "settings_module" in proof.live_routes()


def test_a_policy_that_is_there_already_is_called_first(core: Core, calls: list[str], only: Any) -> None:
    only("settings_module")
    theirs: Any = module("airflow_local_settings", __all__=["task_policy", "task_instance_mutation_hook"])
    theirs.task_policy = lambda task: calls.append("theirs")
    theirs.task_instance_mutation_hook = lambda task_instance: calls.append("theirs")  # of an older Airflow
    sys.modules["airflow_local_settings"] = theirs
    for _ in range(2):
        execute("customer_plugins_airflow_local_settings")
    core.initialize(settings_module="airflow_local_settings")
    core.ask(Subject())
    assert calls == ["theirs", "task_policy", "dag_policy", "theirs", "task_instance_mutation_hook"]


# --- without a gate ---


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("missing", ["bluegreen.routes", "bluegreen.policies", "bluegreen"])
def test_if_the_gate_cannot_be_loaded_each_route_fails_every_task_and_says_why(
    route: str, missing: str, core: Core, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(route)
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "bluegreen":  # as if there were no such folder
        for name in [name for name in sys.modules if name.startswith("bluegreen.")]:
            monkeypatch.setitem(sys.modules, name, None)
    try:
        start(core, route)
    except ImportError:
        assert route == "airflow_plugin", "its listener is missing, too"
    plain = Subject(_pre_execute_hook=None, start_from_trigger=True)
    mapped = Subject(partial_kwargs={}, start_trigger_args="args")
    for task in (plain, mapped):
        core.current.hook.task_policy(task=task)
    assert mapped.start_trigger_args is None
    assert plain.start_from_trigger is False
    message = r"gate could not be loaded.*plugins\.zip.*bluegreen"
    for hook in (plain._pre_execute_hook, plain.pre_execute, mapped.partial_kwargs["pre_execute"]):
        with pytest.raises(AirflowException, match=message):
            hook(context={})
    monkeypatch.undo()


def test_routes_that_fail_every_task_are_not_called_live(
    core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "bluegreen.policies", None)
    start(core)
    assert proof.live_routes() == ()
    assert caplog.text.count("could not be loaded, so every task fails") == 1


def test_an_airflow_that_declares_other_policies_fails_every_task(core: Core, calls: list[str]) -> None:
    del core.policies.dag_policy
    start(core)
    assert proof.live_routes() == ()
    task = Subject(_pre_execute_hook=None)
    core.current.hook.task_policy(task=task)
    with pytest.raises(AirflowException, match="dag_policy"):
        task._pre_execute_hook(context={})


def test_a_process_without_airflow_has_no_live_route() -> None:
    assert "airflow.settings" not in sys.modules
    assert proof.live_routes() == ()


def test_a_route_that_cannot_be_taken_is_logged_once_and_airflow_lives(
    core: Core, calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    if core.newer:
        vars(core.settings)["get_policy_plugin_manager"] = lambda: 1 / 0
    import bluegreen_policy

    for _ in range(3):
        bluegreen_policy.register("policy_manager")
        assert isinstance(bluegreen_policy.entry_point, ModuleType)
    assert caplog.text.count("not reached by register ('policy_manager',)") == 1
    assert ("ZeroDivisionError" if core.newer else "POLICY_PLUGIN_MANAGER") in caplog.text


# --- the plugin folder ---


def test_the_plugin_manager_is_told_to_leave_the_package_alone() -> None:
    """It would execute each file as a module of its bare name: `import settings` in a DAG would find ours."""
    rules = (PLUGINS / ".airflowignore").read_text().splitlines()
    # valid in both of Airflow's syntaxes, for a folder of this name only
    assert {"bluegreen/", "airflow_local_settings.py", "bluegreen_policy.py"} <= {*rules}


def test_plugins_zip_brings_all_that_the_routes_need() -> None:
    files = set(zipfile.ZipFile(io.BytesIO(plugins_zip())).namelist())
    assert files >= {
        "airflow_local_settings.py",
        "bluegreen/routes.py",
        "bluegreen_plugin.py",
        "bluegreen_policy.py",
        "bluegreen_policy-1.dist-info/METADATA",
        "bluegreen_policy-1.dist-info/entry_points.txt",
    }
