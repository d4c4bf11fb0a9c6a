"""The `random` package: passwords, strings, identifiers. Every argument is final, as in the real provider."""

from __future__ import annotations

import base64
import secrets
import string
import uuid
from collections.abc import Callable

from pulumi.provider.experimental import provider as protocol
from pulumi.provider.experimental.provider import PropertyDiff, PropertyDiffKind

from local.provider.schema import Schema, problems
from local.provider.server import Plugin
from local.provider.values import (
    UNKNOWN,
    Props,
    ProviderError,
    changed_paths,
    plain,
    secret_keys,
    token_of,
    wrap,
)

SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
TEXT_DEFAULTS = {
    "lower": True,
    "upper": True,
    "number": True,
    "numeric": True,
    "special": True,
    "minLower": 0,
    "minUpper": 0,
    "minNumeric": 0,
    "minSpecial": 0,
}


def text(inputs: Props) -> tuple[str, Props]:
    """`length` characters of the wanted kinds, with at least the given number of each."""
    kinds = {
        "Lower": string.ascii_lowercase if inputs["lower"] else "",
        "Upper": string.ascii_uppercase if inputs["upper"] else "",
        "Numeric": string.digits if inputs["numeric"] and inputs["number"] else "",
        "Special": (inputs.get("overrideSpecial") or SPECIAL) if inputs["special"] else "",
    }
    letters = [secrets.choice(kinds[kind]) for kind in kinds for _ in range(inputs[f"min{kind}"])]
    every = "".join(kinds.values())
    letters += [secrets.choice(every) for _ in range(inputs["length"] - len(letters))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters), {"result": "".join(letters)}


def password(inputs: Props) -> tuple[str, Props]:
    _, outputs = text(inputs)
    return "none", outputs  # an identifier is no secret: it must not be the password


def random_id(inputs: Props) -> tuple[str, Props]:
    value = secrets.token_bytes(inputs["byteLength"])
    prefix = inputs.get("prefix") or ""
    url = base64.urlsafe_b64encode(value).decode().rstrip("=")
    return url, {
        "b64Url": prefix + url,
        "b64Std": prefix + base64.b64encode(value).decode(),
        "hex": prefix + value.hex(),
        "dec": prefix + str(int.from_bytes(value, "big")),
    }


def uuid4(_inputs: Props) -> tuple[str, Props]:
    value = str(uuid.uuid4())
    return value, {"result": value}


GENERATORS: dict[str, tuple[Callable[[Props], tuple[str, Props]], Props]] = {
    "random:index/randomPassword:RandomPassword": (password, TEXT_DEFAULTS),
    "random:index/randomString:RandomString": (text, TEXT_DEFAULTS),
    "random:index/randomId:RandomId": (random_id, {}),
    "random:index/randomUuid:RandomUuid": (uuid4, {}),
}


class Random(Plugin):
    def __init__(self, version: str) -> None:
        super().__init__()
        self._schema = Schema("random", version)

    async def check(self, request: protocol.CheckRequest) -> protocol.CheckResponse:
        if token_of(request) not in GENERATORS:
            raise ProviderError(f"the local cloud does not support the resource type {token_of(request)} yet")
        inputs = {**GENERATORS[token_of(request)][1], **plain(request.new_inputs)}
        failures = [
            protocol.CheckFailure(path, f"{token_of(request)} {request.name}: {reason}")
            for path, reason in problems(self._schema.of(token_of(request))["inputs"], inputs)
        ]
        return protocol.CheckResponse(wrap(inputs, secret_keys(request.new_inputs)), failures)

    async def diff(self, request: protocol.DiffRequest) -> protocol.DiffResponse:
        paths = list(changed_paths(self.old_inputs.pop(request.urn), plain(request.new_inputs)))
        detail = {path: PropertyDiff(PropertyDiffKind.UPDATE_REPLACE, input_diff=True) for path in paths}
        changed = sorted({path.split(".")[0] for path in paths})
        return protocol.DiffResponse(bool(paths), replaces=changed, diffs=changed, detailed_diff=detail)

    async def create(self, request: protocol.CreateRequest) -> protocol.CreateResponse:
        inputs, hidden = plain(request.properties), secret_keys(request.properties)
        if request.preview:
            unknown = dict.fromkeys(self._schema.of(token_of(request))["outputs"], UNKNOWN)
            return protocol.CreateResponse(None, wrap(unknown | inputs, hidden))
        identifier, outputs = GENERATORS[token_of(request)][0](inputs)
        return protocol.CreateResponse(identifier, wrap(inputs | outputs, hidden))

    async def delete(self, request: protocol.DeleteRequest) -> None:
        """Do nothing: it exists only in the state."""
