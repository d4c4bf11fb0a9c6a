"""The example DAGs: plain DAGs that need nothing of ours, and load on Airflow 2 and 3."""

from __future__ import annotations

import ast
import itertools
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DAGS = sorted((Path(__file__).parents[2] / "dags").glob("*.py"))


class Task:
    """What a decorated function becomes: records its options and what follows it."""

    def __init__(self, function: Any, **options: Any) -> None:
        self.name, self.options = function.__name__, options

    def __call__(self, *_: Any, **__: Any) -> Task:
        return self

    def expand(self, **_: Any) -> Task:
        return self

    def __rshift__(self, other: Task) -> Task:
        return other


class Recorder:
    """Stands for @dag and @task of any Airflow version."""

    def __init__(self) -> None:
        self.dags: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, Task] = {}

    def dag(self, **options: Any) -> Any:
        def decorate(function: Any) -> Any:
            self.dags[function.__name__] = options
            return function

        return decorate

    def task(self, *functions: Any, **options: Any) -> Any:
        def decorate(function: Any) -> Task:
            self.tasks[function.__name__] = Task(function, **options)
            return self.tasks[function.__name__]

        return decorate(functions[0]) if functions else decorate


@pytest.fixture(params=[2, 3])
def recorder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    decorators = {"dag": recorder.dag, "task": recorder.task}
    context = {"get_current_context": dict}
    modules: dict[int, dict[str, dict[str, Any]]] = {
        2: {"airflow": {}, "airflow.decorators": decorators, "airflow.operators.python": context},
        3: {"airflow": {}, "airflow.sdk": decorators | context},
    }
    for name, content in modules[request.param].items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return recorder


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_an_example_loads_on_both_generations_of_airflow(file: Path, recorder: Recorder) -> None:
    runpy.run_path(str(file))
    [(name, options)] = recorder.dags.items()
    assert name == file.stem
    assert options["catchup"] is False
    assert options["doc_md"]
    assert recorder.tasks


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


def test_the_lineage_example_is_a_chain_of_datasets(recorder: Recorder) -> None:
    runpy.run_path(str(DAGS[0].parent / "example_openlineage.py"))
    tasks = list(recorder.tasks.values())
    for task, following in itertools.pairwise(tasks):
        assert task.options["outlets"] == following.options["inlets"]
