"""Plain Python values instead of the protocol's: str, int, float, bool, None, list, dict - and UNKNOWN."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.runtime import rpc
from pulumi.runtime.rpc import UNKNOWN

Props = dict[str, Any]

__all__ = [
    "UNKNOWN",
    "File",
    "Named",
    "Props",
    "ProviderError",
    "changed_paths",
    "has_unknown",
    "plain",
    "secret_keys",
    "wrap",
]


class Named(Protocol):
    """Any of the protocol's requests about one resource."""

    @property
    def type(self) -> str: ...

    @property
    def name(self) -> str: ...


class File(str):
    """The hash of a file whose content is a property (`pulumi.FileAsset`). `path`: empty in a state."""

    path = ""

    @classmethod
    def of(cls, asset: Mapping[str, PropertyValue]) -> File:
        """That of an asset as the engine sends it."""
        file = cls(asset["hash"].value)
        file.path = str(asset["path"].value) if "path" in asset else ""
        return file

    def asset(self) -> dict[str, PropertyValue]:
        texts = {rpc._special_sig_key: rpc._special_asset_sig, "hash": str(self), "path": self.path}
        return {key: PropertyValue(text) for key, text in texts.items() if text}


_unmarshal = PropertyValue.unmarshal


def _unmarshal_assets_too(value: Any) -> PropertyValue:
    """The SDK drops an asset's hash, and takes no asset of a state, which has nothing else."""
    fields = value.struct_value.fields
    if rpc._special_sig_key in fields and fields[rpc._special_sig_key].string_value == rpc._special_asset_sig:
        return PropertyValue({key: _unmarshal(item) for key, item in fields.items()})
    return _unmarshal(value)


PropertyValue.unmarshal = staticmethod(_unmarshal_assets_too)  # type: ignore[method-assign]


class ProviderError(Exception):
    """A problem with a resource; the message is for the user who runs `pulumi up`."""


def plain(properties: Mapping[str, PropertyValue] | None) -> Props:
    """The properties without secret markers; an integral number becomes an int."""
    return {key: _plain(value) for key, value in (properties or {}).items()}


def _plain(value: PropertyValue) -> Any:
    inner: Any = value.value
    if inner is None or isinstance(inner, bool | str):
        return inner
    if isinstance(inner, float):
        return int(inner) if inner.is_integer() else inner
    if isinstance(inner, Computed):
        return UNKNOWN
    if isinstance(inner, Mapping) and rpc._special_sig_key in inner:
        return File.of(inner)
    if isinstance(inner, Mapping):
        return {key: _plain(item) for key, item in inner.items()}
    if isinstance(inner, Collection):
        return [_plain(item) for item in inner]
    raise ProviderError(f"the local plugin does not support {type(inner).__name__}; pass the content as text")


def secret_keys(*properties: Mapping[str, PropertyValue] | None) -> set[str]:
    """The properties that are or contain a secret."""
    return {key for some in properties for key, value in (some or {}).items() if value.contains_secret()}


def wrap(values: Mapping[str, Any], secrets: Collection[str] = ()) -> dict[str, PropertyValue]:
    """The inverse of `plain`; None values are left out."""
    return {key: _wrap(value, key in secrets) for key, value in values.items() if value is not None}


def _wrap(value: Any, secret: bool = False) -> PropertyValue:
    if isinstance(value, Mapping):
        return PropertyValue({k: _wrap(v) for k, v in value.items() if v is not None}, secret)
    if isinstance(value, list | tuple):
        return PropertyValue([_wrap(item) for item in value], secret)
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value), secret)
    if isinstance(value, File):
        return PropertyValue(value.asset(), secret)
    return PropertyValue(value, secret)


def token_of(request: Named) -> str:
    """The resource's own type, without the types of its parents."""
    return request.type.rsplit("$", 1)[-1]


def has_unknown(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def changed_paths(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of all differences. List positions are left out: `rules.expiration.days`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from changed_paths(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for before, after in zip(old, new, strict=True):
            yield from changed_paths(before, after, path)
    elif old != new:
        yield path
