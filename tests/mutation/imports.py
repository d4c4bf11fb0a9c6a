"""Which of our modules the tests of a target import, and which of them depend on it."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

OURS = ("benchmarks", "bluegreen", "components", "forwarder", "lineage_log", "local", "mwaactl", "tests")


def independent(path: str, files: Iterable[str]) -> frozenset[str]:
    """The modules that `files` import, and these in turn, which do not import the one at `path`."""
    needs: dict[str, set[str]] = {}
    queue = [name for file in files for name in _imports(Path(file))]
    for name in queue:  # grows meanwhile
        file = _file(name)
        if file is not None and name not in needs:
            needs[name] = {*_imports(file), name.rpartition(".")[0] or name}
            queue += needs[name]
    dependent = {name for name in needs if _file(name) == Path(path)}
    while more := {name for name in needs if needs[name] & dependent} - dependent:
        dependent |= more
    return frozenset(needs.keys() - dependent)


def load(names: Iterable[str]) -> None:
    """Import modules; what cannot be imported here is left to the tests."""
    for name in sorted(names):
        with suppress(Exception):
            importlib.import_module(name)


def forget(kept: Collection[str]) -> None:
    """Have all our modules but `kept` imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS and name not in kept]:
        del sys.modules[name]
        package, _, module = name.rpartition(".")
        if hasattr(sys.modules.get(package), module):
            delattr(sys.modules[package], module)


def _file(name: str) -> Path | None:
    """The file of one of our modules or packages."""
    path = Path(*name.split("."))
    root = Path("plugins") if name.startswith("bluegreen") else Path()
    candidates = (root / path.with_suffix(".py"), root / path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _imports(file: Path) -> Iterator[str]:
    """What a file imports when it is imported itself."""
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
