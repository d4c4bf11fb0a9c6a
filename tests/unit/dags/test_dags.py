"""The example DAGs: plain DAGs that need nothing of ours, and load on Airflow 2 and 3."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.demo_graph import drawn
from tests.fakes.modules import stand_in

FOLDER = Path(__file__).parents[3] / "dags"
DAGS = sorted(FOLDER.glob("*.py"))
LOAD = FOLDER / "load_factory.py"
NO_DEFAULT = object()


class Task:
    """A task, or the decorated function that becomes one."""

    def __init__(self, task_id: str, inlets: Any = (), outlets: Any = (), **_: Any) -> None:
        self.task_id, self.inlets, self.outlets = task_id, inlets, outlets

    def __call__(self, *_: Any, **__: Any) -> Task:
        return self

    def expand(self, **_: Any) -> Task:
        return self

    def __rshift__(self, other: Task) -> Task:
        return other


class Recorder:
    """Stands for @dag and @task, operators, variables and the parsing context of any Airflow version."""

    def __init__(self) -> None:
        self.dags: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, Task] = {}
        """By `dag.task`."""
        self.variables: dict[str, str] = {}
        self.parsed_for: str | None = None
        """The DAG whose task parses the file; None in the DAG processor."""
        self._dag_id = ""

    def dag(self, **options: Any) -> Any:
        def decorate(function: Any) -> Any:
            def build() -> None:
                self._dag_id = options.get("dag_id", function.__name__)
                self.dags[self._dag_id] = options
                function()

            return build

        return decorate

    def add(self, task: Task) -> None:
        self.tasks[f"{self._dag_id}.{task.task_id}"] = task

    def task(self, *functions: Any, **options: Any) -> Any:
        def decorate(function: Any) -> Task:
            task = Task(**{"task_id": function.__name__, **options})
            self.add(task)
            return task

        return decorate(functions[0]) if functions else decorate

    def modules(self, major: int) -> dict[str, dict[str, Any]]:
        recorder = self

        class BaseOperator(Task):
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                recorder.add(self)

        class Variable2:
            @staticmethod
            def get(key: str, default_var: Any = NO_DEFAULT) -> Any:
                return recorder.variables[key] if default_var is NO_DEFAULT else recorder.variables.get(key)

        class Variable3:
            @staticmethod
            def get(key: str, default: Any = NO_DEFAULT) -> Any:
                return Variable2.get(key, default)

        decorators = {"dag": self.dag, "task": self.task}
        context = {"get_current_context": dict}
        parsing = {"get_parsing_context": lambda: SimpleNamespace(dag_id=self.parsed_for)}
        operator = {"BaseOperator": BaseOperator}
        if major == 2:
            return {
                "airflow": {},
                "airflow.decorators": decorators,
                "airflow.models": {**operator, "Variable": Variable2},
                "airflow.operators.python": context,
                "airflow.utils.dag_parsing_context": parsing,
            }
        return {
            "airflow": {},
            "airflow.sdk": {**decorators, **context, **parsing, **operator, "Variable": Variable3},
        }


@pytest.fixture(params=[2, 3])
def recorder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    stand_in(monkeypatch, recorder.modules(request.param))
    return recorder


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_an_example_loads_on_both_generations_of_airflow(file: Path, recorder: Recorder) -> None:
    recorder.variables["load_dags"] = "{}"
    runpy.run_path(str(file))
    assert recorder.dags
    for dag_id, options in recorder.dags.items():
        assert options["catchup"] is False
        assert options["doc_md"]
        assert any(name.startswith(f"{dag_id}.") for name in recorder.tasks)


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_an_example_imports_nothing_of_ours(file: Path) -> None:
    imported = {
        (name or "").split(".")[0]
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported <= {"airflow", "openlineage", *sys.stdlib_module_names}


def test_the_demo_is_the_graph_in_the_guide_and_marquez_has_room_for_its_names(recorder: Recorder) -> None:
    runpy.run_path(str(FOLDER / "example_openlineage.py"))
    reads = {(read.name, name) for name, task in recorder.tasks.items() for read in task.inlets}
    writes = {(name, written.name) for name, task in recorder.tasks.items() for written in task.outlets}
    assert reads | writes == drawn()
    assert all(len(name) <= 16 for name in recorder.tasks)
    assert all(len(dataset) <= 15 for dataset, _ in reads)
    assert all(len(dataset) <= 15 for _, dataset in writes)


def test_each_column_of_the_demo_comes_from_one_that_its_task_reads(recorder: Recorder) -> None:
    runpy.run_path(str(FOLDER / "example_openlineage.py"))
    for task in recorder.tasks.values():
        known = {(d.namespace, d.name, f.name) for d in task.inlets for f in d.facets["schema"].fields}
        for written in task.outlets:
            columns = {field.name for field in written.facets["schema"].fields}
            origins = written.facets["columnLineage"].fields
            assert origins.keys() == columns
            for origin in origins.values():
                assert origin.inputFields
                assert {(of.namespace, of.name, of.field) for of in origin.inputFields} <= known


def test_there_is_no_load_without_the_variable(recorder: Recorder) -> None:
    runpy.run_path(str(LOAD))
    assert not recorder.dags


def test_the_load_has_as_many_dags_and_tasks_as_the_variable_says(recorder: Recorder) -> None:
    recorder.variables["load_dags"] = '{"dags": 3, "tasks": 4, "minutes": 2}'
    runpy.run_path(str(LOAD))
    assert {dag_id: options["schedule"] for dag_id, options in recorder.dags.items()} == {
        "load_00": "*/2 * * * *",
        "load_01": "*/2 * * * *",
        "load_02": "*/2 * * * *",
    }
    assert Counter(name.split(".")[0] for name in recorder.tasks) == dict.fromkeys(recorder.dags, 4)
    assert all(task.inlets and task.outlets for task in recorder.tasks.values())


def test_a_load_that_shall_end_makes_no_new_runs(recorder: Recorder) -> None:
    recorder.variables["load_dags"] = '{"dags": 1, "minutes": 0}'
    runpy.run_path(str(LOAD))
    assert recorder.dags["load_00"]["schedule"] is None


def test_a_task_of_the_load_makes_its_own_dag_only(recorder: Recorder) -> None:
    recorder.variables["load_dags"], recorder.parsed_for = '{"dags": 50}', "load_49"
    runpy.run_path(str(LOAD))
    assert [*recorder.dags] == ["load_49"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("20", "must be a JSON object"),
        ('{"dags": 20', "must be a JSON object"),
        ('{"dags": -1}', "'dags' must be a whole number from 1 to 50, not -1"),
        ('{"dags": 51}', "'dags' must be a whole number from 1 to 50, not 51"),
        ('{"tasks": "10"}', "'tasks' must be a whole number from 1 to 50, not '10'"),
        ('{"tasks": true}', "'tasks' must be a whole number from 1 to 50, not True"),
        ('{"minutes": 31}', "'minutes' must be a whole number from 0 to 30, not 31"),
        ('{"dag": 20}', "there is no key 'dag'"),
    ],
)
def test_a_wrong_load_is_refused_with_the_command_that_puts_it_right(
    value: str, problem: str, recorder: Recorder
) -> None:
    recorder.variables["load_dags"] = value
    with pytest.raises(ValueError, match="Airflow variable load_dags: ") as refused:
        runpy.run_path(str(LOAD))
    assert problem in str(refused.value)
    assert not recorder.dags
    [command] = re.findall(r"`airflow variables set load_dags '(.*)'`", str(refused.value))
    recorder.variables["load_dags"] = command
    runpy.run_path(str(LOAD))
    assert recorder.dags
