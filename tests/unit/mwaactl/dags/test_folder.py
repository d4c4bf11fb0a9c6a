"""What of a folder is uploaded, and what stops a push."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mwaactl.dags.folder import read_folder
from mwaactl.errors import CheckFailed, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "daily.py").write_text("x = 1\n")
    return dags


def problem(folder: Path) -> str:
    with pytest.raises(CheckFailed) as error:
        read_folder(folder)
    return str(error.value)


def test_what_a_link_leads_to_is_uploaded_under_its_name(folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "inner").mkdir(parents=True)
    (shared / "inner" / "tools.py").write_text("y = 2\n")
    (folder / "lib").symlink_to(shared)
    (folder / "again").symlink_to(folder / "lib" / "inner")
    (folder / "same.py").symlink_to("daily.py")
    read = read_folder(folder)
    assert list(read.files) == ["again/tools.py", "daily.py", "lib/inner/tools.py", "same.py"]
    assert read.files["same.py"] == read.files["daily.py"]
    assert read.links_out == {"again": str(shared / "inner"), "lib": str(shared)}


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "again.py").symlink_to(folder / "daily.py")
    (tmp_path / "link").symlink_to(folder)
    read = read_folder(tmp_path / "link")
    assert list(read.files) == ["again.py", "daily.py"]
    assert read.links_out == {}


def test_a_link_to_a_folder_around_it_is_refused_as_airflow_does(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "up").symlink_to(folder)
    (folder / "lib" / "here").symlink_to(".")
    assert problem(folder).count("which Airflow refuses as a recursive loop: remove the link") == 2
    assert f"{folder}/lib/up: " in problem(folder)


@pytest.mark.parametrize("target", ["nowhere.py", "self.py"])
def test_a_link_that_leads_nowhere_is_named(folder: Path, target: str) -> None:
    (folder / "self.py").symlink_to(target)
    assert f"{folder}/self.py: a link that leads to nothing readable" in problem(folder)


def test_what_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lib").mkdir()

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert f"{folder}/daily.py: Permission denied: make it readable" in problem(folder)
    monkeypatch.undo()
    listing = Path.iterdir

    def refuse_lib(path: Path) -> object:
        return refuse(path) if path.name == "lib" else listing(path)

    monkeypatch.setattr(Path, "iterdir", refuse_lib)
    assert f"{folder}/lib: Permission denied: make it readable" in problem(folder)


def test_what_is_no_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert f"{folder}/pipe: neither a file nor a folder" in problem(folder)


def test_names_that_s3_does_not_take_are_named(folder: Path) -> None:
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.py")).write_text("")
    assert "caf\\udce9.py: the name is not valid UTF-8" in problem(folder)


def test_a_path_that_no_record_can_have_is_named(folder: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    (odd / "tools.py").write_text("")
    (folder / "lib").symlink_to(odd)
    assert read_folder(folder).links_out == {"lib": f"{tmp_path}/caf\\udce9"}
    with pytest.raises(UsageError, match=r"caf\\udce9 is not valid UTF-8, and a push records it: rename"):
        read_folder(odd)


def test_folders_may_be_nested_too_deeply(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for _ in range(600):
        Path("d").mkdir()
        os.chdir("d")
    Path("deep.py").write_text("")
    try:
        assert "the name has 901 bytes, and S3 takes about 900: shorten it" in problem(folder)
    finally:  # pytest removes its folders by recursion
        Path("deep.py").unlink()
        for _ in range(600):
            os.chdir("..")
            Path("d").rmdir()


def test_many_problems_are_counted(folder: Path) -> None:
    for number in range(30):
        (folder / f"{number}.py").symlink_to("nowhere")
    assert problem(folder).endswith("; and 10 more")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        read_folder(tmp_path / "nowhere")
