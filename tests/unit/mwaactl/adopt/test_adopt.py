"""An adoption from beginning to end: what is refused, what is asked, and that a killed one goes on."""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from mwaactl.adopt.adopt import Adoption, How
from mwaactl.adopt.environment import unpacked
from mwaactl.aws import Clients
from mwaactl.cli import adopt as command
from mwaactl.cli.app import app
from mwaactl.errors import CheckFailed, Unfinished, Unreachable, UsageError
from tests.fakes.aws.errors import Killed, client_error
from tests.fakes.aws.policed import KEY, Door, PolicedClients
from tests.fakes.mwaactl import adoption
from tests.fakes.mwaactl.adoption import NAME, OLD, OURS, World, archive, environment, world_of
from tests.fakes.pulumi_mocks import ROOT


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return world_of(monkeypatch, tmp_path)


def test_an_adoption_imports_asks_copies_and_updates(world: World) -> None:
    asked: list[Adoption] = []
    result = world.adopter(ask=asked.append).run()
    assert (result.stage, result.dags) == ("updated", 2)
    assert world.done == ["import", "update"]
    assert [each.stage for each in asked] == ["settings", "imported"]
    kept = [value for path, value in asked[0].settings.items() if path.startswith("airflow_options")]
    assert kept == ["(secret)", "(secret)"]
    assert '"64"' not in world.file.read_text()
    assert f"instead of s3://{OLD}/dags/" in asked[1].update[0]
    assert "correct horse" not in world.file.read_text()
    assert world.settings["p:adopted_environment"] == NAME
    assert "p:tags" not in world.settings  # what was there before is gone
    folder = world.folder / "adopted" / NAME
    assert (folder / "requirements.txt").read_text() == "pandas==2.3.3\n"
    assert [each.name for each in (folder / "plugins").rglob("*.p*")] == ["helpers.py"]
    assert world.settings["p:startup_script"] == str(folder / "startup.sh")
    assert world.aws.s3.buckets[OURS].keys() == ["dags/daily.py", "dags/sql/one.sql"]
    assert list(world.aws.logs.groups) == [f"airflow-{NAME}-Scheduler"]  # the one that was off
    assert world.adopter().run().stage == "updated"
    assert world.done == ["import", "update"]


def test_a_killed_adoption_goes_on_wherever_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = world_of(monkeypatch, tmp_path_factory.mktemp("whole"))
    whole.adopter().run()
    calls = whole.calls
    assert calls > 10
    for limit in range(calls):
        world = world_of(monkeypatch, tmp_path_factory.mktemp("killed"))
        world.limit = limit
        with pytest.raises(Killed):
            world.adopter().run()
        world.limit = None
        assert world.adopter().run().stage == "updated", limit
        assert world.done == ["import", "update"], limit


def test_a_dry_run_writes_nothing(world: World) -> None:
    before = world.file.read_text()
    result = world.adopter(How(dry_run=True)).run()
    assert (result.stage, result.dry_run) == ("settings", True)
    assert set(result.files) == {
        f"adopted/{NAME}/{name}" for name in ("requirements.txt", "startup.sh", "plugins/team/helpers.py")
    }
    assert (world.file.read_text(), world.done) == (before, [])
    assert not (world.folder / "adopted").exists()
    assert world.aws.logs.groups == {}


def test_later_ends_before_the_update_and_the_next_run_copies_anew(world: World) -> None:
    assert world.adopter(How(later=True)).run().stage == "imported"
    assert world.aws.s3.buckets[OURS].keys() == []
    world.aws.s3.buckets[OLD].put("dags/late.py", b"c")
    world.aws.s3.buckets[OURS].put("dags/gone.py", b"deleted in the old bucket since")
    world.aws.s3.buckets[OURS].put("dags/mwaa_gate_probe.py", b"the program's own")
    assert world.adopter(How(dry_run=True)).run().update
    assert world.done == ["import"]
    assert world.adopter().run().dags == 3
    assert "dags/gone.py" not in world.aws.s3.buckets[OURS].objects
    assert world.aws.s3.buckets[OLD].keys("dags/") == [
        "dags/",
        "dags/daily.py",
        "dags/late.py",
        "dags/sql/one.sql",
    ]


@pytest.mark.parametrize(
    ("step", "change"), [("import", "replace"), ("import", "update"), ("update", "replace")]
)
def test_a_preview_that_would_do_anything_else_stops_it(world: World, step: str, change: Any) -> None:
    world.changes[step] = change
    with pytest.raises(CheckFailed, match=rf"must {step} {NAME} and nothing else .* {change} mwaa-blue"):
        world.adopter().run()
    assert world.done == ([] if step == "import" else ["import"])
    if step == "import":
        assert "p:adopted_environment" not in world.settings


def test_what_the_program_refuses_is_said_before_anything_is_written(world: World) -> None:
    before = world.file.read_text()
    world.refusal = 'airflow_options["metrics.statsd_on"]: must be removed'
    with pytest.raises(CheckFailed, match=r"(?s)metrics.*can be left out \(--drop"):
        world.adopter().run()
    world.aws.mwaa.environments[NAME]["AirflowConfigurationOptions"] = {"secrets.backend": "vault"}
    with pytest.raises(CheckFailed, match=r"nothing was written:\n  secrets\.backend is vault"):
        world.adopter().run()
    assert (world.file.read_text(), world.done) == (before, [])
    assert not (world.folder / "adopted").exists()


def test_corrected_files_are_taken_instead(world: World, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "plugins").mkdir(parents=True)
    (mine / "plugins" / "other.py").write_text("y = 2")
    (mine / "requirements.txt").write_text("polars\n")
    how = How(requirements=mine / "requirements.txt", plugins=mine / "plugins", later=True)
    world.adopter(how).run()
    folder = world.folder / "adopted" / NAME
    assert (folder / "requirements.txt").read_text() == "polars\n"
    assert [each.name for each in (folder / "plugins").iterdir()] == ["other.py"]
    with pytest.raises(UsageError, match="nowhere"):
        World.adopter(world, How(script=tmp_path / "nowhere")).run()
    (mine / "plugins" / "linked").symlink_to(tmp_path)
    (mine / "plugins" / "engine.pyc").write_bytes(b"")
    with pytest.raises(UsageError, match=r"linked, a link to a folder .*; engine\.pyc, compiled"):
        world.adopter(replace(how, later=False)).run()


def test_an_update_that_amazon_takes_back_is_reported_and_can_be_repeated(world: World) -> None:
    world.adopter(How(later=True)).run()
    world.fails = "environment"
    with pytest.raises(Unfinished, match=f"UPDATE_FAILED\nThen go on: mwaactl adopt {NAME} -s team"):
        world.adopter().run()
    world.fails = ""
    assert world.adopter().run().stage == "updated"


def test_what_has_changed_since_the_import_stays_and_is_named(world: World) -> None:
    """The team works on with its environment until the update."""
    world.adopter(How(later=True)).run()
    world.about["MaxWorkers"] = 20
    world.about["AirflowConfigurationOptions"] = {"core.new": "secret value", "smtp.smtp_password": "other"}
    world.about["RequirementsS3ObjectVersion"] = "r2"
    world.aws.s3.buckets[OLD].versions["requirements.txt", "r2"] = b"polars\n"
    asked: list[Adoption] = []
    dry = world.adopter(How(dry_run=True)).run()
    assert world.settings["p:max_workers"] == "7"
    assert world.adopter(ask=asked.append).run().stage == "updated"
    (only,) = asked
    assert (
        {*only.differs}
        == {*dry.differs}
        == {
            "max_workers: 7 -> 20",
            'airflow_options["core.new"] is new',
            'airflow_options["smtp.smtp_password"] is another',
            'airflow_options["core.parallelism"] is removed: the environment does not have it',
            f"file adopted/{NAME}/requirements.txt is another",
        }
    )
    assert world.settings["p:max_workers"] == "20"
    assert 'p:airflow_options["core.parallelism"]' not in world.settings
    assert (world.folder / "adopted" / NAME / "requirements.txt").read_text() == "polars\n"


def test_corrections_count_until_the_update(world: World, tmp_path: Path) -> None:
    fixed = tmp_path / "fixed file.txt"
    fixed.write_text("polars\n")
    how = How(requirements=fixed, drop=("core.parallelism",))
    with pytest.raises(CheckFailed, match="nothing was written"):
        world.adopter(How(drop=("no.such",))).run()
    world.fails = "environment"
    with pytest.raises(Unfinished):
        world.adopter().run()
    assert world.done == ["import"]
    world.fails = ""
    assert world.adopter(How(later=True)).run().stage == "imported"
    world.fails = "environment"
    with pytest.raises(Unfinished):
        world.adopter().run()
    world.fails, world.about["Status"] = "", "UPDATE_FAILED"  # as it was before, and ready
    with pytest.raises(UsageError, match=r"has its effect with the one update.*: mwaactl adopt"):
        world.adopter(replace(how, later=True)).run()
    with pytest.raises(CheckFailed, match=r"--drop no\.such: the environment has no such option"):
        world.adopter(How(drop=("no.such",))).run()
    asked: list[Adoption] = []
    result = world.adopter(how, asked.append).run()
    assert (result.stage, world.done) == ("updated", ["import", "update", "update"])
    assert "the option core.parallelism is taken away (--drop)" in asked[0].update
    assert f"file adopted/{NAME}/requirements.txt is another" in asked[0].differs
    assert 'p:airflow_options["core.parallelism"]' not in world.settings
    (note,) = world.adopter(how).run().notes
    assert f"--drop core.parallelism --requirements '{fixed}' was not used" in note
    assert result.command == (
        f"mwaactl adopt {NAME} -s team --drop core.parallelism --requirements '{fixed}'"
    )


def test_nothing_is_done_if_it_changes_while_the_question_waits(world: World) -> None:
    world.adopter(How(later=True)).run()
    with pytest.raises(CheckFailed, match="has changed meanwhile, and nothing was touched: mwaactl adopt"):
        world.adopter(ask=lambda _: world.about.update(MaxWorkers=20)).run()
    assert (world.done, world.aws.s3.buckets[OURS].keys()) == (["import"], [])


def test_settings_from_before_that_would_change_it_are_named_and_removed(world: World) -> None:
    before = {
        "p:blue.min_workers": "9",
        'p:airflow_options["old.option"]': "1",
        "p:requirements[0]": "x",
        "p:wheels_folder": "wheels",
        "p:plugins_folder": "../mine",
        "p:log_levels.scheduler": "DEBUG",
        "p:max_webservers": "",
    }
    kept = {"p:green.min_workers": "9", "p:worker_replacement_strategy": "GRACEFUL"}
    world.file.write_text(json.dumps({"aws:region": "us-east-1", **before, **kept}))
    for key in ("PluginsS3Path", "PluginsS3ObjectVersion"):
        del world.about[key]
    named = world.adopter(How(dry_run=True)).run().differs
    assert {each.partition(" ")[0] for each in named} == {
        path.removeprefix("p:") for path, value in before.items() if value
    }
    world.adopter(How(later=True)).run()
    left = world.settings
    assert not {path for path in before.keys() & left.keys() if left[path] == before[path]}
    assert kept.items() <= left.items()
    assert "p:plugins_folder" not in left


def test_no_value_of_an_option_is_on_a_command_line(world: World) -> None:
    world.adopter().run()
    assert world.arguments
    assert not [each for each in world.arguments if "correct horse" in each]


def test_what_fails_after_the_environment_does_not_stop_the_next_run(world: World) -> None:
    """The outputs are those of before; only the state has what was done."""
    world.fails = "elsewhere"
    with pytest.raises(Unfinished, match=f"Then go on: mwaactl adopt {NAME} -s team"):
        world.adopter().run()
    assert (world.done, world.outputs) == (["import"], {})
    assert world.adopter(How(dry_run=True)).run().stage == "settings"
    world.fails = ""
    assert world.adopter(How(later=True)).run().stage == "imported"
    world.fails = "elsewhere"
    with pytest.raises(Unfinished, match=f"Then go on: mwaactl adopt {NAME} -s team"):
        world.adopter().run()
    assert world.done == ["import", "update"]
    world.fails = ""
    world.aws.s3.buckets[OURS].put("dags/new.py", b"pushed to the bucket that it has now")
    assert world.adopter(How(dry_run=True)).run().stage == "imported"
    result = world.adopter().run()
    assert (result.stage, world.done) == ("updated", ["import", "update"])
    assert "dags/new.py" in world.aws.s3.buckets[OURS].objects


def test_no_change_of_what_the_state_does_not_have_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption._Engine, "asked", "")
    with pytest.raises(CheckFailed, match=r"must import team-airflow .* no change of an environment"):
        world.adopter().run()
    assert "p:adopted_environment" not in world.settings


@pytest.mark.parametrize(
    ("prepare", "error", "said"),
    [
        (
            lambda w: w.aws.mwaa.environments.clear(),
            UsageError,
            "there is no environment team-airflow in us-east-1",
        ),
        (
            lambda w: w.aws.mwaa.environments.update({NAME: environment(Status="UPDATING")}),
            CheckFailed,
            "is UPDATING: adopt it when it is AVAILABLE",
        ),
        (
            lambda w: w.outputs.update(airflow_environments={"blue": {"name": "other", "deployed": {}}}),
            UsageError,
            "blue of stack team is other, not team-airflow",
        ),
        (lambda w: w.file.write_text("{}"), UsageError, "the stack has no region"),
        (
            lambda w: setattr(w.aws.s3, "error", client_error("AccessDenied", 403)),
            Unreachable,
            f"could not read s3://{OLD}/plugins.zip: access denied",
        ),
    ],
)
def test_what_stands_in_the_way_is_named(
    world: World, prepare: Any, error: type[Exception], said: str
) -> None:
    prepare(world)
    with pytest.raises(error, match=said):
        world.adopter().run()
    assert world.done == []


def test_an_archive_that_leads_out_of_its_folder_is_refused() -> None:
    with pytest.raises(CheckFailed, match=r"leads out of it: '\.\./evil\.py'"):
        unpacked(archive(**{"../evil.py": b""}), "plugins.zip")
    with pytest.raises(CheckFailed, match="cannot be unpacked"):
        unpacked(b"no archive", "plugins.zip")


def test_what_a_folder_of_plugins_cannot_have_is_refused_or_said(world: World) -> None:
    def zipped(**modes: int) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as opened:
            for name, mode in modes.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = mode << 16
                opened.writestr(info, b"x")
        return content.getvalue()

    versions = world.aws.s3.buckets[OLD].versions
    versions["plugins.zip", "p1"] = zipped(
        **{"lib/a.so": stat.S_IFLNK | 0o777, "team/engine.pyc": stat.S_IFREG | 0o644}
    )
    with pytest.raises(CheckFailed, match=r"lib/a\.so, a link; team/engine\.pyc, .*then: --plugins FOLDER"):
        world.adopter().run()
    mine = world.folder / "mine"
    mine.mkdir()
    (mine / "a.py").touch()
    assert world.adopter(How(plugins=mine, dry_run=True)).run().stage == "settings"
    regular = stat.S_IFREG | 0o644
    versions["plugins.zip", "p1"] = zipped(
        **{"bin/tool": stat.S_IFREG | 0o755, "a.py": regular, "a.pyc": regular}
    )
    planned = world.adopter(How(dry_run=True)).run()
    assert "bin/tool of plugins.zip is not executable any more" in planned.update
    assert [each for each in planned.files if each.endswith(".pyc")] == []


def test_the_permissions_in_the_guide_are_those_that_it_needs(world: World) -> None:
    guide = (ROOT / "docs" / "adopt.md").read_text()
    (text,) = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    statements = json.loads(text)["Statement"]
    key = {
        "Sid": "Key",
        "Effect": "Allow",
        "Resource": [KEY],
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    }
    world.aws.s3.buckets[OURS].put("dags/gone.py", b"")
    door = Door({"Statement": [*statements, key]})
    adopter = world.adopter()
    adopter.clients = lambda _: cast(Clients, PolicedClients(world.aws, door))
    assert adopter.run().stage == "updated"
    assert not door.denied
    given = {(each["Sid"], action) for each in statements for action in each["Action"]}
    assert {(sid, action) for sid, action, _ in door.used} == given | {
        ("Key", "kms:Decrypt"),
        ("Key", "kms:GenerateDataKey"),
    }


def test_the_command_shows_what_it_did(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "Pulumi.yaml").write_text("name: p\n")
    monkeypatch.setattr(command, "_clients", lambda _: world.aws)
    monkeypatch.setattr(command, "_engine", lambda _folder, _stack, *more: world.engine(*more))

    def run(*options: str) -> Any:
        return CliRunner().invoke(app, ["adopt", NAME, "-s", "team", "-C", str(world.folder), *options])

    dry = run("--dry-run")
    assert dry.exit_code == 0, dry.output
    assert f"Nothing was touched. To do it: mwaactl adopt {NAME} -s team" in dry.stdout
    assert "max_workers: 7" in dry.stdout
    later = run("--later", "--yes")
    assert "is imported and runs as before" in later.stdout
    done = run("--yes")
    assert "An update takes 20-30 minutes" in done.stdout
    assert f"{NAME} is blue of team, with its 2 DAG files" in done.stdout
    assert json.loads(run("--json").stdout)["stage"] == "updated"
    assert run("--drop").exit_code == 2
