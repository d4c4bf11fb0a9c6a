"""Writing files under names that others have chosen, such as those of an archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_below(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder and write the files into it, by their names, and nowhere else.

    Left out, as where an archive is unpacked: what a name puts outside (an absolute one, `..`), and what has
    the name of a file where another has that of a folder.
    """
    folder.mkdir()
    root = folder.resolve()
    for name, content in files.items():
        path = (root / name).resolve()
        if path == root or not path.is_relative_to(root):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue
