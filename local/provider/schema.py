"""What a resource type accepts and returns, read from the source of the real Python SDK.

Importing `pulumi_aws` takes a second; its generated modules are uniform enough to be read as text. The result
is cached in PULUMI_HOME, per version of the SDK.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from local.provider.values import UNKNOWN, ProviderError

# One property: {"required": bool, "many": "list"|"map"|"", "type": "str"|"int"|"float"|"bool"|"any"|"object",
# "fields": {...} of an object}
Fields = dict[str, Any]
SCALARS: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}


class Schema:
    """The schema of `package` (aws, awsx or random) in the `version` of its Python SDK."""

    def __init__(self, package: str, version: str) -> None:
        self._package = package
        home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
        self._cache = home / "schema" / f"{package}-{version}"
        self._known: dict[str, Fields] = {}

    def of(self, token: str) -> Fields:
        """`{"inputs": fields, "outputs": [names]}` of a type like `aws:s3/bucket:Bucket`.

        Raises ProviderError if the SDK has no such type.
        """
        if token not in self._known:
            self._known[token] = self._load(token)
        return self._known[token]

    def _load(self, token: str) -> Fields:
        file = self._cache / (re.sub(r"\W", "_", token) + ".json")
        try:
            fields: Fields = json.loads(file.read_text())
        except (FileNotFoundError, ValueError):
            fields = read(self._package, token)
            self._cache.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(fields))
            temporary.replace(file)
        return fields


def problems(
    fields: Mapping[str, Any], values: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, str]]:
    """The path and the reason for each unknown, missing or mistyped value."""
    for key, value in values.items():
        where = f"{path}.{key}" if path else key
        if key not in fields:
            yield where, f"no such argument; the arguments are {', '.join(sorted(fields))}"
        else:
            yield from _mistyped(fields[key], value, where)
    for key, field in fields.items():
        if field["required"] and values.get(key) is None:
            yield (f"{path}.{key}" if path else key), "this argument is required"


def _mistyped(field: Mapping[str, Any], value: Any, path: str) -> Iterator[tuple[str, str]]:
    if value is None or value == UNKNOWN:
        return
    if field["many"] == "list":
        if not isinstance(value, list):
            yield path, f"must be a list, not {value!r}"
            return
        items = list(value)
    elif field["many"] == "map":
        if not isinstance(value, dict):
            yield path, f"must be an object, not {value!r}"
            return
        items = list(value.values())
    else:
        items = [value]
    for item in items:
        if item is None or item == UNKNOWN or field["type"] == "any":
            continue
        if field["type"] == "object":
            if isinstance(item, dict):
                yield from problems(field["fields"], item, path)
            else:
                yield path, f"must be an object, not {item!r}"
        elif not isinstance(item, SCALARS[field["type"]]) or (
            field["type"] != "bool" and isinstance(item, bool)
        ):
            yield path, f"must be of type {field['type']}, not {item!r}"


def read(package: str, token: str) -> Fields:
    """Parse the SDK's module of one resource type."""
    module = token.split(":")[1].split("/")[0]
    folder = _sdk(package)
    if module != "index":
        folder /= module
    marker = f'@pulumi.type_token("{token}")'
    for file in sorted(folder.glob("*.py")):
        text = file.read_text()
        start = text.find(marker)
        if start >= 0:
            name = token.rsplit(":", 1)[1]
            # `InitArgs` where a nested block already has the shorter name.
            own = f"{name}Args" if f"class {name}Args:" in text else f"{name}InitArgs"
            inputs = _class(text, own, folder)
            outputs = [wire for _, wire in _properties(text[start:])]
            return {"inputs": inputs, "outputs": outputs}
    raise ProviderError(f"{token}: the Python SDK pulumi_{package} has no such resource type")


@cache
def _sdk(package: str) -> Path:
    spec = importlib.util.find_spec(f"pulumi_{package}")
    if spec is None or spec.origin is None:
        raise ProviderError(f"the Python SDK pulumi_{package} is not installed; run: uv sync")
    return Path(spec.origin).parent


@cache
def _inputs_text(folder: Path) -> str:
    file = folder / "_inputs.py"
    return file.read_text() if file.exists() else ""


def _class(text: str, name: str, folder: Path) -> Fields:
    """The fields of an arguments class."""
    start = text.find(f"class {name}:")
    if start < 0:
        raise ProviderError(f"the class {name} is missing in {folder}")
    end = text.find("\n@pulumi", start)
    body = text[start : end if end > 0 else None]
    signature = body[: body.find("):")]
    wires = dict(_properties(body))
    fields: Fields = {}
    for python, annotation, default in re.findall(r"^ +(\w+): (.+?)( = None)?,?$", signature, re.MULTILINE):
        fields[wires[python]] = {"required": not default, **_type(annotation, folder)}
    return fields


def _properties(text: str) -> Iterator[tuple[str, str]]:
    """(Python name, name on the wire) of each getter."""
    getter = (
        r'@pulumi\.getter(?:\(name="(\w+)"\))?\n(?:    @.*?\n)?    def (\w+)\(self\)'  # or a deprecated one
    )
    for wire, python in re.findall(getter, text, re.DOTALL):
        yield python, wire or python


def _type(annotation: str, folder: Path) -> Fields:
    many = "list" if "Sequence[" in annotation else "map" if "Mapping[" in annotation else ""
    nested = re.search(r"'(\w+Args)'", annotation)
    if ("Union[" in annotation and nested) or annotation.count("Sequence[") + annotation.count(
        "Mapping["
    ) > 1:
        return {"many": many, "type": "any"}
    if nested:
        fields = _class(_inputs_text(folder), nested[1], folder)
        return {"many": many, "type": "object", "fields": fields}
    without_key = annotation.replace("Mapping[str,", "")
    scalar = re.search(r"_builtins\.(str|bool|int|float)\b", without_key)
    enum = re.search(r"'\w+'", annotation)  # an enum, or another package's type: both arrive as they are
    return {"many": many, "type": scalar[1] if scalar and not enum else "str" if scalar else "any"}
