"""Variables and connections from files, put where both sides look for them: the stack's secrets backend."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from botocore.exceptions import BotoCoreError, ClientError

from local.aws import callers
from local.home import Home, typed
from local.processes import LocalError

MOST_BYTES = 65536  # of a value; this and the names are Secrets Manager's limits, which the emulator lacks
NAME = re.compile(r"[A-Za-z0-9/_+=.@-]+")


def contents(variable: str, given: str) -> dict[str, str]:
    """The secrets of a file as `airflow variables|connections export` writes it (JSON or YAML), by name.

    `variable`: the one of make, for messages. Raises LocalError.
    """
    if not given:
        return {}
    path = typed(given)
    try:
        read = yaml.safe_load(path.read_text())  # JSON is YAML
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise LocalError(f"{variable}={given}: {path} cannot be read: {error}") from error
    if not isinstance(read, dict):
        raise LocalError(f"{variable}={given}: {path} must be an object: names with their values")
    result = {}
    for name, value in read.items():
        try:
            if not isinstance(name, str):
                raise TypeError(f"YAML takes this name for {type(name).__name__}")
            result[name] = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise LocalError(
                f"{variable}={given}: {name!r} in {path} is not text, nor anything that JSON has ({error}): "
                "put it in quotes"
            ) from error
        if problem := _problem(name, result[name]):
            raise LocalError(f"{variable}={given}: {name!r} in {path} {problem}")
    return result


def _problem(name: str, value: str) -> str | None:
    """Why Secrets Manager would refuse this secret."""
    if not NAME.fullmatch(name):
        allowed = "letters, digits and /_+=.@- (Secrets Manager's rule)"
        return f"must have another name, which consists of {allowed}"
    if not value:
        return "is empty, which Secrets Manager refuses: give it a value, or leave it out"
    if (size := len(value.encode(errors="surrogatepass"))) > MOST_BYTES:
        return f"has {size:,} bytes, but Secrets Manager takes {MOST_BYTES:,}: shorten it, or leave it out"
    return None


def store(home: Home, outputs: Mapping[str, Any], given: Mapping[str, Mapping[str, str]]) -> int:
    """Create or change these secrets, by `variables` and `connections`; return how many there are.

    Raises LocalError.
    """
    client = callers.deployer(home, "secretsmanager")
    count = 0
    for kind, secrets in given.items():
        for name, value in secrets.items():
            count += 1
            full = f"{outputs[f'{kind}_prefix']}/{name}"
            try:
                try:
                    client.put_secret_value(SecretId=full, SecretString=value)
                except client.exceptions.ResourceNotFoundException:
                    client.create_secret(Name=full, SecretString=value)
            except (ClientError, BotoCoreError) as error:
                raise LocalError(
                    f"{kind.upper()}: the secret of {name!r} cannot be written as {full}: {error}. "
                    "Correct it, or leave it out, and repeat `make local`"
                ) from error
    return count
