"""Runs tests on mutants, in a copy of the tree: an interrupted run leaves nothing behind.

Each run is a fork of this process, which has imported what is slow to import. A mutant meets only the tests
that execute its line, the fast ones first, until one fails.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import coverage
import hypothesis
import pytest

from tests.mutation.imports import forget, independent, load
from tests.mutation.mutants import Mutant
from tests.mutation.targets import Target

PRELOADED = (
    *("boto3", "botocore.client", "hypothesis.stateful", "packaging.version", "pulumi_aws", "pulumi_awsx"),
    *("pulumi_random", "pydantic", "rich.console", "typer.testing", "yaml"),
)
# without pytest's plugins and its explanations of assertions: they cost more than most tests
ARGUMENTS = ["--maxfail=1", "--quiet", "--assert=plain", "-pno:cacheprovider", "-pno:unraisableexception"]
CONFTESTS = ("tests/unit/conftest.py", "tests/unit/mwaactl/conftest.py")
PATIENCE = 3, 20  # a mutant may take this many times as long as its tests, and this many seconds more

QUICK = 4  # a quick trial takes this part of the time
FAILED = Path("failed.txt")  # has the id of the test that noticed a mutant

Outcome = Literal["killed", "timeout", "survived", "no test"]


class Baseline(NamedTuple):
    """What the tests do on the original: which of them execute a line, and how long each takes (seconds)."""

    by_line: dict[int, set[str]]
    seconds: dict[str, float]
    kept: frozenset[str]  # our modules that do not depend on the target: imported once
    kills: Counter[str]  # the number of mutants that each test has noticed

    def executing(self, lines: Iterable[int] | None, *, quick: bool = False) -> list[str]:
        """The tests that execute one of these lines (None: all tests), the most promising first.

        With `quick`, without the slowest ones, which take most of the time.
        """
        tests = set(self.seconds) if lines is None else {t for n in lines for t in self.by_line.get(n, ())}
        if quick and tests:
            fast = sorted(tests, key=self.seconds.__getitem__)
            spent = list(accumulate(self.seconds[test] for test in fast))
            tests = {test for test, total in zip(fast, spent, strict=True) if total <= spent[-1] / QUICK}
        return sorted(tests, key=lambda test: (self.seconds[test] / (1 + self.kills[test]), test))


class Copy:
    """A copy of the tree in `folder`, in which this process works from then on."""

    def __init__(self, folder: Path) -> None:
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
        original = {os.getcwd(), str(Path("plugins").resolve())}  # noqa: PTH109
        sys.path[:] = [*paths, *(path for path in sys.path if path not in original)]
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        os.chdir(folder)
        for module in PRELOADED:
            importlib.import_module(module)

    def baseline(self, target: Target) -> Baseline:
        """Run the target's tests on the original. Raises RuntimeError if they do not pass."""
        recorder = _Recorder(target.path)
        result = Path("baseline.pickle")

        def run() -> int:
            with recorder.coverage.collect():
                code = _pytest(target.tests, recorder, ())
            result.write_bytes(pickle.dumps(recorder.result()))
            return code

        code, output = _forked(run, timeout=600)
        if code != 0:
            raise RuntimeError(f"the tests of {target.path} fail on the original:\n{output}")
        sys.dont_write_bytecode = True  # from now on: the compiled originals are there
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        by_line, seconds = pickle.loads(result.read_bytes())
        kept = independent(target.path, (*target.tests, *CONFTESTS))
        load(kept)
        return Baseline(by_line, seconds, kept, Counter())

    def judge(self, target: Target, mutant: Mutant, baseline: Baseline, *, quick: bool) -> Outcome:
        """Whether a test notices the mutant."""
        if not baseline.executing(mutant.lines):
            return "no test"
        tests = baseline.executing(mutant.lines, quick=quick)
        file = Path(target.path)
        original = file.read_text()
        # not valid for the mutant, but it may look so: by its time, to the second, and its size
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
        file.write_text(mutant.source)
        try:
            files = dict.fromkeys(test.partition("::")[0] for test in tests)
            factor, more = PATIENCE
            timeout = factor * sum(baseline.seconds[test] for test in tests) + more
            code, _ = _forked(lambda: _pytest(files, _Selection(tests), baseline.kept), timeout)
        finally:
            file.write_text(original)
        if FAILED.exists():
            baseline.kills[FAILED.read_text()] += 1
            FAILED.unlink()
        return "timeout" if code is None else "killed" if code else "survived"


class _Recorder:
    """A pytest plugin that notes which test executes which line of one file, and how long it takes."""

    def __init__(self, path: str) -> None:
        self.path = str(Path(path).resolve())
        self.coverage = coverage.Coverage(data_file=None, include=[self.path], config_file=False)
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def result(self) -> tuple[dict[int, set[str]], dict[str, float]]:
        """The fields of the baseline."""
        by_line = {
            line: {context for context in contexts if context}
            for line, contexts in self.coverage.get_data().contexts_by_lineno(self.path).items()
        }
        return by_line, dict(self.seconds)


class _Selection:
    """A pytest plugin that runs these tests only, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._places = {test: place for place, test in enumerate(tests)}
        self._failed = FAILED.resolve()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._places]
        items[:] = sorted(chosen, key=lambda item: self._places[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.write_text(report.nodeid)


def _pytest(files: Collection[str], plugin: object, kept: Collection[str]) -> int:
    """Run pytest, always with the same examples; what it imports of ours, except for `kept`, anew."""
    forget(kept)
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # an example need not be small
    )
    hypothesis.settings.load_profile("mutation")
    return int(pytest.main([*ARGUMENTS, *files], plugins=[plugin]))


def _forked(run: Callable[[], int], timeout: float) -> tuple[int | None, str]:
    """Run in a child process; return its exit code (None: it took too long) and its output."""
    output = Path("output.txt")
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
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, output.read_text()
