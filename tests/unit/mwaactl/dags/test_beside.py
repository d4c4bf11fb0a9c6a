"""What a push says of requirements and plugins, which do not go with it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.fakes.aws.clients import BLUE, GREEN, FakeClients
from tests.fakes.mwaactl.commands import Command, output


@pytest.fixture
def project(tmp_path: Path, aws: FakeClients) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "daily.py").write_text("x = 1\n")
    (tmp_path / "plugins" / "__pycache__").mkdir(parents=True)
    (tmp_path / "plugins" / "__pycache__" / "calendars.pyc").write_bytes(b"")
    (tmp_path / "plugins" / "calendars.py").write_text("y = 1\n")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("calendars.py", "y = 1\n")
        archive.writestr("of_a_team.py", "z = 1\n")  # from another folder, which a setting names
    for name in (BLUE, GREEN):
        bucket = aws.s3.buckets[f"{name}-dags"]
        bucket.versions["plugins.zip", "v1"] = packed.getvalue()
        bucket.put("requirements.txt", b"openlineage-python\npandas\n")
    return tmp_path


def notes(run: Command, project: Path) -> list[str]:
    listed = output(run("dags", "push", "-C", str(project), "--no-check", "--json"))["not_pushed"]
    return [str(note) for note in listed]


def test_nothing_is_said_while_all_is_deployed(run: Command, project: Path) -> None:
    (project / "dags" / "requirements.txt").write_text("pandas  # frames\n\n")
    assert notes(run, project) == []


def test_requirements_among_the_dags_that_are_not_installed_are_named(run: Command, project: Path) -> None:
    (project / "dags" / "requirements.txt").write_text("pandas\npolars\n")
    blue, green = notes(run, project)
    assert blue.startswith(f"{BLUE} does not have these lines of {project}/dags/requirements.txt: polars.")
    assert green.startswith(GREEN)
    assert f"pulumi config set requirements_file {project}/dags/requirements.txt" in blue
    assert "mwaactl rollout" in blue
    assert f"{BLUE} does not have these lines" in run("dags", "push", "-C", str(project)).stdout


def test_the_password_of_an_index_is_not_printed(run: Command, project: Path) -> None:
    lines = [
        "--extra-index-url https://ci:s3cr3t@pypi.example.com/simple",
        "x @ git+https://s3cr3t@git.example.com/x",
    ]
    (project / "dags" / "requirements.txt").write_text(
        "\n".join([*lines, "y @ https://example.com/y@1.whl", ""])
    )
    blue, _ = notes(run, project)
    assert (
        "--extra-index-url https://****@pypi.example.com/simple, x @ git+https://****@git.example.com/x, "
        "y @ https://example.com/y@1.whl. Amazon" in blue
    )
    assert "s3cr3t" not in run("dags", "push", "-C", str(project), "--no-check", "--dry-run").output


def test_plugins_that_an_environment_runs_in_another_form_are_named(
    run: Command, project: Path, aws: FakeClients
) -> None:
    (project / "plugins" / "calendars.py").write_text("y = 2\n")
    (project / "plugins" / "new.py").write_text("")
    assert notes(run, project)[0].startswith(
        f"{BLUE} runs other plugins than {project}/plugins has: calendars.py, new.py. To deploy them: "
    )


def test_plugins_among_the_dags_are_named_too(run: Command, project: Path) -> None:
    (project / "dags" / "plugins").mkdir()
    (project / "dags" / "plugins" / "of_a_team.py").write_text("z = 2\n")
    assert f"runs other plugins than {project}/dags/plugins has: of_a_team.py." in notes(run, project)[0]


def test_what_cannot_be_compared_stops_no_push(run: Command, project: Path, aws: FakeClients) -> None:
    (project / "dags" / "requirements.txt").write_text("polars\n")
    for name in (BLUE, GREEN):
        aws.s3.buckets[f"{name}-dags"].remove("requirements.txt")
        aws.s3.buckets[f"{name}-dags"].versions["plugins.zip", "v1"] = b"no archive"
    assert notes(run, project) == []
