"""Requirements as wheels: a folder is taken only if pip will find in it all that is asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from components.airflow.plugins import plugins_files, requirements_txt
from components.config import wheels as rules
from components.config.airflow_versions import AIRFLOW_VERSIONS, python_of
from components.config.rules import masked as masked_by_the_program
from components.python_archive import built
from mwaactl.dag_check import wheels as writer
from mwaactl.dags.masked import masked
from mwaactl.dags.syntax import python_of as python_of_mwaactl
from tests.fakes.wheels import OURS, write_wheels
from tests.unit.components.config.test_settings import complaint, parse

PANDAS = "pandas-2.3.3-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_wheels(tmp_path / "wheels", lines=["pandas"], more=[PANDAS])
    return tmp_path / "wheels"


def test_the_program_and_the_command_agree_on_what_is_written() -> None:
    assert (rules.OPTIONS, rules.LARGEST) == (writer.OPTIONS, writer.LARGEST)
    assert [python_of(each) for each in AIRFLOW_VERSIONS] == [python_of_mwaactl(v) for v in AIRFLOW_VERSIONS]


def test_no_password_is_written_down_or_asked_for(tmp_path: Path) -> None:
    lines = ["--extra-index-url https://ci:s3cr3t@pypi.example.com/simple", "pandas"]
    folder = Path(write_wheels(tmp_path / "wheels", lines=lines, more=[PANDAS]))
    assert "s3cr3t" not in (folder / "requirements.txt").read_text()
    parse({"wheels_folder": str(folder), "requirements": lines})
    other = "--index-url https://ci:s3cr3t@pypi.example.com/other"
    text = complaint(wheels_folder=str(folder), requirements=[*lines, other])
    assert "without the requirement '--index-url https://****@pypi.example.com/other'" in text


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("-i https://ci:s3cr3t@host/simple", "-i https://****@host/simple"),
        ("-i https://ci:s3/cr3t@host/simple", "-i https://****@host/simple"),
        ("pkg @ git+https://host/pkg@v1", "pkg @ git+https://host/pkg@v1"),
        ("pkg @ git+https://host:8443/pkg@v1", "pkg @ git+https://host:8443/pkg@v1"),
        ("['https://host/simple', 'pkg@1']", "['https://host/simple', 'pkg@1']"),
    ],
)
def test_only_who_logs_in_and_how_is_masked(line: str, shown: str) -> None:
    assert (masked(line), masked_by_the_program(line)) == (shown, shown)


def test_the_environment_installs_its_pins_from_plugins_zip_alone(folder: Path) -> None:
    own = parse({"wheels_folder": str(folder), "requirements": ["pandas"]}).environment("blue")
    assert requirements_txt(own).splitlines() == [
        "--find-links /usr/local/airflow/plugins",
        "--no-index",
        "--constraint /usr/local/airflow/plugins/constraints.txt",
        "apache-airflow-providers-openlineage==2.20.0",
        "openlineage-integration-common==1.52.0",
        "openlineage-python==1.52.0",
        "openlineage-sql==1.52.0",
        "pandas==2.3.3",
    ]
    (folder / PANDAS).write_bytes(b"as it is")
    archive = zipfile.ZipFile(built("plugins", plugins_files(own)))
    assert {*OURS, PANDAS, "constraints.txt", "bluegreen/gate.py"} <= set(archive.namelist())
    assert archive.read(PANDAS) == b"as it is"
    assert archive.getinfo(PANDAS).compress_type == zipfile.ZIP_STORED
    assert "requirements.txt" not in archive.namelist(), "it has the lines, which may hold passwords"


def test_the_options_that_amazon_documents_are_taken_with_wheels_only(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("\n".join([*rules.OPTIONS, "pandas"]))
    parse({"wheels_folder": str(folder), "requirements_file": str(file)})
    for settings in ({"requirements_file": str(file)}, {"requirements": ["--pre --no-index"]}):
        text = complaint(**settings)
        assert "wheels_folder (not set): must be set with --no-index among the requirements" in text
        assert "mwaactl requirements package -o wheels" in text
    green = {"wheels_folder": ""}
    text = complaint(
        enable_blue_green=True, wheels_folder=str(folder), requirements_file=str(file), green=green
    )
    assert "green.wheels_folder (not set)" in text
    assert "blue.wheels_folder" not in text


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def touch(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).touch()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (remove(PANDAS), "pandas==2.3.3 is not among the wheels"),
        (remove(OURS[2]), "openlineage-python==1.52.0 is not among the wheels"),
        (touch("pandas-2.3.2-py3-none-any.whl"), "pandas==2.3.2 is among the wheels and not in"),
        (touch("openlineage_python-1.52.0-py2-none-any.whl"), "2 wheels of openlineage-python==1.52.0"),
        (touch("nameless.whl"), "nameless.whl is not the name of a wheel"),
        (remove("constraints.txt"), "constraints.txt has other versions"),
        (remove("requirements.txt"), "No such file"),
        (lambda folder: (folder / "requirements.txt").write_text("pandas\n"), "is of something else"),
    ],
)
def test_a_folder_in_which_pip_would_not_find_it_all_is_refused(
    change: Callable[[Path], None], reason: str, folder: Path
) -> None:
    change(folder)
    text = complaint(wheels_folder=str(folder), requirements=["pandas"])
    assert f"mwaactl requirements package -o {folder}" in text
    assert reason in text


def test_a_line_that_was_not_packaged_is_refused_ours_too(folder: Path, tmp_path: Path) -> None:
    text = complaint(wheels_folder=str(folder), requirements=["pandas", "polars>=1"])
    assert "(it is without the requirement 'polars>=1')" in text
    file = folder / "requirements.txt"
    file.write_text(file.read_text().replace("#   openlineage-python\n", ""))
    text = complaint(wheels_folder=str(folder), requirements=["pandas"])
    assert "(it is without the requirement 'openlineage-python')" in text


def test_wheels_of_another_airflow_or_machine_are_refused(tmp_path: Path) -> None:
    of_old = write_wheels(tmp_path / "old", "3.2.1")
    text = complaint(wheels_folder=of_old)
    assert "it is for Airflow 3.2.1, and this environment has 3.3.1" in text
    assert "invalid setting in" in text, "said once"
    parse({"wheels_folder": of_old, "airflow_version": "3.2.1"})
    for name in (
        "numpy-2.0.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "numpy-2.0.0-cp312-cp312-manylinux_2_35_x86_64.whl",
        "numpy-2.0.0-cp312-cp312-manylinux_2_17_aarch64.whl",
        "numpy-2.0.0-cp312-cp312-macosx_14_0_arm64.whl",
    ):
        folder = write_wheels(tmp_path / name, more=[name])
        assert f"{name} is not for Python 3.12 on Linux x86_64" in complaint(wheels_folder=folder)


def test_each_side_has_the_wheels_of_its_version(folder: Path, tmp_path: Path) -> None:
    new = write_wheels(tmp_path / "new", "3.2.1", lines=["pandas"], more=[PANDAS])
    sides = {"requirements": ["pandas"], "wheels_folder": str(folder), "enable_blue_green": True}
    green = {"airflow_version": "3.2.1", "wheels_folder": new}
    settings = parse({**sides, "green": green})
    assert settings.environment("green").wheels_folder == new
    assert "green.wheels_folder = " in complaint(**sides, green={"airflow_version": "3.2.1"})


def test_plugins_of_a_stack_take_the_place_of_no_wheel(folder: Path, tmp_path: Path) -> None:
    for name in ("constraints.txt", "pandas-1.0-py3-none-any.whl", "deep/pandas-1.0-py3-none-any.whl"):
        (tmp_path / "plugins" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plugins" / name).touch()
    own = {"plugins_folder": str(tmp_path / "plugins")}
    parse(own)
    text = complaint(wheels_folder=str(folder), **own)
    assert "a folder without constraints.txt: with wheels_folder" in text
    assert "a folder without pandas-1.0-py3-none-any.whl" in text
    assert "without deep/" not in text


def test_an_archive_that_amazon_does_not_take_is_refused(folder: Path) -> None:
    with (folder / PANDAS).open("wb") as file:
        file.truncate(rules.LARGEST)  # a hole: no disk
    text = complaint(wheels_folder=str(folder))
    assert "plugins.zip would have 1000" in text
    assert f"Amazon MWAA takes {rules.LARGEST}" in text
