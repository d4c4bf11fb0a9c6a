"""S3 as the local MWAA uses it."""

from __future__ import annotations

import io
from typing import Any


class SourceBucket:
    """The bucket that an Airflow environment reads, as S3 lists and serves it."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def get_paginator(self, _operation: str) -> SourceBucket:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's names
        return [
            {"Contents": [{"Key": key, "ETag": f'"{hash(body)}"'}]}
            for key, body in self.objects.items()
            if key.startswith(Prefix)
        ]

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        return {"Body": io.BytesIO(self.objects[Key])}
