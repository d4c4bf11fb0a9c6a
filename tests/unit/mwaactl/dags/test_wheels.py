"""`requirements package` without a registry. tests/e2e/long/test_offline.py has real wheels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.config.wheels import Wheels
from mwaactl.dag_check.airflows import Checkout
from mwaactl.dag_check.model import Packaged
from mwaactl.dag_check.requirements import stored
from mwaactl.dag_check.wheels import LARGEST, without_wheels
from mwaactl.images import StackConfig
from tests.fakes.aws.clients import BLUE, FakeClients, deployment
from tests.fakes.mwaactl.commands import Command, output
from tests.fakes.wheels import OURS, write_wheels

PANDAS = "pandas-2.3.3-cp312-cp312-manylinux_2_17_x86_64.whl"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Version, requirements and Python of each package that was asked for."""
    every: list[tuple[str, str, str]] = []

    def wheels(_: Checkout, version: str, text: str, python: str, folder: Path) -> Packaged:
        every.append((version, text, python))
        if "impossible" in text:
            return Packaged(version=version, problem="impossible has no usable wheels")
        for name in (*OURS, PANDAS):
            with (folder / name).open("wb") as file:
                file.truncate(LARGEST if "huge" in text else 5)
        return Packaged(version=version, wheels=(*OURS, PANDAS))

    monkeypatch.setattr(Checkout, "wheels", wheels)
    return every


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Those of the stack, as `pulumi config --json` has them."""
    values = {"airflow_version": "3.3.1", "enable_blue_green": "true", "blue": "{}", "green": "{}"}
    values |= {"requirements": "[]", "requirements_file": ""}
    monkeypatch.setattr(StackConfig, "read", lambda _: values)
    return values


def test_the_lines_are_packaged_as_the_settings_take_them(
    run: Command, tmp_path: Path, asked: list[tuple[str, str, str]]
) -> None:
    file, folder = tmp_path / "requirements.txt", tmp_path / "wheels"
    file.write_text("# frames\npandas \\\n  >=2\n")
    options = ("-o", str(folder), "--airflow-version", "2.10.3")
    result = run("requirements", "package", str(file), *options)
    assert result.exit_code == 0, result.stderr
    ours = "apache-airflow-providers-openlineage\nopenlineage-python\n"
    assert asked == [("2.10.3", f"{ours}pandas   >=2\n", "3.11")]
    assert f"pulumi config set wheels_folder {folder}" in result.stdout
    made = Wheels.of(str(folder))
    assert made.airflow_version == "2.10.3"
    assert made.packaged == {*ours.split(), "pandas   >=2"}
    assert "pandas==2.3.3" in made.pins
    assert (folder / "constraints.txt").read_text().split() == list(made.pins)


def test_a_package_replaces_an_earlier_one_and_nothing_else(
    run: Command, tmp_path: Path, asked: list[Any]
) -> None:
    folder = tmp_path / "wheels"
    write_wheels(folder, more=["polars-1.0-py3-none-any.whl"])
    options = ("-o", str(folder), "--airflow-version", "3.3.1")
    assert run("requirements", "package", *options).exit_code == 0
    assert {each.name for each in folder.glob("*.whl")} == {*OURS, PANDAS}
    assert [each.name for each in tmp_path.iterdir()] == ["wheels"], "nothing is left beside it"
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").touch()
    result = run("requirements", "package", "-o", str(other), "--airflow-version", "3.3.1")
    assert result.exit_code == 2
    assert "has other things in it" in result.stderr
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [("impossible", "impossible has no usable wheels"), ("huge", f"takes a plugins.zip of {LARGEST}")],
)
def test_what_cannot_be_delivered_leaves_the_folder_as_it_is(
    run: Command, tmp_path: Path, asked: list[Any], line: str, said: str
) -> None:
    folder, file = tmp_path / "wheels", tmp_path / "requirements.txt"
    write_wheels(folder)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    file.write_text(f"{line}\n")
    result = run("requirements", "package", str(file), "-o", str(folder), "--airflow-version", "3.3.1")
    assert result.exit_code == 1
    assert said in result.stderr
    assert "nothing was written" in result.stderr
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    assert {each.name for each in tmp_path.iterdir()} == {"wheels", "requirements.txt"}


def test_without_a_file_the_lines_are_those_of_both_sides_settings(
    run: Command, tmp_path: Path, asked: list[tuple[str, str, str]], settings: dict[str, str]
) -> None:
    file = tmp_path / "team.txt"
    file.write_text("--no-index\npolars\n")
    settings |= {"requirements": json.dumps(["pandas"]), "requirements_file": str(file)}
    settings["green"] = json.dumps({"requirements": ["pandas", "duckdb"]})
    options = ("-o", str(tmp_path / "wheels"))
    result = output(run("requirements", "package", *options, "--json"))
    assert (result["airflow_version"], result["side"]) == ("3.3.1", None)
    assert asked.pop()[1].split()[2:] == ["pandas", "polars", "duckdb"]
    settings["enable_blue_green"] = "false"
    assert run("requirements", "package", *options).exit_code == 0
    assert asked.pop()[1].split()[2:] == ["pandas", "polars"]


def test_sides_of_two_versions_need_a_folder_each(
    run: Command, tmp_path: Path, asked: list[tuple[str, str, str]], settings: dict[str, str]
) -> None:
    settings["green"] = json.dumps({"airflow_version": "3.2.1"})
    options = ("-o", str(tmp_path / "wheels"))
    result = run("requirements", "package", *options)
    assert result.exit_code == 2
    assert "blue Airflow 3.3.1 and green Airflow 3.2.1" in result.stderr
    assert "--side green" in result.stderr
    result = run("requirements", "package", *options, "--side", "green")
    assert asked[0][0] == "3.2.1"
    assert "pulumi config set --path green.wheels_folder" in result.stdout
    assert run("requirements", "package", *options, "--side", "red").exit_code == 2


def test_a_setting_of_another_form_is_named_and_not_shown(
    run: Command, tmp_path: Path, asked: list[Any], settings: dict[str, str]
) -> None:
    for key, value in (("requirements", "s3cr3t"), ("requirements", "{}"), ("green", "[1")):
        before, settings[key] = settings[key], value
        result = run("requirements", "package", "-o", str(tmp_path / "wheels"))
        assert result.exit_code == 2, result.output
        assert f"the setting {key} must be " in result.stderr
        assert value not in result.stderr
        settings[key] = before


@pytest.mark.parametrize(
    ("folder", "version", "said"),
    [
        ("file/w", "3.3.1", "the wheels cannot be written: "),
        ("file", "3.3.1", "has other things in it"),
        ("/proc/w/x", "3.3.1", "the wheels cannot be written: "),
        ("wheels", "abc", "'abc' is no version of Airflow"),
    ],
)
def test_what_cannot_be_written_is_said(
    run: Command, tmp_path: Path, asked: list[Any], folder: str, version: str, said: str
) -> None:
    (tmp_path / "file").touch()
    options = ("-o", str(tmp_path / folder), "--airflow-version", version, "--json")
    result = run("requirements", "package", *options)
    assert result.exit_code == 2
    assert said in output(result)["error"]


def test_a_check_of_what_is_deployed_as_wheels_installs_the_same_versions(
    aws: FakeClients, tmp_path: Path
) -> None:
    wheels = Wheels.of(write_wheels(tmp_path / "wheels", lines=["pandas"], more=[PANDAS]))
    aws.s3.buckets[f"{BLUE}-dags"].put("requirements.txt", wheels.requirements.encode())
    of = deployment(aws)
    assert stored(of, of.stack.airflow_environments["blue"]).split() == list(wheels.pins)
    assert without_wheels("pandas\n") == "pandas\n"
