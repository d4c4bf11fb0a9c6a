"""What Amazon MWAA's API takes: the lengths, patterns and values in botocore's model of it.

boto3 checks types and smallest lengths only, so a request that AWS refuses reaches the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader

# Classes of Unicode that Python's `re` does not have: letters and digits, and separators.
CLASSES = {r"\p{L}": r"\w", r"\p{N}": "", r"\p{Z}": r"\s"}


def violations(shape: str, value: Any, path: str = "") -> Iterator[str]:
    """What a value of a shape (`CreateEnvironmentInput`) breaks, each with its path and the limit.

    Members that the model does not know, and missing ones, are left to others.
    """
    model = _shapes()[shape]
    kind = model["type"]
    if kind == "structure" and isinstance(value, Mapping):
        for member, about in model["members"].items():
            if value.get(member) is not None:
                yield from violations(about["shape"], value[member], f"{path}.{member}" if path else member)
    elif kind == "map" and isinstance(value, Mapping):
        yield from _sized(model, len(value), path, "entries")
        for key, item in value.items():
            yield from violations(model["key"]["shape"], key, f"key {key!r} of {path}")
            yield from violations(model["value"]["shape"], item, f"{path}[{key!r}]")
    elif kind == "list" and isinstance(value, list):
        yield from _sized(model, len(value), path, "items")
        for item in value:
            yield from violations(model["member"]["shape"], item, path)
    elif kind == "string":
        yield from _text(model, value, path)
    elif kind == "integer" and isinstance(value, int):
        yield from _sized(model, value, path, "as value")


def _text(model: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} must be a string"
        return
    yield from _sized(model, len(value), path, "characters")
    if "enum" in model and value not in model["enum"]:
        yield f"{path} is {value!r}; allowed are {', '.join(model['enum'])}"
    if "pattern" in model and not re.fullmatch(_python(model["pattern"]), value):
        yield f"{path} is {_shown(model, value)}; it must match {model['pattern']}"


def _sized(model: Mapping[str, Any], size: int, path: str, unit: str) -> Iterator[str]:
    if not model.get("min", size) <= size <= model.get("max", size):
        yield f"{path} has {size} {unit}; allowed are {model.get('min', 0)} to {model.get('max', 'any')}"


def _shown(model: Mapping[str, Any], value: str) -> str:
    return "not shown" if model.get("sensitive") else repr(value)


def _python(pattern: str) -> str:
    for theirs, ours in CLASSES.items():
        pattern = pattern.replace(theirs, ours)
    return pattern


@cache
def _shapes() -> Mapping[str, Any]:
    shapes: Mapping[str, Any] = Loader().load_service_model("mwaa", "service-2")["shapes"]
    return shapes
