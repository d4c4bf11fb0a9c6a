"""The objects that an ownership value points to when it has no room for all of its content."""

from __future__ import annotations

from bluegreen.document import Document, content_hash, object_key

from mwaactl.aws import Clients, aws_errors
from mwaactl.errors import Unusable


class Contents:
    """Objects in the lineage log's bucket, each named by its content's hash and never changed."""

    def __init__(self, clients: Clients, bucket: str) -> None:
        self._clients, self._bucket = clients, bucket
        self._known: dict[str, str] = {}

    def fetch(self, name: str) -> str:
        """The content of one object. Raises Unreachable, or Unusable if it is not what its name states."""
        if name not in self._known:
            where = f"s3://{self._bucket}/{object_key(name)}"
            with aws_errors(f"read {where}, where the ownership stands"):
                answer = self._clients.s3.get_object(Bucket=self._bucket, Key=object_key(name))
                content = answer["Body"].read().decode()
            if content_hash(content) != name:
                raise Unusable(f"{where} does not have the content that its name states")
            self._known[name] = content
        return self._known[name]

    def store(self, document: Document) -> None:
        """Store what the value will point to, before it does. Raises Unreachable."""
        if document.content is None or document.name in self._known:
            return
        with aws_errors("store the ownership's content, so nothing was written"):
            self._clients.s3.put_object(
                Bucket=self._bucket,
                Key=object_key(document.name),
                Body=document.content.encode(),
                ContentType="application/json",
            )
        self._known[document.name] = document.content
