"""S3 in the emulated AWS: buckets, what configures them, objects."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.home import REGION
from local.provider.services.service import Service, as_provider_error, client, error_code
from local.provider.values import Props, ProviderError

GONE = ("NoSuchBucket", "NoSuchKey", "404", "NotFound")
EMPTYINGS = 20  # AWS's provider has no limit; an endless writer would block the destroy forever


class Bucket:
    def create(self, inputs: Props) -> tuple[str, Props]:
        name = inputs.get("bucket") or _unique(inputs["bucketPrefix"])
        region = inputs.get("region") or REGION
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            client("s3").create_bucket(Bucket=name, **where)
        except ClientError as error:
            raise as_provider_error(f"creating the bucket {name}", error) from error
        self._tag(name, inputs)
        return name, {"bucket": name}

    def read(self, identifier: str, _state: Props) -> Props | None:
        try:
            client("s3").head_bucket(Bucket=identifier)
        except ClientError as error:
            if error_code(error) in GONE:
                return None
            raise as_provider_error(f"reading the bucket {identifier}", error) from error
        return {"bucket": identifier}

    def update(self, identifier: str, _old: Props, new: Props) -> Props:
        self._tag(identifier, new)
        return {}

    def delete(self, identifier: str, state: Props) -> None:
        forced = bool(state.get("forceDestroy"))
        # A writer that is still running, such as the forwarder, may write between the two calls.
        for _ in range(EMPTYINGS if forced else 1):
            try:
                if forced:
                    empty(identifier)
                client("s3").delete_bucket(Bucket=identifier)
                return
            except ClientError as error:
                if error_code(error) in GONE:
                    return
                if error_code(error) != "BucketNotEmpty":
                    raise as_provider_error(f"deleting the bucket {identifier}", error) from error
                refused = error
        protected = "the program protects them (forceDestroy is false); empty it first"
        raise ProviderError(
            f"the bucket {identifier} still has objects or old versions in it, and "
            + ("something keeps writing to it" if forced else protected)
        ) from refused

    @staticmethod
    def _tag(name: str, inputs: Props) -> None:
        tags = inputs.get("tags") or {}
        if tags:
            pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
            client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": pairs})


def _unique(prefix: str) -> str:
    """A name as the provider makes it: 26 digits after the prefix."""
    return prefix + "".join(secrets.choice(string.digits) for _ in range(26))


def empty(bucket: str, only_key: str | None = None) -> None:
    """Delete every object version and delete marker, of one key or of all."""
    s3 = client("s3")
    prefix = {} if only_key is None else {"Prefix": only_key}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, **prefix):
        versions = [
            {"Key": item["Key"], "VersionId": item["VersionId"]}
            for item in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if only_key is None or item["Key"] == only_key
        ]
        if versions:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})


@dataclass(frozen=True)
class Setting:
    """A setting of a bucket: one put, one get, one delete. `request` turns inputs into the put's arguments.

    `answer` returns the inputs that can be read from the get's answer, so that their drift is detected.
    """

    put: str
    get: str
    remove: str | None
    request: Callable[[Props], Mapping[str, Any]]
    answer: Callable[[Mapping[str, Any]], Props] = lambda _: {}

    def create(self, inputs: Props) -> tuple[str, Props]:
        self._put(inputs)
        return inputs["bucket"], {}

    def read(self, identifier: str, state: Props) -> Props | None:
        try:
            response = getattr(client("s3"), self.get)(Bucket=identifier)
        except ClientError as error:
            # NoSuchBucket, NoSuchBucketPolicy, NoSuchLifecycleConfiguration, ...
            if error_code(error) in GONE or "NoSuch" in error_code(error) or "NotFound" in error_code(error):
                return None
            raise as_provider_error(f"{self.get} of {identifier}", error) from error
        answer = self.answer(response)
        if "policy" in answer and json.loads(answer["policy"]) == json.loads(state["policy"]):
            return {}  # the same document in another spelling
        return answer

    def update(self, _identifier: str, _old: Props, new: Props) -> Props:
        self._put(new)
        return {}

    def delete(self, identifier: str, _state: Props) -> None:
        if self.remove is None:
            return  # versioning cannot be removed; it is deleted with the bucket
        with contextlib.suppress(ClientError):  # already deleted, with the bucket or alone
            getattr(client("s3"), self.remove)(Bucket=identifier)

    def _put(self, inputs: Props) -> None:
        try:
            getattr(client("s3"), self.put)(Bucket=inputs["bucket"], **self.request(inputs))
        except ClientError as error:
            raise as_provider_error(f"{self.put} of {inputs['bucket']}", error) from error


class Object:
    """An object whose content is in the program; new content is a new version."""

    def create(self, inputs: Props) -> tuple[str, Props]:
        return f"{inputs['bucket']}/{inputs['key']}", self._put(inputs)

    def read(self, _identifier: str, state: Props) -> Props | None:
        try:
            head = client("s3").head_object(Bucket=state["bucket"], Key=state["key"])
        except ClientError as error:
            if error_code(error) in GONE:
                return None
            raise as_provider_error(f"reading s3://{state['bucket']}/{state['key']}", error) from error
        return {"etag": head["ETag"].strip('"'), "versionId": head.get("VersionId", "null")}

    def update(self, _identifier: str, _old: Props, new: Props) -> Props:
        return self._put(new)

    def delete(self, _identifier: str, state: Props) -> None:
        try:
            empty(state["bucket"], state["key"])
        except ClientError as error:
            if error_code(error) not in GONE:
                raise as_provider_error(f"deleting s3://{state['bucket']}/{state['key']}", error) from error

    @staticmethod
    def _put(inputs: Props) -> Props:
        given = [k for k in ("source", "content", "contentBase64") if inputs.get(k) is not None]
        if len(given) > 1:
            raise ProviderError(f"{inputs['key']}: {', '.join(given)} exclude each other")
        body = str(inputs.get("content") or "").encode()
        if "contentBase64" in given:
            body = base64.b64decode(inputs["contentBase64"], validate=True)
        if "source" in given:
            body = Path(inputs["source"].path).read_bytes()
        options = {
            name: inputs[key]
            for key, name in {
                "contentType": "ContentType",
                "contentEncoding": "ContentEncoding",
                "cacheControl": "CacheControl",
                "metadata": "Metadata",
            }.items()
            if inputs.get(key)
        }
        try:
            answer = client("s3").put_object(Bucket=inputs["bucket"], Key=inputs["key"], Body=body, **options)
        except ClientError as error:
            raise as_provider_error(f"writing s3://{inputs['bucket']}/{inputs['key']}", error) from error
        return {
            "etag": hashlib.md5(body, usedforsecurity=False).hexdigest(),
            "versionId": answer.get("VersionId", "null"),
            "contentType": inputs.get("contentType") or "application/octet-stream",
        }


def _api(value: Any) -> Any:
    """Pulumi's `noncurrentDays` as the API's `NoncurrentDays`, recursively."""
    if isinstance(value, Mapping):
        return {SPELLED.get(key, key[:1].upper() + key[1:]): _api(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_api(item) for item in value]
    return value


SPELLED = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def _lifecycle(inputs: Props) -> Mapping[str, Any]:
    rules = []
    for given in inputs["rules"]:
        rule = dict(given)
        for plural, singular in (
            ("transitions", "Transitions"),
            ("noncurrentVersionTransitions", "NoncurrentVersionTransitions"),
        ):
            if plural in rule:
                rule[singular] = rule.pop(plural)
        rules.append(_api(rule))
    return {"LifecycleConfiguration": {"Rules": rules}}


SERVICES: dict[str, Service] = {
    "aws:s3/bucket:Bucket": Bucket(),
    "aws:s3/bucketObjectv2:BucketObjectv2": Object(),
    "aws:s3/bucketVersioning:BucketVersioning": Setting(
        "put_bucket_versioning",
        "get_bucket_versioning",
        None,
        lambda inputs: {"VersioningConfiguration": {"Status": inputs["versioningConfiguration"]["status"]}},
        lambda answer: {"versioningConfiguration": {"status": answer.get("Status", "Disabled")}},
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Setting(
        "put_bucket_encryption",
        "get_bucket_encryption",
        "delete_bucket_encryption",
        lambda inputs: {"ServerSideEncryptionConfiguration": {"Rules": _api(inputs["rules"])}},
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Setting(
        "put_public_access_block",
        "get_public_access_block",
        "delete_public_access_block",
        lambda inputs: {"PublicAccessBlockConfiguration": _api({k: bool(inputs.get(k)) for k in BLOCKS})},
        lambda answer: {
            key: answer["PublicAccessBlockConfiguration"].get(key[:1].upper() + key[1:], False)
            for key in BLOCKS
        },
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": Setting(
        "put_bucket_ownership_controls",
        "get_bucket_ownership_controls",
        "delete_bucket_ownership_controls",
        lambda inputs: {"OwnershipControls": {"Rules": [_api(inputs["rule"])]}},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": Setting(
        "put_bucket_policy",
        "get_bucket_policy",
        "delete_bucket_policy",
        lambda inputs: {"Policy": inputs["policy"]},
        lambda answer: {"policy": answer["Policy"]},
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Setting(
        "put_bucket_lifecycle_configuration",
        "get_bucket_lifecycle_configuration",
        "delete_bucket_lifecycle",
        _lifecycle,
    ),
}
