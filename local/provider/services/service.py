"""What the services of the local cloud share: their protocol, boto3's clients, readable errors.

Everything here blocks: callers use threads.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar, runtime_checkable

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.ministack import ROOT_KEY
from local.home import REGION
from local.provider.values import Props, ProviderError

T = TypeVar("T")
_lock = threading.Lock()


class Service(Protocol):
    """One resource type in a service of the local cloud. The outputs it returns win over the table's."""

    def create(self, inputs: Props) -> tuple[str, Props]:
        """(id, computed outputs)."""

    def read(self, identifier: str, state: Props) -> Props | None:
        """The current values of what is in `state`; None if the resource no longer exists."""

    def update(self, identifier: str, old: Props, new: Props) -> Props:
        """Update it from the old inputs to the new ones; return the computed outputs."""

    def delete(self, identifier: str, state: Props) -> None:
        """Delete it, unless it no longer exists."""


@runtime_checkable
class Importable(Protocol):
    """A resource type that can be imported. `secret`: its properties that no state shows."""

    secret: Collection[str]

    def find(self, identifier: str) -> tuple[Props, Props] | None:
        """(inputs, state) of what exists under this id; None if nothing does."""


@functools.cache
def _cached_client(service: str) -> Any:
    import boto3  # a quarter of a second that a preview does not need
    from botocore.config import Config

    config = Config(
        retries={"max_attempts": 2}, connect_timeout=5, read_timeout=60, s3={"addressing_style": "path"}
    )
    # As the deployer, also in an operator's shell.
    return boto3.client(  # type: ignore[call-overload]
        service,
        region_name=REGION,
        config=config,
        aws_access_key_id=ROOT_KEY,
        aws_secret_access_key=ROOT_KEY,
    )


def client(service: str) -> Any:
    """The boto3 client, one per service; environment variables point it at the local cloud (`local.aws`)."""
    variable = "AWS_ENDPOINT_URL_MWAA" if service == "mwaa" else "AWS_ENDPOINT_URL"
    if not os.environ.get(variable):
        raise ProviderError(
            f"{variable} is not set, and the local cloud must never touch a real account; "
            'start it with `make local`, then run: eval "$(make -s local-env)"'
        )
    with _lock:
        return _cached_client(service)


def call(what: str, operation: Callable[..., T], *arguments: Any) -> T:
    """Call `operation(*arguments)`; an error of botocore becomes a ProviderError about `what`."""
    try:
        return operation(*arguments)
    except (BotoCoreError, ClientError) as error:
        raise as_provider_error(what, error) from error


def error_code(error: Exception) -> str:
    """The code of botocore's ClientError, else an empty string."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def as_provider_error(what: str, error: Exception) -> ProviderError:
    return ProviderError(f"{what}: {error}")
