"""The Python API of `mwaactl`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mwaactl


def test_what_type_checkers_see_is_what_is_there() -> None:
    (block,) = (
        node for node in ast.parse(Path(mwaactl.__file__).read_text()).body if isinstance(node, ast.If)
    )
    promised = {
        str(alias.asname): str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert promised == {name: f"mwaactl.{module}" for name, module in mwaactl._MODULES.items()}
    assert all(callable(getattr(mwaactl, name)) for name in promised)


def test_the_package_alone_loads_nothing_heavy() -> None:
    program = (
        "import mwaactl, sys; print({'boto3', 'pulumi', 'pydantic', 'rich', 'typer'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'switch_over'"):
        _ = mwaactl.switch_over
