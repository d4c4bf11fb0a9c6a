"""The IAM documents for operators, held against every AWS call that `mwaactl` has in its code.

Each command runs behind a door that judges by one document, as IAM would. A new call of AWS fails here until
a scenario makes it; then it fails until its document allows it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import boto3
import pytest
from bluegreen import document as ownership_document
from typer.testing import Result

from components.archive import zip_bytes
from components.operator_policies import Operated, operator_policies
from components.partition import Partition
from lineage_log.patient_client import Patience
from mwaactl.acceptance.identity import principal
from mwaactl.lineage import set_aside as lineage_set_aside
from tests.fakes.airflow.probed import probed_clients
from tests.fakes.aws.account import CALLER
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, fresh_clients, outputs
from tests.fakes.aws.policed import KEY, NEEDS, REGION, SERVICES, Door, PolicedClients
from tests.fakes.aws.s3 import LINEAGE_LOG
from tests.fakes.clock import stop_time
from tests.fakes.lineage.events import log_event, write_ungated
from tests.fakes.lineage.forwarders import forwarder
from tests.fakes.lineage.marquez import FakeMarquez
from tests.fakes.mwaactl.commands import Command, commands, output
from tests.fakes.mwaactl.dead_blue import blue_died, completed
from tests.fakes.mwaactl.well import all_well

ROOT = Path(__file__).resolve().parents[3]
STACK = outputs()
DOCUMENTS = operator_policies(
    Operated(
        partition=Partition("aws", "amazonaws.com"),
        region=REGION,
        environments=STACK["airflow_environments"],
        ownership_parameter=STACK["ownership_parameter"],
        active_environment_parameter=STACK["active_environment_parameter"],
        lineage_log_bucket=LINEAGE_LOG,
        kms_key_arn=KEY,
    )
)
TIERS = ("read", "switch", "on_call")
# Calls in `lineage_log` that only forwarder and intake make, in the role of their node.
ON_NODES = {("lineage_log/log.py", f"{each}_object") for each in ("copy", "head", "put")}
# Whoever adopts an environment deploys the stack: tests/unit/mwaactl/adopt holds them against docs/adopt.md.
DEPLOYERS = "mwaactl/adopt/"
# The role Viewer may not read these; the checks are then "not checked".
NOT_FOR_VIEWERS = {"GET /variables", "GET /connections", "GET /providers"}
# No document can name the operator's own role, so none has this; the doctor's line is then "unknown".
NOT_GIVEN = {f"iam:SimulatePrincipalPolicy {principal(CALLER)}"}


class World(NamedTuple):
    """Where a command runs. `fresh`, `dead`, `probed`, `well`: make AWS's doubles; in `dead` blue does not
    answer, in the last two the gate probe runs. `open`: runs commands behind the door, `unpoliced` without
    one."""

    fresh: Callable[[], FakeClients]
    dead: Callable[[], FakeClients]
    probed: Callable[[], FakeClients]
    well: Callable[[], FakeClients]
    open: Callable[[FakeClients], Command]
    unpoliced: Callable[[FakeClients], Command]
    marquez: FakeMarquez
    folder: Path


def status(world: World) -> Iterator[Result]:
    aws = world.fresh()
    write_ungated(aws.s3, aws.ssm.clock.now - timedelta(hours=1))
    assert world.unpoliced(aws)("switch", "green", "--yes").exit_code == 0
    run = world.open(aws)
    yield from (run(command) for command in ("status", "active", "history", "maintenance"))
    aws.mwaa.silence(GREEN)  # so CloudWatch is asked
    yield run("status")


def dry_runs(world: World) -> Iterator[Result]:
    aws = world.fresh()
    for name in (BLUE, GREEN):  # with ETags that differ, as KMS makes them, so the contents are compared
        bucket = aws.s3.buckets[f"{name}-dags"]
        bucket.put("dags/daily.py", b"a = 1\n", etag=name)
        bucket.etags["plugins.zip?v1"] = name
    run = world.open(aws)
    yield run("switch", "green", "--dry-run")
    for name in (BLUE, GREEN):  # real archives are read in parts
        aws.s3.buckets[f"{name}-dags"].versions["plugins.zip", "v1"] = zip_bytes({"gate.py": b""})
    yield run("switch", "green", "--dry-run")
    yield run("dags", "push", str(world.folder), "--dry-run")
    yield run("dags", "diff", str(world.folder))
    yield world.open(world.probed())("rehearse", "--dry-run")


def audits(world: World) -> Iterator[Result]:
    aws = world.dead()
    completed(aws, ("a", 50))
    run = world.open(aws)
    yield run("audit", "--since", "30m", "--lineage")
    yield run("report", "--since", "30m", "-o", str(world.folder / "report.html"))
    aws.blue.answer()
    yield run("audit", "--since", "30m")


def lineage_looks(world: World) -> Iterator[Result]:
    run = world.open(_refused(world))
    to = ("--to", world.marquez.url)
    yield run("lineage", "status", *to)
    yield run("lineage", "set-aside", "list")
    yield run("lineage", "replay", "--since", "3h", *to)


def logs(world: World) -> Iterator[Result]:
    run = world.open(world.fresh())
    for side in ("blue", "green"):
        yield run("logs", side, "--dag", "daily")
        yield run("open", "airflow", side, "--print")


def doctors(world: World) -> Iterator[Result]:
    yield world.open(world.well())("doctor", "--to", world.marquez.url)


def switches(world: World) -> Iterator[Result]:
    aws = world.fresh()
    run = world.open(aws)
    yield run("switch", "green", "--yes", "--sync")
    aws.ssm.clock.forward(60)
    yield run("rollback", "--yes")


def rehearsals(world: World) -> Iterator[Result]:
    yield world.open(world.probed())("rehearse")


def pushes(world: World) -> Iterator[Result]:
    aws = world.fresh()
    for name in (BLUE, GREEN):
        aws.s3.buckets[f"{name}-dags"].put("dags/old.py", b"")
        aws.s3.buckets[f"{name}-dags"].put("requirements.txt", b"")
    run = world.open(aws)
    yield run("dags", "push", str(world.folder), "--delete")
    (world.folder / "requirements.txt").write_text("")
    yield run("dags", "push", str(world.folder), "--wait")


def backfills(world: World) -> Iterator[Result]:
    aws = world.dead()
    aws.blue.answer()
    for run in aws.blue.runs:  # as if neither side had executed them
        run.state = "success"
        for task in run.tasks.values():
            task.state, task.pid, task.rendered = "skipped", None, {}
    result = world.open(aws)("audit", "--since", "30m", "--backfill", "--yes", "--json")
    assert output(result).get("findings") != []
    yield result


def failovers_without_a_fence(world: World) -> Iterator[Result]:
    yield world.open(world.dead())("failover", "green", "--yes")


def failovers(world: World) -> Iterator[Result]:
    run = world.open(world.dead())
    yield run("failover", "green", "--yes", "--fence")
    yield run("unfence", "blue")


def retries(world: World) -> Iterator[Result]:
    run = world.open(_refused(world))
    yield run("lineage", "set-aside", "retry", "--all", "--yes", "--to", world.marquez.url)


def airflows_commands(world: World) -> Iterator[Result]:
    aws = world.fresh()
    aws.mwaa.environments[BLUE]["WebserverUrl"] = "127.0.0.1:9"  # where nothing answers
    yield world.open(aws)("airflow", "blue", "--", "version")


SCENARIOS: dict[str, tuple[Callable[[World], Iterator[Result]], ...]] = {
    "read": (status, logs, doctors, dry_runs, audits, lineage_looks),
    "switch": (switches, rehearsals, pushes, backfills, failovers_without_a_fence),
    "on_call": (failovers, retries),
}
EACH = [(tier, scenario) for tier, scenarios in SCENARIOS.items() for scenario in scenarios]


def _refused(world: World) -> FakeClients:
    """A lineage log with one event that the forwarder has set aside, of a run that has ended since."""
    aws = world.fresh()
    log_event(aws.s3, 0, "START")
    log_event(aws.s3, 10, "COMPLETE")
    world.marquez.answers = [422]
    forwarder(aws.s3, world.marquez, posters=1).once(1)
    aws.ssm.clock.forward(7200)
    return aws


@pytest.fixture
def play(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, marquez: FakeMarquez
) -> Callable[..., list[Result]]:
    """Plays a scenario behind a door."""
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "daily.py").write_text("x = 1\n")
    (folder / ".airflowignore").write_text("lib\n")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    retry = cast(Any, lineage_set_aside.retry)
    quick = {**retry.__kwdefaults__, "patience": Patience(longest_pause=0.01, give_up=0.05)}
    monkeypatch.setattr(retry, "__kwdefaults__", quick)

    def room(characters: int) -> None:
        monkeypatch.setattr(ownership_document, "MAX_CHARACTERS", characters)

    def fresh() -> FakeClients:
        room(4096)
        aws = fresh_clients()
        stop_time(monkeypatch, aws.ssm.clock)
        return aws

    def dead() -> FakeClients:
        room(4096)
        return blue_died(monkeypatch)

    def probed() -> FakeClients:
        room(4096)
        return probed_clients(monkeypatch)

    def well() -> FakeClients:
        room(4096)
        return all_well(monkeypatch, marquez)

    def unpoliced(aws: FakeClients) -> Command:
        room(150)  # so small that the content of every decision needs an object of its own
        return commands(monkeypatch, aws)

    def played(scenario: Callable[[World], Iterator[Result]], door: Door) -> list[Result]:
        def opened(aws: FakeClients) -> Command:
            return unpoliced(cast(FakeClients, PolicedClients(aws, door)))

        world = World(fresh, dead, probed, well, opened, unpoliced, marquez, folder)
        return list(scenario(world))

    return played


@pytest.mark.parametrize(("tier", "scenario"), EACH)
def test_each_command_may_do_what_it_does(
    tier: str, scenario: Callable[[World], Iterator[Result]], play: Callable[..., list[Result]]
) -> None:
    for document in TIERS[TIERS.index(tier) :]:
        door = Door(DOCUMENTS[document])
        results = play(scenario, door)
        assert [result.output for result in results if result.exit_code] == []
        assert door.denied - NOT_GIVEN <= (NOT_FOR_VIEWERS if document == "read" else set())


@pytest.mark.parametrize(("tier", "scenario"), [each for each in EACH if each[0] != "read"])
def test_no_command_is_possible_with_a_smaller_document(
    tier: str, scenario: Callable[[World], Iterator[Result]], play: Callable[..., list[Result]]
) -> None:
    door = Door(DOCUMENTS[TIERS[TIERS.index(tier) - 1]])
    play(scenario, door)
    assert door.denied - NOT_FOR_VIEWERS - NOT_GIVEN


@pytest.mark.parametrize("tier", TIERS)
def test_every_permission_is_used(tier: str, play: Callable[..., list[Result]]) -> None:
    door = Door(DOCUMENTS[tier])
    for allowed in TIERS[: TIERS.index(tier) + 1]:
        for scenario in SCENARIOS[allowed]:
            play(scenario, door)
    given = {
        (each["Sid"], action, resource)
        for each in DOCUMENTS[tier]["Statement"]
        for action in each["Action"]
        for resource in each["Resource"]
    }
    assert given - door.used == set()


def test_airflows_own_commands_have_a_document_of_their_own(play: Callable[..., list[Result]]) -> None:
    door = Door(DOCUMENTS["airflow_cli"])
    [result] = play(airflows_commands, door)
    assert "webserver_access" in result.output
    assert not door.denied
    for tier in TIERS:
        door = Door(DOCUMENTS[tier])
        [result] = play(airflows_commands, door)
        assert "airflow:CreateCliToken" in result.output
        assert door.denied


def test_every_call_in_the_code_is_made_here(play: Callable[..., list[Result]]) -> None:
    both = (each for name in ("on_call", "airflow_cli") for each in DOCUMENTS[name]["Statement"])
    door = Door({"Statement": [*both]})
    for scenario in (*(each for _, each in EACH), airflows_commands):
        play(scenario, door)
    missing = [
        f"{name}:{first} {method}"
        for name, first, last, method in calls_in_code()
        if (name, method) not in ON_NODES
        and not name.startswith(DEPLOYERS)
        and not any(path == str(ROOT / name) and first <= line <= last for path, line in door.sites)
    ]
    assert missing == []


def test_no_other_service_is_used() -> None:
    tree = ast.parse((ROOT / "mwaactl/aws.py").read_text())
    named = {
        cast(ast.Constant, node.args[0]).value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_client"
    }
    assert named == set(SERVICES)
    others = [
        path
        for path in (ROOT / "mwaactl").rglob("*.py")
        if ".client(" in path.read_text() or ".resource(" in path.read_text()
    ]
    # whoever mirrors images writes to a registry of their own, which is no part of the stack
    assert {path.name for path in others} == {"aws.py", "images.py"}


def calls_in_code() -> Iterator[tuple[str, int, int, str]]:
    """(file, first line, last line, method) of each call of a boto3 client in what `mwaactl` is made of."""
    session = boto3.Session(region_name=REGION)
    methods = {
        "get_paginator",
        "get_waiter",
        "upload_file",
        "upload_fileobj",
        "download_file",
        "download_fileobj",
    }
    for service in SERVICES:
        client = session.client(cast(Any, service), aws_access_key_id="x", aws_secret_access_key="x")
        methods |= set(client.meta.method_to_api_mapping)
    for package in ("mwaactl", "lineage_log"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in methods:
                    last = node.end_lineno or node.lineno
                    yield str(path.relative_to(ROOT)), node.lineno, last, node.attr


def test_the_calls_that_need_something_are_those_of_the_code() -> None:
    in_code = {method for name, _, _, method in calls_in_code() if (name, method) not in ON_NODES}
    # by get_paginator only
    paginated = {
        "filter_log_events",
        "get_parameter_history",
        "list_environments",
        "list_service_quotas",
    }
    assert in_code - {"get_paginator"} | paginated == {method for _, method in NEEDS}


@pytest.mark.parametrize("tier", TIERS)
def test_a_document_fits_into_a_managed_policy(tier: str) -> None:
    assert len("".join(json.dumps(DOCUMENTS[tier]).split())) < 6144
