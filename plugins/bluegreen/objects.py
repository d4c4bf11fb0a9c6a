"""What does not fit into the ownership parameter: immutable objects in S3, named by their content's hash.

The parameter's value names an object; it is written before the value and never changes. So what a host has
once read and verified, it keeps.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from bluegreen import aws
from bluegreen.document import content_hash, object_key
from bluegreen.host import host_folder, write

KEPT = 20  # contents in a host's folder
SHA256 = re.compile(r"[0-9a-f]{64}")


class Objects:
    """Contents by their SHA-256 hash: of this process, of this host, of the bucket.

    Only `fetch` asks S3.
    """

    def __init__(self, bucket: str, directory: Path | None = None, timeout: float = 3.0) -> None:
        self.bucket = bucket
        self.timeout = timeout
        self._folder = host_folder(directory)
        self._own: tuple[str, str] = ("", "")  # a timeline refers to one object: hash and content

    def kept(self, sha256: str) -> str:
        """The content, if this host has it. Raises AwsError."""
        content = self._of_this_host(sha256)
        if content is None:
            raise aws.AwsError(f"the ownership object {sha256} is not on this host")
        return content

    def fetch(self, sha256: str) -> str:
        """The content, read once in a host's life. Raises AwsError if S3 does not give it."""
        content = self._of_this_host(sha256)
        if content is None:
            content = self._read(sha256)
            self._own = (sha256, content)
            self._keep(sha256, content)
        return content

    def _of_this_host(self, sha256: str) -> str | None:
        if not SHA256.fullmatch(sha256):
            raise aws.AwsError(f"the ownership object {sha256!r:.80} is not named by a SHA-256 hash")
        if self._own[0] == sha256:
            return self._own[1]
        if self._folder is None:
            return None
        file = self._file(self._folder, sha256)
        with suppress(OSError, ValueError):
            content = file.read_bytes().decode()
            if content_hash(content) == sha256:
                self._own = (sha256, content)
                os.utime(file)  # in use: not to be removed
                return content
        return None

    def _read(self, sha256: str) -> str:
        where = f"s3://{self.bucket}/{object_key(sha256)}"
        try:
            content = aws.request(
                *("s3", "GET", "/" + object_key(sha256)),
                bucket=self.bucket,
                body=b"",
                headers={},
                timeout=self.timeout,
            )
        except aws.AwsError as error:
            raise aws.AwsError(f"{where}: {error}") from error
        try:
            text = content.decode()
        except ValueError as error:
            raise aws.AwsError(f"{where}: the content is no text") from error
        if content_hash(text) != sha256:
            raise aws.AwsError(f"{where} does not have the content that its name states")
        return text

    def _keep(self, sha256: str, content: str) -> None:
        if self._folder is None:
            return
        with suppress(OSError):  # in that case, the other processes read for themselves
            write(self._file(self._folder, sha256), content.encode())
            files = {file: file.stat().st_mtime for file in self._folder.glob("ownership-*")}
            for file in sorted(files, key=files.__getitem__)[:-KEPT]:
                file.unlink(missing_ok=True)

    @staticmethod
    def _file(folder: Path, sha256: str) -> Path:
        return folder / f"ownership-{sha256}.json"
