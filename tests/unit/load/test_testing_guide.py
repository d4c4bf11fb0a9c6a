"""The guide to the tests names, for each promise, tests that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
GUIDE = TESTS.parent / "docs" / "testing.md"
FILE = re.compile(r"`((?:unit|engine|long)?[\w/]*test_\w+\.py)`(?: \(([^)]*)\))?")
NAME = re.compile(r"`(\w+)`")


def promises() -> Iterator[tuple[str, str]]:
    """The rows of the table: the promise, and the tests."""
    table = GUIDE.read_text().partition("## Which test would fail?")[2]
    for line in table.splitlines():
        if line.startswith("| ") and not line.startswith(("| promise", "| --")):
            promise, tests = line.strip("| ").split(" | ")
            yield promise, tests


@pytest.mark.parametrize(("promise", "tests"), list(promises()))
def test_the_tests_that_would_fail_exist(promise: str, tests: str) -> None:
    files = FILE.findall(tests)
    assert files, f"{promise}: no test is named"
    for file, names in files:
        path = TESTS / file if file.startswith(("unit/", "engine/")) else TESTS / "e2e" / file
        source = path.read_text()
        for name in NAME.findall(names):
            found = re.search(rf"def test_\w*{name}", source)
            assert found, f"{file} has no test with {name} in its name"


def test_the_table_is_there() -> None:
    assert len(list(promises())) > 30
