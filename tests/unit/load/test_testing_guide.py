"""The guides name tests that exist: for each promise, and for each failure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
DOCS = TESTS.parent / "docs"
GUIDE = DOCS / "testing.md"
ONLY_AWS = "AWS"  # in place of a test
FILE = re.compile(r"`((?:unit|engine|long)?[\w/]*test_\w+\.py)`(?: \(([^)]*)\))?")
NAME = re.compile(r"`(\w+)`")


def promises() -> Iterator[tuple[str, str]]:
    """The rows of the table: the promise, and the tests."""
    table = GUIDE.read_text().partition("## Which test would fail?")[2]
    for line in table.splitlines():
        if line.startswith("| ") and not line.startswith(("| promise", "| --")):
            promise, tests = line.strip("| ").split(" | ")
            yield promise, tests


def failures() -> Iterator[tuple[str, str]]:
    """The rows of the tables: what breaks, and where it was tried."""
    for line in (DOCS / "failures.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| what breaks", "| --")):
            breaks, _, _, _, _, tests = line.strip("| ").split(" | ")
            yield breaks, tests


@pytest.mark.parametrize(("what", "tests"), [*promises(), *failures()])
def test_the_tests_that_are_named_exist(what: str, tests: str) -> None:
    files = FILE.findall(tests)
    assert files or tests == ONLY_AWS, f"{what}: no test is named"
    for file, names in files:
        path = TESTS / file if file.startswith(("unit/", "engine/")) else TESTS / "e2e" / file
        source = path.read_text()
        for name in NAME.findall(names):
            found = re.search(rf"def test_\w*{name}", source)
            assert found, f"{file} has no test with {name} in its name"


def test_the_tables_are_there() -> None:
    assert len(list(promises())) > 30
    assert len(list(failures())) > 20
