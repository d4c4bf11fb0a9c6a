"""Deleting buckets."""

from __future__ import annotations

import pytest

from local.provider.services import storage
from local.provider.values import ProviderError
from tests.fakes.written_bucket import WrittenBucket


def test_a_bucket_that_is_written_to_while_it_is_emptied_goes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = WrittenBucket(late=3)
    monkeypatch.setattr(storage, "client", lambda _service: s3)
    storage.Bucket().delete("log", {"forceDestroy": True})
    assert not s3.exists


@pytest.mark.parametrize(("forced", "why"), [(True, "keeps writing"), (False, "forceDestroy is false")])
def test_a_bucket_that_cannot_be_emptied_says_why(
    monkeypatch: pytest.MonkeyPatch, forced: bool, why: str
) -> None:
    s3 = WrittenBucket(late=float("inf"))
    monkeypatch.setattr(storage, "client", lambda _service: s3)
    with pytest.raises(ProviderError, match=why):
        storage.Bucket().delete("log", {"forceDestroy": forced})
