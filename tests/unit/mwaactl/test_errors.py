"""The exit codes stand in one place."""

from __future__ import annotations

from pathlib import Path

from mwaactl import errors

GUIDE = Path(__file__).parents[3] / "docs" / "switching.md"


def test_the_guide_shows_the_exit_codes_as_they_are() -> None:
    assert errors.exit_code_table() in GUIDE.read_text()


def test_each_kind_of_error_has_an_exit_code_of_its_own() -> None:
    kinds = errors.ControlError.__subclasses__()
    assert sorted(kind.exit_code for kind in kinds) == [1, 2, 3, 4, 5, 6]
    assert {kind.exit_code: kind.meaning for kind in kinds}.items() <= errors.EXIT_CODES.items()
