"""Applying the table of kinds to a resource: its identifier and outputs, and the effect of a change."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from local.home import ACCOUNT
from local.provider.kinds.kind import Inputs, Kind
from local.provider.values import Props


class _Terms(Mapping[str, Any]):
    """The terms that a template may use; each `{hexN}` is a new value."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def __getitem__(self, key: str) -> Any:
        if key in self._known:
            return self._known[key]
        if key.startswith("hex"):
            return secrets.token_hex(int(key[3:]))[: int(key[3:])]
        if key == "digits":
            return "".join(secrets.choice(string.digits) for _ in range(10))
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def render(template: Any, known: Mapping[str, Any]) -> Any:
    """A template with its terms filled in. A text that is one whole term keeps the term's type."""
    terms = _Terms({"account": ACCOUNT, **known})
    if isinstance(template, Mapping):
        return {key: render(item, known) for key, item in template.items()}
    if isinstance(template, list):
        return [render(item, known) for item in template]
    if not isinstance(template, str):
        return template
    inner = template[1:-1]
    if template == f"{{{inner}}}" and inner.isidentifier():
        return terms.get(inner)
    return template.format_map(terms)


def recorded(kind: Kind, inputs: Props, region: str) -> tuple[str, Props]:
    """(id, outputs) of a resource that is only recorded."""
    known = {"region": region, **inputs}
    identifier = str(render(kind.id, known))
    known["id"] = identifier
    return identifier, {**{key: render(value, known) for key, value in kind.outputs.items()}, **inputs}


def renew(kind: Kind, identifier: str, outputs: Props, renewed: Sequence[str], region: str) -> Props:
    """The outputs of a recorded resource after an update: computed ones are kept, except the `renewed`."""
    known = {"region": region, **outputs, "id": identifier}
    result = dict(outputs)
    for key, template in kind.outputs.items():
        if key in renewed and isinstance(outputs.get(key), int):
            result[key] = outputs[key] + 1
        elif key in renewed or key not in outputs:
            result[key] = render(template, known)
    return result


def replacements(kind: Kind, paths: Sequence[str], old: Inputs, new: Inputs) -> list[str]:
    """Those of the changed `paths` that make the provider replace the resource."""
    forcing = [*kind.replaces, "region", *kind.also_replaces(old, new)]
    return [
        path
        for path in paths
        # A path to a block covers the properties inside it, and vice versa.
        if any(path == f or path.startswith(f + ".") or f.startswith(path + ".") for f in forcing)
    ]
