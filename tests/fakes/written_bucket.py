"""S3 with a bucket that has a busy writer."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


class WrittenBucket:
    """S3 with one bucket, into which something writes after each of the first `late` times it was emptied."""

    def __init__(self, late: float) -> None:
        self.late, self.objects, self.exists = late, 1, True

    def get_paginator(self, _name: str) -> WrittenBucket:
        return self

    def paginate(self, **_where: str) -> list[dict[str, Any]]:
        return [{"Versions": [{"Key": str(each), "VersionId": "1"} for each in range(self.objects)]}]

    def delete_objects(self, **_what: Any) -> None:
        self.objects, self.late = (1, self.late - 1) if self.late > 0 else (0, 0)

    def delete_bucket(self, **_which: str) -> None:
        if self.objects:
            raise ClientError({"Error": {"Code": "BucketNotEmpty"}}, "DeleteBucket")
        self.exists = False
