"""Amazon MWAA's part of IAM: what each call of its API needs, and which of Airflow's roles a caller has."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass, field

from local.aws import callers
from local.aws.ministack import ROOT_KEY
from local.home import ACCOUNT, REGION
from local.mwaa.rules import arn

AIRFLOW_ROLES = ("Admin", "Op", "User", "Viewer", "Public")  # the first that IAM allows is the caller's
READERS = ("Viewer", "Public")  # of the roles that the program's policies name, the one that may only read
NOT_FOR_READERS = ("/variables", "/connections")
REST_CALLS_PER_SECOND = 10
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")


class DeniedError(Exception):
    """Answered as AccessDeniedException."""


class ThrottledError(Exception):
    """Answered as ThrottlingException."""


class Quota:
    """Amazon's limit, a bucket of tokens: as many calls at once as in a second. For several threads."""

    def __init__(self, per_second: float = REST_CALLS_PER_SECOND) -> None:
        self._rate, self._tokens, self._at = per_second, float(per_second), time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Raises ThrottledError."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._tokens + (now - self._at) * self._rate, self._rate)
            self._at = now
            if self._tokens < 1:
                raise ThrottledError("Rate exceeded")
            self._tokens -= 1


@dataclass(frozen=True)
class Door:
    """Judges calls by the policies of whoever signed them. `endpoint`: of the emulated AWS.

    The quota is that of the account, but the deployer's calls do not count: they are those of tests.
    """

    endpoint: str
    quota: Quota = field(default_factory=Quota)

    @classmethod
    def from_environment(cls) -> Door:
        return cls(os.environ.get("AWS_ENDPOINT_URL", ""))

    def admit(self, authorization: str, action: str, name: str) -> None:
        """Raises DeniedError unless the signer may do this with the environment `name`, or with `*`."""
        resource = "*" if name == "*" else arn(name)
        key = _key(authorization)
        if key != ROOT_KEY:
            self._judge(key, action, [resource])

    def airflow_role(self, authorization: str, action: str, name: str) -> str:
        """The highest of Airflow's roles in which the signer may call. Raises DeniedError, ThrottledError."""
        key = _key(authorization)
        if key == ROOT_KEY:
            return AIRFLOW_ROLES[0]
        self.quota.take()
        roles = [f"arn:aws:airflow:{REGION}:{ACCOUNT}:role/{name}/{role}" for role in AIRFLOW_ROLES]
        return AIRFLOW_ROLES[self._judge(key, action, roles)]

    def _judge(self, key: str, action: str, resources: list[str]) -> int:
        """The place of the first resource that the policies allow. Raises DeniedError."""
        calls = [{"action": action, "resource": resource} for resource in resources]
        denied = callers.judge(self.endpoint, key, calls).denied
        if None not in denied:
            raise DeniedError(denied[0])
        return denied.index(None)


def may_call(role: str, method: str, path: str) -> bool:
    """Whether Airflow lets one of its roles make a call: readers read, except variables and connections."""
    reads = method == "GET" or path.endswith("/list")
    return role not in READERS or (reads and not path.startswith(NOT_FOR_READERS))


def _key(authorization: str) -> str:
    match = _CREDENTIAL.search(authorization)
    if match is None:
        raise DeniedError("Missing Authentication Token")
    return match.group(1)
