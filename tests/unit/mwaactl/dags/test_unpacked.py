"""Names of an archive lead nowhere but into the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mwaactl.dags.unpacked import write_below


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.py", "a.py"),
        ("lib/deep/a.py", "lib/deep/a.py"),
        ("lib/../a.py", "a.py"),
        ("..a/b..py", "..a/b..py"),
        ("../a.py", None),
        ("lib/../../a.py", None),
        ("../scratch-2/a.py", None),
        ("{outside}/a.py", None),
        ("//a.py", None),
        (".", None),
        ("", None),
        ("there/a.py", None),  # `there` is a file
        ("folder", None),
    ],
)
def test_a_file_is_written_below_the_folder_or_not_at_all(
    tmp_path: Path, name: str, place: str | None
) -> None:
    folder, outside = tmp_path / "scratch", tmp_path / "outside"
    outside.mkdir()
    standing = {"there": b"1", "folder/x": b"2"}
    write_below(folder, standing | {name.format(outside=outside): b"x"})
    expected = standing | ({} if place is None else {place: b"x"})
    assert written(tmp_path) == {f"scratch/{each}": content for each, content in expected.items()}


def test_a_folder_behind_a_link_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_below(tmp_path / "link" / "new", {"a.py": b"x", "../b.py": b"x"})
    assert written(tmp_path / "real") == {"new/a.py": b"x"}
