"""The routes by which the gate reaches Airflow: each alone, all together, and what remains without a gate.

Airflow's managers of policy plugins are pluggy's, real here too; what Airflow does with them is in `Core`.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import pytest
from bluegreen import policies, routes

PLUGINS = Path(__file__).parents[3] / "plugins"
NAMES = ["task_instance_mutation_hook", "dag_policy", "task_policy"]
PROJECT = "airflow.policy"
ALL = tuple(sorted(routes.ROUTES))
hookspec, hookimpl = pluggy.HookspecMarker(PROJECT), pluggy.HookimplMarker(PROJECT)


class AirflowException(Exception):  # noqa: N818 - Airflow's own name
    """As in airflow.exceptions."""


class Subject:
    """What a policy is asked about: a task, a DAG, a task instance."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def module(name: str, **content: Any) -> ModuleType:
    """A module with that content."""
    made = ModuleType(name)
    vars(made).update(content)
    return made


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
        found: pluggy.PluginManager = routes.policy_manager()
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
    before = set(sys.modules)
    yield core
    for name in set(sys.modules) - before:
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


@pytest.mark.parametrize("route", routes.ROUTES)
def test_each_route_alone_calls_each_policy_once(route: str, core: Core, calls: list[str], only: Any) -> None:
    only(route)
    start(core, route)
    assert routes.live() == (route,)
    core.ask(Subject())
    assert sorted(calls) == sorted(NAMES)


def test_together_they_act_once_and_all_are_live(core: Core, calls: list[str]) -> None:
    start(core)
    assert routes.live() == ALL
    for _ in range(2):
        core.ask(Subject())
    assert sorted(calls) == sorted(NAMES * 2)


@pytest.mark.parametrize("route", routes.ROUTES)
def test_settings_that_are_initialised_again_undo_no_route(
    route: str, core: Core, calls: list[str], only: Any
) -> None:
    """As in the DAG processor of Airflow 2 and 3.0, with what was imported before."""
    only(route)
    start(core, route)
    vars(core.hook)["is_noop"] = True
    if not core.newer:
        start(core, route if route != "airflow_plugin" else "nothing")
    assert routes.live() == (route,)
    core.ask(Subject())
    assert sorted(calls) == sorted(NAMES)
