"""How every command ends: the result as one JSON object or on the screen, then the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from mwaactl.cli.session import console, error_fields, print_error
from mwaactl.errors import ControlError

if TYPE_CHECKING:
    from rich.console import Console

    from mwaactl.json_model import Model

Result = TypeVar("Result", bound="Model")


def finish(
    result: Result,
    show: Callable[[Console, Result], None],
    *,
    as_json: bool,
    error: ControlError | None = None,
    exit_code: int = 0,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Print the result, then `error` if there is one; exit with its code, else with `exit_code`.

    `beside`: what stands beside the result's fields in the JSON object.
    """
    if as_json:
        fields = {**result.model_dump(mode="json"), **(beside or {})} | (
            error_fields(error) if error is not None else {}
        )
        typer.echo(json.dumps(fields, indent=2))
    else:
        show(console(), result)
        if error is not None:
            print_error(error)
    code = error.exit_code if error is not None else exit_code
    if code:
        raise typer.Exit(code)


def stop(
    error: ControlError,
    result: Callable[[], Model],
    *,
    as_json: bool,
    beside: Mapping[str, Any] | None = None,
) -> NoReturn:
    """Exit with `error` alone; with --json, also print what `result` returns."""
    if as_json:
        finish(result(), lambda *_: None, as_json=True, error=error, beside=beside)
    raise error
