"""S3 in memory, with the answers and refusals of S3 as boto3 gives them."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tests.fakes.aws.errors import client_error

STACK = "mwaa-openlineage-fullha"
LINEAGE_LOG = f"{STACK}-lineage"
BUCKETS = (f"{STACK}-blue-dags", f"{STACK}-green-dags", LINEAGE_LOG)


@dataclass
class FakeBucket:
    """One bucket: contents by key. An object's metadata, ETag and time may be set apart from it.

    `versions`: former contents by key and version, which only a test puts there.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    modified: dict[str, datetime] = field(default_factory=dict)
    versions: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def put(
        self, key: str, content: bytes, metadata: dict[str, str] | None = None, etag: str | None = None
    ) -> None:
        """Store an object; without `etag`, its ETag is the MD5 digest of its content."""
        self.remove(key)
        self.objects[key], self.metadata[key] = content, metadata or {}
        self.modified[key] = datetime.now(UTC)
        if etag is not None:
            self.etags[key] = etag

    def remove(self, key: str) -> None:
        for values in (self.objects, self.metadata, self.etags, self.modified):
            values.pop(key, None)

    def etag(self, key: str) -> str:
        digest = hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()
        return f'"{self.etags.get(key, digest)}"'

    def version(self, key: str, version: str) -> FakeBucket:
        """A bucket with that version of the object alone; empty if there is none."""
        content = self.versions.get((key, version))
        etags = {key: self.etags[f"{key}?{version}"]} if f"{key}?{version}" in self.etags else {}
        return FakeBucket(objects={} if content is None else {key: content}, etags=etags)

    def keys(self, prefix: str = "", after: str = "") -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix) and key > after)

    def head(self, key: str) -> dict[str, Any]:
        return {
            "ETag": self.etag(key),
            "ContentLength": len(self.objects[key]),
            "LastModified": self._last_modified(key),
            "Metadata": dict(self.metadata.get(key, {})),
        }

    def entry(self, key: str) -> dict[str, Any]:
        """The object in a listing."""
        return {
            "Key": key,
            "Size": len(self.objects[key]),
            "ETag": self.etag(key),
            "LastModified": self._last_modified(key),
        }

    def _last_modified(self, key: str) -> datetime:
        return self.modified.setdefault(key, datetime.now(UTC))


class FakeS3:
    """The part of boto3's client that the project uses. There are only the buckets that it is given.

    `page_size`: how many keys a listing returns at most; `kms`: whether ETags are no MD5 digests, as with
    SSE-KMS; `error`: raised by every call.
    """

    def __init__(self, *names: str, page_size: int = 1000, kms: bool = False) -> None:
        self.buckets = {name: FakeBucket() for name in names or BUCKETS}
        self.page_size, self.kms = page_size, kms
        self.error: Exception | None = None
        self.listed: list[str] = []  # the prefixes of all listings
        self.read: list[tuple[str, str]] = []  # bucket and key of each content that was read
        self.written: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    @property
    def lineage(self) -> FakeBucket:
        """The bucket of the lineage log."""
        return self.buckets[LINEAGE_LOG]

    def get_object(
        self,
        *,
        Bucket: str,  # noqa: N803 - boto3's names, here and below
        Key: str,  # noqa: N803
        VersionId: str | None = None,  # noqa: N803
        Range: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        with self.lock:
            bucket = self._bucket(Bucket, "GetObject")
            if VersionId is not None:
                bucket = bucket.version(Key, VersionId)
            if Key not in bucket.objects:
                raise client_error("NoSuchKey" if VersionId is None else "NoSuchVersion", 404, "GetObject")
            content = bucket.objects[Key]
            if Range is not None:
                first, last = map(int, Range.removeprefix("bytes=").split("-"))
                if not first <= last or first >= len(content):
                    raise client_error("InvalidRange", 416, "GetObject")
                content = content[first : last + 1]
            about = {**bucket.head(Key), "ContentLength": len(content)}
            return {"Body": _Body(self.read, (Bucket, Key), content), **about}

    def head_object(self, *, Bucket: str, Key: str, VersionId: str | None = None) -> dict[str, Any]:  # noqa: N803
        with self.lock:
            bucket = self._bucket(Bucket, "HeadObject")
            if VersionId is not None:
                bucket = bucket.version(Key, VersionId)
            if Key not in bucket.objects:
                raise client_error("404", 404, "HeadObject")
            return bucket.head(Key)

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str = "",  # noqa: N803
        ContentEncoding: str = "",  # noqa: N803
        Metadata: dict[str, str] | None = None,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        with self.lock:
            bucket = self._bucket(Bucket, "PutObject")
            exists = Key in bucket.objects
            if IfNoneMatch == "*" and exists:
                raise client_error("PreconditionFailed", 412, "PutObject")
            if IfMatch is not None and not exists:
                raise client_error("NoSuchKey", 404, "PutObject")
            if IfMatch is not None and IfMatch != bucket.etag(Key):
                raise client_error("PreconditionFailed", 412, "PutObject")
            self._write(Bucket, Key, Body, Metadata)
            return {"ETag": bucket.etag(Key)}

    def copy_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        CopySource: dict[str, str],  # noqa: N803
        MetadataDirective: str,  # noqa: N803
        Metadata: dict[str, str] | None = None,  # noqa: N803
        ContentType: str = "",  # noqa: N803
    ) -> None:
        with self.lock:
            source = self._bucket(CopySource["Bucket"], "CopyObject")
            self._bucket(Bucket, "CopyObject")
            replaces = MetadataDirective == "REPLACE"
            assert replaces or (MetadataDirective == "COPY" and Metadata is None), "S3 ignores the metadata"
            if CopySource["Key"] not in source.objects:
                raise client_error("NoSuchKey", 404, "CopyObject")
            metadata = Metadata if replaces else source.metadata.get(CopySource["Key"])
            self._write(Bucket, Key, source.objects[CopySource["Key"]], metadata)

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        with self.lock:
            self._bucket(Bucket, "DeleteObject").remove(Key)

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        with self.lock:
            bucket = self._bucket(Bucket, "DeleteObjects")
            assert 1 <= len(Delete["Objects"]) <= 1000, "S3 takes no more in one call, and not none"
            for item in Delete["Objects"]:
                assert item["Key"] in bucket.objects, "stricter than S3, which deletes what is not there"
                bucket.remove(item["Key"])
            return {}

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        StartAfter: str = "",  # noqa: N803
        MaxKeys: int = 1000,  # noqa: N803
    ) -> dict[str, Any]:
        with self.lock:
            bucket = self._bucket(Bucket, "ListObjectsV2")
            self.listed.append(Prefix)
            keys = bucket.keys(Prefix, StartAfter)
            size = min(self.page_size, MaxKeys)
            contents = [bucket.entry(key) for key in keys[:size]]
            return {"IsTruncated": len(keys) > size, **({"Contents": contents} if contents else {})}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"

        def paginate(*, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
            after, truncated = "", True
            while truncated:
                page = self.list_objects_v2(Bucket=Bucket, Prefix=Prefix, StartAfter=after)
                yield page
                truncated = page["IsTruncated"]
                after = page["Contents"][-1]["Key"] if truncated else after

        return SimpleNamespace(paginate=paginate)

    def _bucket(self, name: str, operation: str) -> FakeBucket:
        if self.error is not None:
            raise self.error
        if name not in self.buckets:
            raise client_error("NoSuchBucket", 404, operation)
        return self.buckets[name]

    def _write(self, bucket: str, key: str, content: bytes, metadata: dict[str, str] | None) -> None:
        self.written.append((bucket, key))
        etag = f"kms-{len(self.written)}" if self.kms else None
        self.buckets[bucket].put(key, content, metadata, etag)


class _Body(io.BytesIO):
    """An object's content; records that it is read."""

    def __init__(self, read: list[tuple[str, str]], place: tuple[str, str], content: bytes) -> None:
        super().__init__(content)
        self._read, self._place = read, place

    def read(self, size: int | None = -1, /) -> bytes:
        self._read.append(self._place)
        return super().read(size)
