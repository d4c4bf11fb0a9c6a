"""Files and folders in the settings: what is delivered, and every conflict named."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config.files import (
    AUTHORITIES,
    LARGEST_PLUGINS,
    PLUGINS,
    PROJECT,
    folder_files,
    located,
    requirement_lines,
)
from tests.unit.components.config.test_settings import complaint, parse


def write(folder: Path, **files: str) -> str:
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(folder)


def test_a_relative_path_begins_at_the_projects_folder() -> None:
    assert located("plugins") == PLUGINS
    assert located("/elsewhere") == Path("/elsewhere")
    assert parse({"startup_script": "tests/fakes/of_a_team/startup.sh"}).startup_script is not None
    assert (PROJECT / "Pulumi.yaml").exists()


def test_requirements_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# ours\n\npandas==2.3.3  # pinned\npolars \\\n  >=1\n")
    assert requirement_lines(str(file)) == [(3, "pandas==2.3.3"), (4, "polars   >=1")]
    parse({"requirements_file": str(file)})


def test_each_bad_line_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("pandas\nopenlineage-python==1.0\n-r other.txt\nfoo==\n")
    text = complaint(requirements_file=str(file))
    assert "3 invalid settings" in text
    assert "line 2, 'openlineage-python==1.0', is removed: this program names it" in text
    assert "line 3, '-r other.txt', is replaced by that file's lines" in text
    assert "line 4, 'foo==', is a line that pip can read" in text


LOGIN = "https://ci:s3cr3t@pypi.example.com/simple"


@pytest.mark.parametrize(
    "line",
    [
        f"--extra-index-url {LOGIN} --hash=sha256:0",  # refused by us
        f"--unheard-of {LOGIN}",  # by pip, which repeats it
        f"fork @ {LOGIN} --hash=sha256:0",
        f"-r {LOGIN}",
        LOGIN,
    ],
)
def test_no_line_is_shown_with_a_login(line: str, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"pandas\n{line}\n")
    for text in (
        complaint(requirements_file=str(file)),
        complaint(requirements=[line]),
        complaint(requirements={"pandas": line}),
        complaint(green={"requirements": [line]}),
    ):
        assert "s3cr3t" not in text
        assert "https://****@pypi.example.com/simple" in text


def test_authorities_are_certificates(tmp_path: Path) -> None:
    parse({"aurora_authorities_file": "tests/fakes/of_a_team/rds.pem"})
    for content in (b"", b"<html>not found</html>", b"-----BEGIN CERTIFICATE-----\nx\n", b"\xff"):
        (tmp_path / "rds.pem").write_bytes(content)
        text = complaint(aurora_authorities_file=str(tmp_path / "rds.pem"))
        assert "must be a file of certificates in PEM: curl -o" in text
        assert AUTHORITIES in text


@pytest.mark.parametrize(
    "key", ["requirements_file", "plugins_folder", "startup_script", "aurora_authorities_file"]
)
def test_what_is_not_there_is_named_with_its_key(key: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert f"{key} = {missing!r}: must be a" in complaint(**{key: missing})
    if key != "aurora_authorities_file":
        assert f"green.{key} = {missing!r}: must be a" in complaint(green={key: missing})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a file with a script in it"),
        (b"export A=1\r\n", "Unix's line ends"),
        (b"\xff\xfe", "a file that can be read"),
        (b"#" * (1024 * 1024 + 1), "1 MiB or less"),
    ],
)
def test_a_script_that_no_shell_would_run_rightly_is_refused(
    content: bytes, said: str, tmp_path: Path
) -> None:
    script = tmp_path / "startup.sh"
    script.write_bytes(content)
    assert said in complaint(startup_script=str(script))


@pytest.mark.parametrize(
    "name",
    [
        "airflow_local_settings.py",
        "Airflow_Local_Settings.py",
        "bluegreen.py",
        "bluegreen/extra.py",
        "bluegreen_policy/__init__.py",
        "bluegreen_policy-2.dist-info/METADATA",
        ".airflowignore",
    ],
)
def test_a_plugin_that_would_take_the_place_of_ours_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    text = complaint(plugins_folder=str(tmp_path))
    assert f"must be a folder without {name.split('/')[0]}, which this program's own plugins have" in text


def test_every_file_of_ours_is_protected(tmp_path: Path) -> None:
    for name in folder_files(PLUGINS):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    text = complaint(plugins_folder=str(tmp_path))
    assert {f"without {name.split('/')[0]}, " in text for name in folder_files(PLUGINS)} == {True}


def test_nothing_of_a_folder_is_left_out_without_a_word(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "plugins", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    assert "a folder with files in it" in complaint(plugins_folder=str(folder))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "dangling.py").symlink_to(elsewhere / "nothing.py")
    text = complaint(plugins_folder=str(folder))
    assert "without linked, a link" in text
    assert "without dangling.py, a link" in text


def test_a_folder_is_neither_ours_nor_huge(tmp_path: Path) -> None:
    assert "another folder than the program's own" in complaint(plugins_folder="plugins")
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(LARGEST_PLUGINS + 1)
    assert "32 MiB or less" in complaint(plugins_folder=str(tmp_path))


@pytest.mark.parametrize(
    ("blue", "green", "good"),
    [
        ("TUE:02:00", "WED:02:00", True),
        ("TUE:02:00", "WED:01:30", False),
        ("SUN:23:30", "MON:00:00", False),
        ("SUN:02:00", "SAT:02:00", True),
        ("", "TUE:12:00", False),
        ("THU:03:00", "", False),
    ],
)
def test_blue_and_green_are_maintained_a_day_apart(blue: str, green: str, good: bool) -> None:
    changes = {
        "enable_blue_green": True,
        "blue": {"maintenance_window": blue},
        "green": {"maintenance_window": green},
    }
    if good:
        parse(changes)
    else:
        assert "24 hours or more from blue's" in complaint(**changes)
    parse({**changes, "enable_blue_green": False})


def test_one_window_for_both_is_refused() -> None:
    assert "green.maintenance_window" in complaint(enable_blue_green=True, maintenance_window="SUN:02:00")
    assert "a full or half hour" in complaint(maintenance_window="SUN:02:15")
    text = complaint(enable_blue_green=True, green={"maintenance_window": 5})
    assert "green.maintenance_window = 5: must be a day" in text


def test_the_gates_alarms_keep_the_lines_that_they_count() -> None:
    assert "log_levels.task" in complaint(log_levels={"task": "WARNING"})
    assert "green.log_levels.task" in complaint(
        enable_blue_green=True, green={"log_levels": {"task": "ERROR"}}
    )
    assert "log_levels" in complaint(log_levels={"tasks": "INFO"})
    assert "log_levels" in complaint(log_levels={"task": "LOUD"})
    parse({"log_levels": {"task": "DEBUG", "worker": "CRITICAL"}})


def test_the_option_behind_is_paused_upon_creation_is_set_there_only() -> None:
    assert "this program sets it" in complaint(airflow_options={"core.dags_are_paused_at_creation": "False"})


@pytest.mark.parametrize("folder", ["dags", "/dags/", "", "../dags/", "a//b/", "da gs/"])
def test_the_folder_of_dags_is_one_in_the_bucket(folder: str) -> None:
    assert "dags_folder" in complaint(dags_folder=folder)
    assert parse({"dags_folder": "team/workflows/"}).dags_folder == "team/workflows/"


def test_web_servers_have_limits_of_their_class() -> None:
    micro = {"environment_class": "mw1.micro", "schedulers": 1, "max_workers": 1}
    assert "max_webservers = 2: must be 1 with" in complaint(**micro, max_webservers=2)
    assert "min_webservers = 1: must be 2 to 5" in complaint(min_webservers=1)
    assert "max_webservers = 2: must be min_webservers (3) or more" in complaint(
        min_webservers=3, max_webservers=2
    )
    assert "max_webservers" in complaint(max_webservers=6)


@pytest.mark.parametrize("days", [0, 2, 366, "x"])
def test_logs_are_kept_as_long_as_cloudwatch_can(days: object) -> None:
    assert "one of 1, 3, 5, 7, 14, 30" in complaint(log_retention_days=days)
    assert parse({"log_retention_days": "90"}).log_retention_days == 90


@pytest.mark.parametrize("days", [0, 36])
def test_backups_are_kept_as_long_as_rds_can(days: int) -> None:
    assert "days from 1 to 35" in complaint(backup_retention_days=days)
