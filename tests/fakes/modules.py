"""Modules that stand in for those of Airflow, which the tests do without."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest


def module(name: str, **content: Any) -> ModuleType:
    """A module with that content."""
    made = ModuleType(name)
    vars(made).update(content)
    return made


def stand_in(monkeypatch: pytest.MonkeyPatch, modules: Mapping[str, Mapping[str, Any]]) -> None:
    """Let `import` find these modules, by name, until the test ends."""
    for name, content in modules.items():
        monkeypatch.setitem(sys.modules, name, module(name, **content))
