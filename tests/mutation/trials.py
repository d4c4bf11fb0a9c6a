"""Runs tests on mutants, in a copy of the tree: an interrupted run leaves nothing behind.

The tests are collected once. Each trial is a fork of that process in which one function has the mutant's
code. A mutant meets only the tests that execute its line, the most promising ones first, until one fails.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Literal

import coverage
import hypothesis
import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.targets import SLOW, Target

PYTEST = ["--maxfail=1", "--quiet", "--assert=plain", "-pno:cacheprovider", "-pno:unraisableexception", "-s"]
PATIENCE = 3, 20  # a mutant may take this many times as long as its tests, and this many seconds more

Outcome = Literal["killed", "timeout", "survived", "no test"]


def work_in_a_copy(folder: Path) -> None:
    """Copy the tree to `folder`, and have this process and its children work there."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(os.path.isfile, listing.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, folder / name)
    paths = [str(folder), str(folder / "plugins")]
    original = {str(Path.cwd()), str(Path("plugins").resolve())}
    sys.path[:] = [*paths, *(path for path in sys.path if path not in original)]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(folder)


def with_tests(target: Target, work: Callable[[Trials], None], *, quick: bool) -> None:
    """Collect the target's tests, and call `work` in a process of its own. Raises RuntimeError."""
    arguments = [*PYTEST, *target.tests]
    if quick:
        arguments += ["-k", f"not ({' or '.join(SLOW)})"]
    code, output = _forked(lambda: int(pytest.main(arguments, [_Plugin(target, work)])))
    if code:
        raise RuntimeError(f"{target.path} could not be examined:\n{output}")


class _Plugin:
    """Instead of running the tests once, pytest calls `work`."""

    def __init__(self, target: Target, work: Callable[[Trials], None]) -> None:
        self._target, self._work = target, work
        hypothesis.settings.register_profile(
            "mutation",
            derandomize=True,
            database=None,
            deadline=None,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # an example need not be small
        )
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Failed("the tests cannot be collected")
        self._work(Trials(self._target, session.items, session.config))
        return True


class Trials:
    """The tests of a target, and what they do on the original: which lines they execute, and in which time.

    Raises RuntimeError if they do not pass.
    """

    def __init__(self, target: Target, items: Sequence[pytest.Item], config: pytest.Config) -> None:
        self._target, self._config = target, config
        self._items = {item.nodeid: item for item in items}
        self._module = importlib.import_module(target.module)
        self._kills: Counter[str] = Counter()  # the number of mutants that each test has noticed
        self._by_line, self._seconds = self._baseline()

    def _baseline(self) -> tuple[dict[int, set[str]], dict[str, float]]:
        path = str(Path(self._target.path).resolve())
        recorder = coverage.Coverage(data_file=None, include=[path], config_file=False)
        seconds: dict[str, float] = {}
        result = Path("baseline.pickle")

        def run() -> int:
            with recorder.collect():
                for test, passed in self._run(list(self._items), before=recorder.switch_context):
                    seconds[test] = passed[1]
                    if not passed[0]:
                        print(f"{test} fails on the original")
                        return 1
            lines = recorder.get_data().contexts_by_lineno(path)
            by_line = {line: set(contexts) - {""} for line, contexts in lines.items()}
            result.write_bytes(pickle.dumps((by_line, seconds)))
            return 0

        code, output = _forked(run)
        if code:
            raise RuntimeError(output)
        by_line, seconds = pickle.loads(result.read_bytes())
        return by_line, seconds

    def _run(
        self, tests: Sequence[str], before: Callable[[str], object] = str
    ) -> Iterator[tuple[str, tuple[bool, float]]]:
        """Run tests in this order; yields for each whether it passed, and how long it took (seconds)."""
        reports: list[pytest.TestReport] = []

        class Reports:
            def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
                reports.append(report)

        self._config.pluginmanager.register(Reports())
        items = [self._items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            reports.clear()
            before(item.nodeid)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            yield item.nodeid, (not any(r.failed for r in reports), sum(r.duration for r in reports))

    def _executing(self, lines: Iterable[int] | None) -> list[str]:
        """The tests that execute one of these lines (None: all tests), the most promising first."""
        tests = set(self._items) if lines is None else {t for n in lines for t in self._by_line.get(n, ())}
        return sorted(tests, key=lambda test: (self._seconds[test] / (1 + self._kills[test]), test))

    def judge(self, mutant: Mutant) -> Outcome:
        """Whether a test notices the mutant."""
        tests = self._executing(mutant.lines)
        if not tests:
            return "no test"
        factor, more = PATIENCE
        timeout = factor * sum(self._seconds[test] for test in tests) + more
        if mutant.lines is None:
            return self._judge_import(mutant, timeout)
        noticed_by = Path("noticed_by.txt").resolve()

        def run() -> int:
            _exchange(self._module, mutant)
            for test, (passed, _) in self._run(tests):
                if not passed:
                    noticed_by.write_text(test)
                    return 1
            return 0

        code, _ = _forked(run, timeout)
        if code == 1:
            self._kills[noticed_by.read_text()] += 1
        return "timeout" if code is None else "killed" if code else "survived"

    def _judge_import(self, mutant: Mutant, timeout: float) -> Outcome:
        """The same for a change that takes effect when the module is imported: by a new process."""
        file = Path(self._target.path)
        original = file.read_text()
        file.write_text(mutant.source)
        command = [sys.executable, "-B", "-m", "pytest", *PYTEST, *self._target.tests]
        # not valid for the mutant, but it may look so: by its time, to the second, and its size
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
        try:
            done = subprocess.run(command, timeout=timeout, capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            return "timeout"
        finally:
            file.write_text(original)
        return "killed" if done.returncode else "survived"


def _exchange(module: ModuleType, mutant: Mutant) -> None:
    """Give a function of the module, with those inside it, the mutant's code."""
    code: CodeType = compile(mutant.source, module.__file__ or "", "exec")
    function: object = module
    for name in mutant.function.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)
        function = inspect.getattr_static(function, name)
    for _ in range(3):  # what decorates it
        if isinstance(function, property):
            function = function.fget
        elif isinstance(function, cached_property):
            function = function.func
        elif isinstance(function, classmethod | staticmethod):
            function = function.__func__
        function = inspect.unwrap(function) if callable(function) else function
    assert isinstance(function, FunctionType)
    function.__code__ = code


def _forked(run: Callable[[], int], timeout: float = 3600) -> tuple[int | None, str]:
    """Run in a child process; return its exit code (None: it took too long) and its output."""
    output = Path(f"output-{os.getpid()}.txt")
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setsid()
            sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            code = run()
        except BaseException:  # noqa: BLE001 - of a child, nothing may be raised
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), output.read_text()
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, output.read_text()
