"""The mutants of a small module: each changes what it does, and none what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.__main__ import known_survivors
from tests.mutation.mutants import mutants
from tests.mutation.targets import TARGETS

ROOT = Path(__file__).parents[3]


def changes(source: str) -> list[str]:
    return [f"{mutant.before} -> {mutant.after}" for mutant in mutants(source)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("return a < b", ["return a < b -> return a <= b"]),
        ("return a is b", ["return a is b -> return a is not b"]),
        ("return f(a, key=b)", ["return f(a, key=b) -> return None", "return f(a, key=b) -> return f(a)"]),
        ("f(a)", ["f(a) -> pass"]),
        ("a.b = c", ["a.b = c -> pass"]),
        ("raise a", ["raise a -> pass"]),
        ("if a:\n  f", ["if a: -> if True:", "if a: -> if False:"]),
        ("a = b and not c", ["a = b and (not c) -> a = not c", "a = b and (not c) -> a = b"]),
        ("a = any(b)", ["a = any(b) -> a = all(b)"]),
        ("a = [b for b in c if d]", ["[b for b in c if d] -> [b for b in c]"]),
        ("a = b - c", ["a = b - c -> a = b + c", "a = b - c -> a = b"]),
        ("a = b if c else d", ["a = b if c else d -> a = b", "a = b if c else d -> a = d"]),
        ("a = 3", ["a = 3 -> a = 4"]),
        ("a = f'{b < c}'", []),
        ("a: int | None", []),
    ],
)
def test_each_kind_of_change_is_made(statement: str, expected: list[str]) -> None:
    """Of `not`, the change may be among others."""
    body = statement.replace("\n", "\n ")
    assert (
        set(expected) <= set(changes(f"def f():\n {body}")) if expected else not changes(f"def f():\n {body}")
    )


SAMPLE = """
def f(a=3, *, b: int = 4):
    for each in a:
        if each.c and not b:
            continue
        match each:
            case 1:
                return g(each, x=1, y=1)
            case 2:
                return g(each, x=1, y=1)
    with suppress(ValueError):
        raise ValueError(f"{a + 1}")
"""


def test_each_mutant_is_a_program_with_a_name_of_its_own_and_none_is_the_original() -> None:
    made = mutants(SAMPLE)
    original = ast.dump(ast.parse(SAMPLE))
    assert len({mutant.name for mutant in made}) == len(made) > 20
    assert len({mutant.source for mutant in made} | {original}) == len(made) + 1
    assert all(ast.dump(ast.parse(mutant.source)) != original for mutant in made)


def test_what_is_executed_at_the_import_concerns_all_tests() -> None:
    assert {mutant.after for mutant in mutants(SAMPLE) if mutant.lines is None} == {
        "def f(a=4, *, b: int=4):",
        "def f(a=3, *, b: int=5):",
    }


def test_the_figures_of_a_module_are_left_alone() -> None:
    assert changes("LIMIT = 3\nPAIR = (1, True)") == []


def test_the_targets_and_their_tests_exist() -> None:
    for target in TARGETS:
        for path in (target.path, *target.tests):
            assert (ROOT / path).is_file(), path


def test_the_survivors_that_the_guide_explains_still_exist() -> None:
    known = known_survivors((ROOT / "docs/mutation.md").read_text())
    assert known.keys() <= {target.name for target in TARGETS}
    for target in TARGETS:
        functions = {name.partition(":")[0] for name in known.get(target.name, ())}
        source = (ROOT / target.path).read_text()
        for name in functions - {"module"}:
            assert f"{name.rpartition('.')[2]}(" in source, f"{target.name} has no {name}"
