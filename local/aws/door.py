"""The emulated AWS behind IAM: MiniStack judges each call by the policies of its caller.

A script for MiniStack's own Python (`python -P local/aws/door.py`); nothing here imports it. MiniStack
evaluates policies, of callers and of resources (AUTH=true). Its root keys, the deployer's, may do everything.
Added here:

- which statement allowed which kind of call, and what was denied: one JSON line each in the file DOOR_RECORD
- what MiniStack does not judge: the use of a KMS key by S3 and Secrets Manager, `cloudwatch:namespace`, and
  that S3 hides from a caller without `s3:ListBucket` whether an object is missing
- the prefix and the pages of FilterLogEvents
- limits of Parameter Store that MiniStack does not keep
- `POST /local/judge`: a decision for the local MWAA, which serves its API elsewhere
"""

from __future__ import annotations

import importlib
import json
import os
import threading
import time
from collections import deque
from contextvars import ContextVar
from pathlib import Path
from typing import Any

LOG_PAGE = 1000  # events; Amazon's is at most 10,000, often far fewer
ROOT_KEY = "test"  # as in local/aws/ministack.py
READS_PER_SECOND = 40  # of GetParameter: the default quota of an account and region
STANDARD = 4096  # characters of a Standard parameter
# What the encryption of a bucket or a secret asks of a caller beside the call itself.
KEY_USES = {
    "s3:GetObject": "kms:Decrypt",
    "s3:GetObjectVersion": "kms:Decrypt",
    "s3:PutObject": "kms:GenerateDataKey",
    "secretsmanager:GetSecretValue": "kms:Decrypt",
}
JUDGE = "/local/judge"

ministack: Any = importlib.import_module("ministack.app")
evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")
actions: Any = importlib.import_module("ministack.core.iam_actions")
router: Any = importlib.import_module("ministack.core.router")
logs: Any = importlib.import_module("ministack.services.cloudwatch_logs")
s3: Any = importlib.import_module("ministack.services.s3")
secrets: Any = importlib.import_module("ministack.services.secretsmanager")

# As MiniStack has them, before `main` puts others in their places.
_evaluate, _enforce, _context = evaluator.evaluate, evaluator.enforce, actions.request_tag_context
_application = ministack.app
_s3, _ssm, _logs = (ministack.SERVICE_HANDLERS[service] for service in ("s3", "ssm", "logs"))
# (context, result) of each evaluation of the present request, and the Sids of statements to leave out.
_evaluations: ContextVar[list[tuple[Any, Any]]] = ContextVar("evaluations", default=[])  # noqa: B039
_without: ContextVar[str] = ContextVar("without", default="")
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)  # a denial is no news: it was only asked


class Record:
    """Each combination of caller, statement and action once, with an example, in a file of JSON lines."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._known: set[tuple[str, str, str, str]] = set()
        self._lock = threading.Lock()
        if self._path is not None and self._path.exists():
            for line in self._path.read_text().splitlines():
                self._known.add(_kind(json.loads(line)))

    def note(self, entry: dict[str, Any]) -> None:
        with self._lock:
            if self._path is None or _kind(entry) in self._known:
                return
            self._known.add(_kind(entry))
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")


def _kind(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    """Of what was denied, the place too: a statement names the places that are allowed."""
    place = "" if entry["allowed"] else "/".join(entry["resource"].split("/")[:2])
    return entry["caller"], entry["sid"], entry["action"], place


record = Record(os.environ.get("DOOR_RECORD"))


def evaluate(context: Any, policies: list[list[Any]], *limits: Any) -> Any:
    left_out = _without.get()
    if left_out:
        policies = [[each for each in statements if each.sid != left_out] for statements in policies]
    result = _evaluate(context, policies, *limits)
    _evaluations.get().append((context, result))
    return result


def enforce(
    access_key: str,
    action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:
    """None if the call is allowed, else why not, as MiniStack's own function; with the key's use."""
    denied = _judged(access_key, action, service, region, resource_arn, service_context)
    key = None if denied or action not in KEY_USES else _key_of(service, resource_arn)
    if key is None:
        return denied
    dns = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    via = {"kms:viaservice": f"{service}.{region}.{dns}"}
    return _judged(access_key, KEY_USES[action], "kms", region, key, via)


def _judged(
    access_key: str, action: str, service: str, region: str, resource: str, context: dict[str, Any] | None
) -> Any:
    # This endpoint stands for Amazon's, which `mwaactl` and Airflow reach by TLS only.
    evaluator.pin_request_origin("127.0.0.1", True)
    evaluations: list[tuple[Any, Any]] = []
    token = _evaluations.set(evaluations)
    try:
        denied = _enforce(access_key, action, service, region, resource, context)
    finally:
        _evaluations.reset(token)
    if evaluations and not (_quiet.get() and denied):  # none of the root keys
        known, own = evaluations[0]  # the caller's own policies come before those of the resource
        record.note(
            {
                "caller": caller(known.principal_arn),
                "sid": own.matched_sid if own.decision == "Allow" and not denied else "",
                "allowed": not denied,
                "action": action,
                "resource": resource,
                "context": {key: value for key, value in (context or {}).items() if value},
            }
        )
    return denied


def caller(arn: str) -> str:
    """The role's or user's name."""
    return arn.split("/")[1] if "/" in arn else arn


def _key_of(service: str, resource: str) -> str | None:
    """The ARN of the customer's key that encrypts a bucket or a secret."""
    if service == "s3":
        bucket = resource.split(":::", 1)[-1].split("/")[0]
        sse = s3._bucket_default_sse_headers(bucket)
        return str(sse.get("x-amz-server-side-encryption-aws-kms-key-id") or "") or None
    if service == "secretsmanager":
        _, secret = secrets._resolve(resource)
        return str((secret or {}).get("KmsKeyId") or "") or None
    return None


def request_context(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
    """MiniStack's condition keys of a request, and the one of CloudWatch that the program uses."""
    context: dict[str, Any] = _context(service, action, body, params)
    if action == "cloudwatch:PutMetricData":
        context["cloudwatch:namespace"] = _namespace(body, params)
    return context


def _namespace(body: bytes, params: dict[str, Any]) -> str:
    """Of metrics, in each protocol that botocore speaks with CloudWatch: query, JSON, CBOR."""
    named = params.get("Namespace")
    if named:
        return str(named[0] if isinstance(named, list) else named)
    if body[:1] == b"{":
        return str(json.loads(body).get("Namespace", ""))
    # A text of CBOR is its length (in the first byte, or in the second after 0x78) and its bytes.
    after = body.partition(b"\x69Namespace")[2]
    size, start = (after[1], 2) if after[:1] == b"\x78" else ((after[:1] or b"\x60")[0] - 0x60, 1)
    return after[start : start + size].decode(errors="replace")


# Answers


async def answer_s3(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
    """As S3: without s3:ListBucket nobody learns that an object is missing."""
    answer = await _s3(method, path, headers, body, query)
    status, _, content = answer
    missing = status == 404 and (method == "HEAD" or (method == "GET" and b"NoSuchKey" in content))
    bucket, _, key = path.lstrip("/").partition("/")
    if not missing or not key or bucket not in s3._buckets:
        return answer
    arn, access_key = f"arn:aws:s3:::{bucket}", router.extract_access_key_id(headers, query)
    denied = evaluator.enforce(access_key, "s3:ListBucket", "s3", _region(headers), resource_arn=arn)
    if not denied:
        return answer
    refused = actions.access_denied_response(
        "s3", "s3:ListBucket", denied.principal_arn, "", headers=headers, resource_arn=arn
    )
    return (*refused[:2], b"") if method == "HEAD" else refused


_reads: deque[float] = deque(maxlen=READS_PER_SECOND)


async def answer_ssm(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
    """As Parameter Store: no more than its quota of reads, no more characters than a parameter holds."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    # The tests look on with the root keys all the time, which no real account has to serve.
    if operation == "GetParameter" and router.extract_access_key_id(headers, query) != ROOT_KEY:
        now = time.monotonic()
        if len(_reads) == READS_PER_SECOND and now - _reads[0] < 1:
            return _ssm_error("ThrottlingException", "Rate exceeded")
        _reads.append(now)
    elif operation == "PutParameter":
        asked = json.loads(body)
        standard = (asked.get("Tier") or "Standard") == "Standard"
        if standard and len(asked.get("Value", "")) > STANDARD:
            return _ssm_error(
                "ValidationException",
                f"Standard tier parameters support a maximum parameter value of {STANDARD} characters.",
            )
    return await _ssm(method, path, headers, body, query)


def _ssm_error(code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"__type": code, "message": message}).encode()
    return 400, {"Content-Type": "application/x-amz-json-1.1"}, body


async def answer_logs(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
    """As CloudWatch Logs: FilterLogEvents looks at the streams of a prefix only, and answers page by page.

    A page's token is the time of its last event and how many of that time have been on a page.
    """
    if not headers.get("x-amz-target", "").endswith(".FilterLogEvents"):
        return await _logs(method, path, headers, body, query)
    asked = json.loads(body)
    prefix, token = asked.pop("logStreamNamePrefix", None), asked.pop("nextToken", None)
    group = logs._log_groups.get(asked["logGroupName"])
    if prefix is not None and group is not None:
        names = [name for name in group["streams"] if name.startswith(prefix)]
        asked["logStreamNames"] = names or [prefix]  # an empty list would mean all streams
    shown = 0
    if token:
        asked["startTime"], shown = map(int, token.split(":"))
    answer = await _logs(method, path, headers, json.dumps({**asked, "limit": 10000}).encode(), query)
    if answer[0] != 200:
        return answer
    content = json.loads(answer[2])
    rest = content["events"][shown:]
    page = rest[: min(asked.get("limit", LOG_PAGE), LOG_PAGE)]
    if len(rest) > len(page):
        last = page[-1]["timestamp"]
        before = shown if last == asked.get("startTime") else 0
        content["nextToken"] = f"{last}:{before + sum(each['timestamp'] == last for each in page)}"
    return *answer[:2], json.dumps({**content, "events": page}).encode()


def _region(headers: Any) -> str:
    return str(router.extract_region(headers))


async def application(scope: Any, receive: Any, send: Any) -> None:
    """MiniStack's application, and the judge."""
    if scope["type"] != "http" or scope["path"] != JUDGE:
        await _application(scope, receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    content = json.dumps(judge(json.loads(body))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def judge(asked: dict[str, Any]) -> dict[str, Any]:
    """`{"access_key", "calls": [{"action", "resource", "context"?}], "without"?}`: who calls, and why each
    call would be denied (null: it is allowed), `without` all statements of that Sid."""
    key, calls = asked["access_key"], asked["calls"]
    # Set for the present request only: each has a context of its own.
    _without.set(asked.get("without", ""))
    _quiet.set(bool(asked.get("without")) or len(calls) > 1)
    verdicts = [_verdict(key, call) for call in calls]
    principal = evaluator.resolve_principal(key, ministack_account())
    return {"caller": getattr(principal, "arn", ""), "denied": verdicts}


def _verdict(access_key: str, call: dict[str, Any]) -> str | None:
    action, resource = call["action"], call["resource"]
    service = action.partition(":")[0]
    denied = _judged(
        access_key, action, service, os.environ["MINISTACK_REGION"], resource, call.get("context")
    )
    if denied is None:
        return None
    if isinstance(denied, evaluator.AuthError):
        return str(denied.message)
    explicit = denied.decision == "Deny"
    return str(actions.identity_denial_message(action, denied.principal_arn, resource, explicit))


def ministack_account() -> str:
    return os.environ["MINISTACK_ACCOUNT_ID"]


def main() -> None:
    evaluator.evaluate, evaluator.enforce = evaluate, enforce
    actions.request_tag_context = request_context
    ministack.SERVICE_HANDLERS |= {"s3": answer_s3, "ssm": answer_ssm, "logs": answer_logs}
    ministack.app = application
    ministack.main()


if __name__ == "__main__":
    main()
