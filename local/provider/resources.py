"""The `aws` package: check, diff, create, read, update and delete, like the real provider's bridge."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pulumi.provider.experimental import provider as protocol
from pulumi.provider.experimental.provider import PropertyDiff, PropertyDiffKind

from local.home import REGION
from local.provider.functions import invoke
from local.provider.kinds.kind import Kind
from local.provider.kinds.table import KINDS
from local.provider.kinds.templates import recorded, renew, replacements
from local.provider.schema import Schema, problems
from local.provider.server import Plugin
from local.provider.services.registry import SERVICES
from local.provider.services.service import Importable, Service, call
from local.provider.values import (
    UNKNOWN,
    Named,
    Props,
    ProviderError,
    changed_paths,
    has_unknown,
    plain,
    secret_keys,
    token_of,
    wrap,
)

T = TypeVar("T")
DEFAULTS = "__defaults"  # inputs that Pulumi filled in, as its bridged providers note them


class Aws(Plugin):
    def __init__(self, version: str) -> None:
        super().__init__()
        self._schema = Schema("aws", version)
        self._region = REGION
        self._default_tags: dict[str, str] = {}

    async def configure(self, request: protocol.ConfigureRequest) -> protocol.ConfigureResponse:
        args = plain(request.args)
        self._region = str(args.get("region") or REGION)
        default_tags = args.get("defaultTags") or {}
        if isinstance(default_tags, str):  # the engine passes nested provider settings as JSON
            default_tags = json.loads(default_tags)
        self._default_tags = dict(default_tags.get("tags") or {})
        return await super().configure(request)

    async def invoke(self, request: protocol.InvokeRequest) -> protocol.InvokeResponse:
        answer = await asyncio.to_thread(invoke, request.tok, plain(request.args), self._region)
        return protocol.InvokeResponse(wrap(answer))

    async def check(self, request: protocol.CheckRequest) -> protocol.CheckResponse:
        kind = _kind(token_of(request))
        inputs, old = plain(request.new_inputs), plain(request.old_inputs)
        inputs.pop(DEFAULTS, None)
        filled: Props = {key: value for key, value in kind.defaults.items() if inputs.get(key) is None}
        if kind.name and inputs.get(kind.name) is None and inputs.get(f"{kind.name}Prefix") is None:
            filled[kind.name] = (
                old[kind.name]
                if kind.name in old.get(DEFAULTS, ())
                else _random_name(request.name, kind.longest_name, bytes(request.random_seed))
            )
        inputs.update(filled)
        fields = self._schema.of(token_of(request))["inputs"]
        failures = [
            protocol.CheckFailure(path, f"{token_of(request)} {request.name}: {reason}")
            for path, reason in problems(fields, inputs)
        ]
        if filled:
            inputs[DEFAULTS] = sorted(filled)
        return protocol.CheckResponse(wrap(inputs, secret_keys(request.new_inputs)), failures)

    async def diff(self, request: protocol.DiffRequest) -> protocol.DiffResponse:
        kind = _kind(token_of(request))
        old, new = self.old_inputs.pop(request.urn), plain(request.new_inputs)
        explicit = kind.name is not None and kind.name not in new.get(DEFAULTS, ())
        old.pop(DEFAULTS, None)
        new.pop(DEFAULTS, None)
        state = plain(request.old_state)
        for key in kind.given_back:
            old[key] = state.get(key, old.get(key))
            if new.get(key) is None:
                new[key] = old[key]
        paths = list(changed_paths(old, new))
        replacing = replacements(kind, paths, old, new)
        detail = {
            path: PropertyDiff(_diff_kind(path, old, new, path in replacing), input_diff=True)
            for path in paths
        }
        return protocol.DiffResponse(
            changes=bool(paths),
            replaces=sorted({path.split(".")[0] for path in replacing}),
            diffs=sorted({path.split(".")[0] for path in paths}),
            detailed_diff=detail,
            # Two cannot share a name: a resource that Pulumi did not name is deleted before its replacement.
            delete_before_replace=bool(replacing) and explicit,
        )

    async def create(self, request: protocol.CreateRequest) -> protocol.CreateResponse:
        kind, inputs = _kind(token_of(request)), plain(request.properties)
        hidden = secret_keys(request.properties)
        inputs.pop(DEFAULTS, None)
        if request.preview:
            outputs = dict.fromkeys(self._schema.of(token_of(request))["outputs"], UNKNOWN)
            outputs |= self._common(token_of(request), inputs) | inputs
            return protocol.CreateResponse(None, wrap(outputs, hidden))
        service = SERVICES.get(token_of(request))
        if service is None:
            identifier, outputs = recorded(kind, inputs, self._region)
        else:
            identifier, own = await _do(request, service.create, inputs)
            _, outputs = recorded(kind, {**inputs, **own}, self._region)
        outputs = self._common(token_of(request), inputs) | outputs
        return protocol.CreateResponse(identifier, wrap(outputs, hidden))

    async def update(self, request: protocol.UpdateRequest) -> protocol.UpdateResponse:
        kind = _kind(token_of(request))
        state, old_inputs, inputs = plain(request.olds), self.old_inputs.pop(request.urn), plain(request.news)
        old_inputs.pop(DEFAULTS, None)
        inputs.pop(DEFAULTS, None)
        outputs = {key: value for key, value in state.items() if key not in old_inputs} | inputs
        outputs |= self._common(token_of(request), inputs)
        changed = {path.split(".")[0] for path in changed_paths(old_inputs, inputs)}
        renewed = [k for k, causes in kind.renewed.items() if not causes or changed & set(causes)]
        hidden = secret_keys(request.olds, request.news)
        service = SERVICES.get(token_of(request))
        if request.preview:
            outputs |= dict.fromkeys(renewed, UNKNOWN)
        elif service is None:
            outputs = renew(kind, request.resource_id, outputs, renewed, self._region)
        else:
            outputs |= await _do(request, service.update, request.resource_id, old_inputs, inputs)
        return protocol.UpdateResponse(wrap(outputs, hidden))

    async def read(self, request: protocol.ReadRequest) -> protocol.ReadResponse:
        state, inputs = plain(request.properties), plain(request.inputs)
        _kind(token_of(request))
        service = SERVICES.get(token_of(request))
        if not state:
            return await self._import(request, service)
        hidden = secret_keys(request.properties, request.inputs)
        if service is not None:
            current = await _do(request, service.read, request.resource_id, state)
            if current is None:
                return protocol.ReadResponse("")
            state |= current
            inputs |= {key: value for key, value in current.items() if key in inputs}
        return protocol.ReadResponse(request.resource_id, wrap(state, hidden), wrap(inputs, hidden))

    async def _import(self, request: protocol.ReadRequest, service: Service | None) -> protocol.ReadResponse:
        token = token_of(request)
        if not isinstance(service, Importable):
            raise ProviderError(
                f"{token}: the local cloud cannot import resources of this type ({request.resource_id})"
            )
        found = await _do(request, service.find, request.resource_id)
        if found is None:
            return protocol.ReadResponse("")
        inputs, state = found
        state = self._common(token, inputs) | state
        return protocol.ReadResponse(
            request.resource_id, wrap(state, service.secret), wrap(inputs, service.secret)
        )

    async def delete(self, request: protocol.DeleteRequest) -> None:
        _kind(token_of(request))
        service = SERVICES.get(token_of(request))
        if service is not None:
            await _do(request, service.delete, request.resource_id, plain(request.properties))

    def _common(self, token: str, inputs: Mapping[str, Any]) -> Props:
        """The outputs that all resources have, if the schema has them; known before a resource exists."""
        outputs = self._schema.of(token)["outputs"]
        common: Props = {}
        if "region" in outputs:
            common["region"] = inputs.get("region") or self._region
        if "tagsAll" in outputs and not has_unknown(inputs.get("tags")):
            common["tagsAll"] = {**self._default_tags, **(inputs.get("tags") or {})}
        return common


async def _do(request: Named, operation: Callable[..., T], *arguments: Any) -> T:
    what = f"{token_of(request)} {request.name}"
    return await asyncio.to_thread(call, what, operation, *arguments)


def _kind(token: str) -> Kind:
    if token not in KINDS:
        raise ProviderError(
            f"the local cloud does not support the resource type {token} yet: add it to "
            "local/provider/kinds/table.py, with the inputs that force a replacement and the computed outputs"
        )
    return KINDS[token]


def _random_name(logical: str, longest: int, seed: bytes) -> str:
    """`<logical name>-<7 hex digits>`; with a seed, an update uses the name in its plan."""
    digits = hashlib.sha256(seed or secrets.token_bytes(32)).hexdigest()
    return f"{logical[: longest - 8]}-{digits[:7]}"


def _diff_kind(path: str, old: Props, new: Props, replaces: bool) -> PropertyDiffKind:
    top = path.split(".")[0]
    word = "ADD" if top not in old else "DELETE" if top not in new else "UPDATE"
    return PropertyDiffKind[f"{word}_REPLACE" if replaces else word]
