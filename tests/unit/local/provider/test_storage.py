"""Deleting buckets."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.provider.services import storage
from local.provider.values import ProviderError


class BusyBucket:
    """S3 with one bucket, into which something writes after each of the first `late` times it was emptied."""

    def __init__(self, late: float) -> None:
        self.late, self.objects, self.exists = late, 1, True

    def get_paginator(self, _name: str) -> BusyBucket:
        return self

    def paginate(self, **_where: str) -> list[dict[str, Any]]:
        return [{"Versions": [{"Key": str(each), "VersionId": "1"} for each in range(self.objects)]}]

    def delete_objects(self, **_what: Any) -> None:
        self.objects, self.late = (1, self.late - 1) if self.late > 0 else (0, 0)

    def delete_bucket(self, **_which: str) -> None:
        if self.objects:
            raise ClientError({"Error": {"Code": "BucketNotEmpty"}}, "DeleteBucket")
        self.exists = False


def test_a_bucket_that_is_written_to_while_it_is_emptied_goes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = BusyBucket(late=3)
    monkeypatch.setattr(storage, "client", lambda _service: s3)
    storage.Bucket().delete("log", {"forceDestroy": True})
    assert not s3.exists


@pytest.mark.parametrize(("forced", "why"), [(True, "keeps writing"), (False, "forceDestroy is false")])
def test_a_bucket_that_cannot_be_emptied_says_why(
    monkeypatch: pytest.MonkeyPatch, forced: bool, why: str
) -> None:
    s3 = BusyBucket(late=float("inf"))
    monkeypatch.setattr(storage, "client", lambda _service: s3)
    with pytest.raises(ProviderError, match=why):
        storage.Bucket().delete("log", {"forceDestroy": forced})
