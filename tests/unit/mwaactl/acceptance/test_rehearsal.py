"""A rehearsal moves the probe to the other side and back, proves what it shows there, and leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from bluegreen.document import latest_valid
from bluegreen.proof import PROBE
from bluegreen.timeline import COLOURS, Timeline

from components.guard import work_of
from mwaactl.acceptance.rehearsal import Rehearsal, Step, rehearse
from mwaactl.deployment import Deployment
from mwaactl.errors import LostRace, Unfinished, Unreachable, UsageError
from mwaactl.ownership.reading import newest_owner
from mwaactl.switching.drain import wait_until_drained
from mwaactl.switching.write import carry_out
from tests.fakes.airflow.probe import SKIPPED, reported
from tests.fakes.airflow.probed import as_owned, executions, probed_clients, side
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment, standing
from tests.fakes.aws.errors import Killed, client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, minutes
from tests.fakes.lineage.events import write_ungated
from tests.fakes.mwaactl.commands import Command, commands, output
from tests.fakes.mwaactl.switches import switched
from tests.fakes.timeline import LIVES, parsed

STEPS = [
    "checks",
    "move-there",
    "drain-home",
    "executed-there",
    "checks-back",
    "move-home",
    "drain-there",
    "executed-home",
    "audit",
]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    return probed_clients(monkeypatch)


@pytest.fixture
def run(aws: FakeClients, monkeypatch: pytest.MonkeyPatch) -> Command:
    return commands(monkeypatch, aws)


def rehearsed(aws: FakeClients, **options: Any) -> Rehearsal:
    return rehearse(deployment(aws), **options)


def step(result: Rehearsal, name: str) -> Step:
    return next(each for each in result.steps if each.name == name)


def failed(result: Rehearsal) -> list[str]:
    return [each.name for each in result.steps if each.result == "fail"]


def assert_nothing_is_left(aws: FakeClients) -> None:
    """The probe is at home, and `pulumi up` may update either side."""
    timeline = standing(aws)
    assert newest_owner(timeline, PROBE) == newest_owner(timeline) == "blue"
    records = [(r["Value"], r["Version"], r["LastModifiedDate"]) for r in aws.ssm.stored[OWNERSHIP]]
    work = work_of(latest_valid(records), LIVES, aws.ssm.clock.now + timedelta(minutes=1))
    assert work.owners == {"blue"}
    assert not work.open_books


def instants(timeline: Timeline) -> Iterator[datetime]:
    """Instants between and at all that a timeline marks."""
    marks = {entry.since for line in (timeline.owners, *timeline.dags.values()) for entry in line}
    for mark in sorted({START, minutes(10), minutes(60 * 24), *marks} - {timeline.owners[0].since}):
        yield from (mark - timedelta(microseconds=1), mark, mark + timedelta(seconds=2))


# --- as it should be ---


def test_the_probe_goes_there_and_back_and_is_executed_once_on_each_side(aws: FakeClients) -> None:
    steps: list[Step] = []
    done = rehearsed(aws, on_step=steps.append)
    assert [(each.name, each.result) for each in done.steps] == [(name, "pass") for name in STEPS], done.steps
    assert done.ok
    assert tuple(steps) == done.steps
    there, home = done.executions
    assert (there.on, there.due, there.layer, there.skipped_on) == (
        "green",
        minutes(15),
        "dag_policy",
        "blue",
    )
    assert (home.on, home.due, home.routes, home.skipped_on) == (
        "blue",
        minutes(20),
        ("settings_module",),
        "green",
    )
    assert {due: by for due, by in executions(aws).items() if due > minutes(12)} == {
        minutes(15): ["green"],
        minutes(20): ["blue"],
    }
    assert_nothing_is_left(aws)
    why = [record["Description"] for record in aws.ssm.stored[OWNERSHIP]][1:]
    assert why == [
        f"mwaactl switch green, only {PROBE}: rehearsal",
        "mwaactl: blue's books are closed",
        f"mwaactl switch blue, only {PROBE}: rehearsal",
        "mwaactl: green's books are closed",
    ]


def test_for_every_other_dag_the_timeline_says_the_same_at_every_moment(aws: FakeClients) -> None:
    switched(aws, "green", "hourly")
    aws.ssm.clock.forward(30)
    drained(aws, "green", "hourly")
    before = standing(aws)
    begun = len(aws.ssm.values())
    assert rehearsed(aws).ok
    seen = [parsed(value) for value in aws.ssm.values()[begun:]]
    assert len(seen) == 4
    for timeline in seen:
        for dag_id in ("daily", "hourly", "not there yet", None):
            for instant in instants(timeline):
                assert timeline.claim(instant, dag_id) == before.claim(instant, dag_id)


def drained(aws: FakeClients, target: Any, *dags: str) -> None:
    assert wait_until_drained(deployment(aws), target, dags=dags, timeout=600).finished


def test_a_rehearsal_can_be_repeated_and_what_is_older_than_a_week_is_forgotten(aws: FakeClients) -> None:
    for day in range(1, 21):
        done = rehearsed(aws)
        assert done.ok, (day, [each for each in done.checks if each.result != "pass"], done.steps)
        aws.ssm.clock.seconds = day * 86400 + 12 * 60
        for colour in COLOURS:
            side(aws, colour).runs.clear()
            side(aws, colour).dags[PROBE].next_due = aws.ssm.clock.now - timedelta(minutes=12)
        assert len(standing(aws).dags[PROBE]) <= 16
    assert newest_owner(standing(aws), PROBE) == "blue"
    assert max(len(value) for value in aws.ssm.values()) < 4096


def test_green_owning_the_probe_goes_to_blue_and_back(aws: FakeClients) -> None:
    switched(aws)
    aws.ssm.clock.forward(60)
    drained(aws, "green")
    done = rehearsed(aws)
    assert done.ok
    assert [each.on for each in done.executions] == ["blue", "green"]
    assert newest_owner(standing(aws), PROBE) == "green"
    assert not any(standing(aws).drains(colour) for colour in COLOURS)


def test_a_dry_run_makes_the_checks_and_writes_nothing(aws: FakeClients, run: Command) -> None:
    done = run("rehearse", "--dry-run")
    assert done.exit_code == 0
    assert "home-available" in done.stdout
    assert "Nothing was written" in done.stdout
    assert len(aws.ssm.values()) == 1


# --- what stops it before anything is written ---


@pytest.mark.parametrize(
    ("name", "check"), [(BLUE, "home-available"), (GREEN, "target-available")], ids=["home", "other"]
)
def test_both_sides_must_be_available(aws: FakeClients, name: str, check: str) -> None:
    aws.mwaa.environments[name]["Status"] = "UPDATING"
    done = rehearsed(aws)
    assert failed(done) == ["checks"]
    assert check in step(done, "checks").detail
    assert len(aws.ssm.values()) == 1
    assert executions(aws).keys() == {START, minutes(5), minutes(10)}


def test_a_failed_check_stops_it_and_force_overrides_it(aws: FakeClients) -> None:
    aws.mwaa.airflow[GREEN]["/importErrors"] = {
        "import_errors": [{"filename": "x.py", "stack_trace": "no"}],
        "total_entries": 1,
    }
    assert failed(rehearsed(aws)) == ["checks"]
    assert len(aws.ssm.values()) == 1
    assert rehearsed(aws, force=("import-errors",)).ok


def test_the_first_proofs_of_a_new_stack_are_waited_for(aws: FakeClients) -> None:
    """The newest run is at work on blue, and there is none before."""
    for colour in COLOURS:
        side(aws, colour).runs.clear()
        side(aws, colour).dags[PROBE].next_due = aws.ssm.clock.now + timedelta(seconds=30)
    begun = aws.ssm.clock.now
    assert rehearsed(aws).ok
    assert executions(aws)[begun + timedelta(seconds=30)] == ["blue"]


@pytest.mark.parametrize("what", ["paused", "silent"])
def test_a_proof_that_does_not_come_fails_the_check(aws: FakeClients, what: str) -> None:
    side(aws, "green").runs.clear()
    side(aws, "green").silent = True
    for colour in COLOURS:
        side(aws, colour).dags[PROBE].paused = what == "paused"
    begun = aws.ssm.clock.now
    result = rehearsed(aws)
    assert step(result, "checks").detail == "nothing was written: gate failed"
    assert newest_owner(standing(aws), PROBE) == "blue"
    waited = aws.ssm.clock.now - begun
    assert (waited < timedelta(minutes=1)) == (what == "paused")


def test_a_switch_that_is_not_finished_stops_it_with_the_command_that_ends_it(aws: FakeClients) -> None:
    switched(aws, "green", "hourly")
    aws.ssm.clock.forward(60)
    done = rehearsed(aws)
    assert failed(done) == ["checks"]
    [check] = [each for each in done.checks if each.name == "no-open-switch"]
    assert check.detail.endswith("mwaactl switch green --dag hourly --wait -s fullha")
    switched(aws, "green", lead=3600)
    [check] = [each for each in rehearsed(aws).checks if each.name == "no-open-switch"]
    assert "a switch to green takes effect at" in check.detail


def test_one_environment_has_no_other_side(aws: FakeClients) -> None:
    with pytest.raises(UsageError, match="has no green environment"):
        rehearse(deployment(aws, "standard"))


# --- what fails on the way ---


def test_a_gate_that_errs_on_the_other_side_fails_the_proof_and_the_probe_comes_home(
    aws: FakeClients,
) -> None:
    side(aws, "green").shows = lambda due: (
        reported(layer=None, layers=[]) if due > minutes(12) else as_owned(aws, "green", due)
    )
    done = rehearsed(aws)
    assert failed(done) == ["executed-there", "checks-back"], "the check of the gate sees it, too"
    assert "the gate did not judge it" in step(done, "executed-there").detail
    assert step(done, "executed-home").result == "skipped"
    assert_nothing_is_left(aws)


def test_home_executing_it_as_well_fails_the_proof(aws: FakeClients) -> None:
    side(aws, "blue").shows = lambda due: reported(environment="blue")
    done = rehearsed(aws)
    assert {"executed-there", "audit"} == set(failed(done)) - {"checks-back"}
    assert "also worked on on blue" in step(done, "executed-there").detail
    assert "both, due 2026-11-23T10:15" in step(done, "audit").detail
    assert_nothing_is_left(aws)


def test_the_other_side_skipping_its_own_run_fails_the_proof(aws: FakeClients) -> None:
    side(aws, "green").shows = lambda due: SKIPPED
    done = rehearsed(aws)
    assert "executed-there" in failed(done)
    assert "was skipped on green, which owns it" in step(done, "executed-there").detail
    assert_nothing_is_left(aws)


def test_a_run_that_never_comes_fails_the_proof_after_two_periods(aws: FakeClients) -> None:
    begun = aws.ssm.clock.now
    side(aws, "green").silent = True
    steps: list[Step] = []
    with pytest.raises(Unfinished, match=r"green has not drained .* To close them: mwaactl rehearse"):
        rehearsed(aws, on_step=steps.append)
    [there] = [each for each in steps if each.name == "executed-there"]
    assert there.result == "fail"
    assert "is not on green yet, 720 s after the move" in there.detail
    assert aws.ssm.clock.now - begun < timedelta(minutes=30)
    assert newest_owner(standing(aws), PROBE) == "blue"
    side(aws, "green").silent = False
    assert rehearsed(aws).ok
    assert_nothing_is_left(aws)


def test_an_execution_without_the_gate_fails_the_audit(aws: FakeClients) -> None:
    def ungated(text: str) -> None:
        if "green's next run" in text or "next run on green" in text:
            write_ungated(aws.s3, aws.ssm.clock.now + timedelta(seconds=1))

    assert "audit" in failed(rehearsed(aws, on_wait=ungated))


def test_checks_that_fail_on_the_way_back_are_told_and_it_comes_home(aws: FakeClients) -> None:
    def breaks(each: Step) -> None:
        if each.name == "executed-there":
            aws.mwaa.environments[BLUE]["Status"] = "UPDATING"

    done = rehearsed(aws, on_step=breaks)
    assert failed(done) == ["checks-back"]
    assert "target-available failed" in step(done, "checks-back").detail
    assert step(done, "executed-home").result == "skipped"
    assert_nothing_is_left(aws)


def test_an_other_side_that_dies_meanwhile_leaves_the_probe_at_home_and_says_what_is_open(
    aws: FakeClients,
) -> None:
    def dies(each: Step) -> None:
        if each.name == "move-there":
            side(aws, "green").silence()

    with pytest.raises(
        Unfinished, match=r"the probe is home, but green's books .* mwaactl rehearse -s fullha"
    ):
        rehearsed(aws, on_step=dies)
    assert newest_owner(standing(aws), PROBE) == "blue"
    side(aws, "green").answer()
    done = rehearsed(aws)
    assert (done.ok, done.resumed, done.steps[0].name) == (True, True, "settle")
    assert_nothing_is_left(aws)


def test_a_parameter_that_cannot_be_written_back_is_said_with_the_command(aws: FakeClients) -> None:
    def refuses(each: Step) -> None:
        if each.name == "executed-there":
            aws.ssm.puts = [client_error("AccessDeniedException", 400)] * 9

    with pytest.raises(Unfinished, match=r"is on green and could not .* To bring it home: mwaactl rehearse"):
        rehearsed(aws, on_step=refuses)
    aws.ssm.puts = []
    done = rehearsed(aws)
    assert (done.ok, done.resumed, [each.on for each in done.executions]) == (True, True, ["green", "blue"])
    assert_nothing_is_left(aws)


# --- killed, interrupted, raced ---


class Counter:
    """Lets the command end at its `call`th call of AWS or of an Airflow."""

    def __init__(self, aws: FakeClients, call: int, error: type[BaseException]) -> None:
        self.calls, self._at, self._error = 0, call, error
        aws.ssm.before = side(aws, "blue").before = side(aws, "green").before = self

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.calls == self._at:
            raise self._error


def calls_of_a_rehearsal(monkeypatch: pytest.MonkeyPatch) -> int:
    aws = probed_clients(monkeypatch)
    counter = Counter(aws, -1, Killed)
    assert rehearsed(aws).ok
    return counter.calls


@pytest.mark.parametrize(("error", "every"), [(Killed, 17), (KeyboardInterrupt, 53)])
def test_stopped_at_any_call_the_same_command_goes_on_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], every: int
) -> None:
    ends, calls = set(), calls_of_a_rehearsal(monkeypatch)
    for call in range(1, calls, every):
        aws = probed_clients(monkeypatch)
        Counter(aws, call, error)
        with suppress(Killed, KeyboardInterrupt, Unfinished, Unreachable):
            rehearsed(aws)
        stood = newest_owner(standing(aws), PROBE)
        ends.add((stood, any(standing(aws).drains(colour) for colour in COLOURS)))
        aws.ssm.clock.forward(3)
        again = rehearsed(aws)
        assert again.ok, (call, again.steps)
        assert all(len(by) == 1 for by in executions(aws).values()), call
        assert_nothing_is_left(aws)
    if error is Killed:
        assert {("green", True), ("green", False), ("blue", True), ("blue", False)} <= ends
    else:
        assert ("blue", False) in ends


def test_ctrl_c_while_it_waits_brings_the_probe_home(aws: FakeClients) -> None:
    def stops(text: str) -> None:
        if "next run on green" in text:
            raise KeyboardInterrupt

    with pytest.raises(Unfinished, match="the probe is home, and nothing is open"):
        rehearsed(aws, on_wait=stops)
    assert_nothing_is_left(aws)


@pytest.mark.parametrize("moment", [*STEPS[1:-2]])
def test_another_operators_switch_stands_and_ends_the_rehearsal(aws: FakeClients, moment: str) -> None:
    def switches(each: Step) -> None:
        if each.name == moment:
            switched(aws, force=["gate"])

    with pytest.raises(LostRace, match=r"another operator has switched meanwhile: green owns the work"):
        rehearsed(aws, on_step=switches)
    timeline = standing(aws)
    assert (
        newest_owner(timeline) == newest_owner(timeline, PROBE) == newest_owner(timeline, "daily") == "green"
    )


def test_a_switch_between_the_checks_and_the_move_stops_it_unwritten(aws: FakeClients) -> None:
    def switches(each: Step) -> None:
        if each.name == "checks":
            switched(aws)

    with pytest.raises(LostRace):
        rehearsed(aws, on_step=switches)
    assert PROBE not in standing(aws).dags


def test_other_writers_on_the_way_home_do_not_keep_it_away(
    aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody moves a DAG of his own just before each of the first two attempts to bring it home."""
    real, others = carry_out, iter(["daily", "hourly"])

    def carried_out(planned: Any, **options: Any) -> Any:
        if planned.target == "blue" and (dag := next(others, None)):
            switched(aws, "green", dag, force=["gate"])
        return real(planned, **options)

    monkeypatch.setattr("mwaactl.switching.bring_back.carry_out", carried_out)
    assert rehearsed(aws).ok
    timeline = standing(aws)
    assert newest_owner(timeline, PROBE) == "blue"
    assert newest_owner(timeline, "daily") == newest_owner(timeline, "hourly") == "green"


def test_two_rehearsals_at_once_end_with_the_probe_at_home(aws: FakeClients) -> None:
    def second(each: Step) -> None:
        if each.name == "drain-home":
            assert rehearsed(aws).ok

    with pytest.raises(LostRace, match="another operator has moved the probe"):
        rehearsed(aws, on_step=second)
    assert_nothing_is_left(aws)


# --- the command ---


def test_the_command_prints_a_line_for_each_step(run: Command) -> None:
    done = run("rehearse")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[: len(STEPS)]] == [["✓", name] for name in STEPS]
    assert "executed on green, judged by dag_policy (settings_module) by version" in done.stdout
    assert "executed on blue, judged by" in done.stdout
    assert lines[-1].startswith("A switch to green and back works here.")


def test_the_command_prints_one_json_object(run: Command) -> None:
    value = output(run("rehearse", "--json"))
    assert [each["name"] for each in value["steps"]] == STEPS
    assert [(each["on"], each["skipped_on"]) for each in value["executions"]] == [
        ("green", "blue"),
        ("blue", "green"),
    ]


def test_a_failed_check_or_proof_exits_1(aws: FakeClients, run: Command) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    done = run("rehearse")
    assert (done.exit_code, "--force target-available" in done.stderr) == (1, True)
    aws.mwaa.environments[GREEN]["Status"] = "AVAILABLE"
    side(aws, "green").shows = lambda due: SKIPPED
    done = run("rehearse", "--json")
    value = json.loads(done.stdout)
    assert (done.exit_code, value["exit_code"]) == (1, 1)
    assert "the probe is on blue again. executed-there: the run due" in value["error"]


def test_an_interrupted_one_exits_5(aws: FakeClients, run: Command) -> None:
    side(aws, "green").stuck = True
    aws.ssm.puts = []
    done = run("rehearse", "--timeout", "400")
    assert done.exit_code == 5
    assert "To close them: mwaactl rehearse -s fullha" in done.stderr


def test_it_does_not_apply_to_one_environment(
    aws: FakeClients, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deployment, "open", lambda *_: deployment(aws, "standard"))
    assert run("rehearse").exit_code == 2
