"""What the probes of both sides prove, and when a switch stops for lack of a proof."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from bluegreen.proof import PERIODS, PROBE, UNGATED

from lineage_log.log import EVENTS, key_at
from mwaactl.airflow.notes import copied_note
from mwaactl.errors import CheckFailed
from mwaactl.switching.plan import plan
from mwaactl.switching.write import carry_out
from tests.fakes.airflow.probe import SKIPPED, WAITING, FakeProbe, reported
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment, fresh_clients
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import FakeBucket
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, stop_time
from tests.fakes.lineage.events import write_ungated
from tests.fakes.mwaactl.checks import checked, dag_answer, outcome, set_dags
from tests.fakes.timeline import dumped, initial

MINUTE = timedelta(minutes=1)


def probe(aws: FakeClients, name: str) -> FakeProbe:
    return aws.mwaa.probes[name]


def shown(aws: FakeClients, name: str, what: Any, *, until: datetime = START) -> None:
    """What became of that side's probe; of runs due after `until`, what a gate that works makes of them."""
    before = probe(aws, name).shows
    probe(aws, name).shows = lambda due: what if due <= until else before(due)


def test_a_gate_is_proven_by_a_run_that_it_skipped_and_one_that_it_let_run(aws: FakeClients) -> None:
    assert outcome(aws, "gate") == (
        "pass",
        "blue's probe due at 2026-11-23T10:00:00.000Z was executed by dag_policy (settings_module), "
        "version 1; green's probe due at 2026-11-23T10:00:00.000Z was skipped",
    )


@pytest.mark.parametrize("name", [BLUE, GREEN])
def test_a_side_without_a_probe_fails_and_nothing_is_written(name: str, aws: FakeClients) -> None:
    probe(aws, name).there = False
    result, detail = outcome(aws, "gate")
    assert (result, f"it has no run of the DAG {PROBE}" in detail) == ("fail", True)
    assert f"not proven on {name.rpartition('-')[2]}" in detail
    with pytest.raises(CheckFailed, match="gate failed"):
        carry_out(plan(deployment(aws), "green"))
    assert carry_out(plan(deployment(aws), "green", force=["gate"])).changed


@pytest.mark.parametrize(("age", "result"), [(PERIODS * 5, "pass"), (PERIODS * 5 + 1, "fail")])
def test_what_is_older_than_three_periods_proves_nothing(age: int, result: str, aws: FakeClients) -> None:
    probe(aws, GREEN).late = timedelta(minutes=20)
    aws.ssm.clock.now = START + timedelta(minutes=age - 20)
    probe(aws, GREEN).now = lambda: START + timedelta(minutes=20)  # so its newest run was due at START
    aws.ssm.clock.now = START + timedelta(minutes=age)
    found, detail = outcome(aws, "gate")
    assert found == result
    if found == "fail":
        assert "was due at 2026-11-23T10:00:00.000Z, more than 15 minutes ago" in detail


def test_a_shorter_period_makes_a_shorter_memory(aws: FakeClients) -> None:
    from mwaactl.checks.registry import observe_sides, run_checks
    from tests.fakes.aws.clients import standing

    aws.ssm.clock.now = START + 4 * MINUTE
    for minutes, result in ((1, "fail"), (2, "pass")):
        stack = deployment(aws, gate_probe_minutes=minutes)
        checks = run_checks(observe_sides(stack, "green", standing(aws)))
        assert next(check.result for check in checks if check.name == "gate") == result


def test_an_execution_where_the_work_is_not_owned_fails_as_long_as_it_is_remembered(aws: FakeClients) -> None:
    """It fails also if newer runs were skipped: perhaps only some of the processes have no gate."""
    wrong = reported(layer=None, layers=[], mine=False, reason="blue owns it; this is green")
    shown(aws, GREEN, wrong)
    aws.ssm.clock.now = START + 14 * MINUTE
    result, detail = outcome(aws, "gate")
    assert result == "fail"
    assert "green: an execution of its probe: it was executed where it is not owned: blue owns it" in detail
    aws.ssm.clock.now = START + 16 * MINUTE
    assert outcome(aws, "gate")[0] == "pass"


@pytest.mark.parametrize("name", [BLUE, GREEN])
def test_an_execution_that_no_layer_judged_fails_on_the_owner_too(name: str, aws: FakeClients) -> None:
    shown(aws, name, reported(layer=None, layers=[]))
    result, detail = outcome(aws, "gate")
    assert (result, "the gate did not judge it (layers that live in its process: none)" in detail) == (
        "fail",
        True,
    )


def test_an_execution_that_was_right_when_it_was_judged_is_no_fault(aws: FakeClients) -> None:
    """A failover gives the past to the other side; what the old one executed before was judged rightly."""
    shown(aws, GREEN, reported(environment="green"))
    assert outcome(aws, "gate")[0] == "pass"


def test_a_missing_layer_is_a_warning(aws: FakeClients) -> None:
    shown(aws, BLUE, reported(layer="task_policy", layers=["task_policy"]))
    result, detail = outcome(aws, "gate")
    assert (result, "on blue, dag_policy does not live in the process of its task" in detail) == (
        "warn",
        True,
    )


@pytest.mark.parametrize("what", ["running", "queued", "failed", reported(error="AwsError: timed out")])
def test_a_run_that_shows_nothing_proves_nothing(what: Any, aws: FakeClients) -> None:
    shown(aws, BLUE, what)
    result, detail = outcome(aws, "gate")
    assert (result, f"no run of {PROBE} shows it yet" in detail) == ("fail", True)


def test_an_owner_that_skips_its_own_runs_proves_nothing(aws: FakeClients) -> None:
    shown(aws, BLUE, SKIPPED)
    assert outcome(aws, "gate")[0] == "fail"


def test_a_mirror_that_received_the_other_sides_state_was_skipped_here(aws: FakeClients) -> None:
    """`switch --wait` sets it to success; only what was never worked on receives a state."""
    shown(aws, GREEN, "success")
    probe(aws, GREEN).note = copied_note("blue")
    assert outcome(aws, "gate")[0] == "pass"


def test_right_after_a_switch_both_gates_are_still_proven(aws: FakeClients) -> None:
    """By the runs from before it: the way back is open at once."""
    carry_out(plan(deployment(aws), "green"))
    aws.ssm.clock.forward(10)
    assert carry_out(plan(deployment(aws), "blue")).changed


def test_a_paused_probe_says_so(aws: FakeClients) -> None:
    for name, paused in ((BLUE, False), (GREEN, True)):
        set_dags(aws, name, dag_answer("daily"), dag_answer(PROBE, paused=paused))
    result, detail = outcome(aws, "gate")
    assert (result, f"the DAG {PROBE} is paused there: unpause it" in detail) == ("fail", True)


def test_a_side_that_does_not_answer_is_not_proven(aws: FakeClients) -> None:
    aws.mwaa.silence(GREEN)
    result, detail = outcome(aws, "gate")
    assert (result, GREEN in detail) == ("fail", True)


def test_a_successor_that_owns_nothing_is_proven_by_the_task_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The only environment was replaced: without this, nobody could give it the work but by force."""
    aws = fresh_clients("standard")
    stop_time(monkeypatch, aws.ssm.clock)
    former = initial().switched("blue", START - timedelta(days=1), 2)
    former = former.seen_with({"blue": "blue-1"})
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(former)})
    name = "mwaa-openlineage-standard-blue"
    environments = {"blue": {"life": "blue-2"}}
    stack = _replaced(aws, environments)
    probe(aws, name).shows = lambda due: WAITING if due == START else "queued"
    aws.s3.buckets["mwaa-openlineage-standard-lineage"] = FakeBucket()
    for minutes, stops in ((0, True), (1, False)):
        aws.ssm.clock.now = START + timedelta(minutes=minutes)
        checks = {check.name: check for check in plan(stack, "blue").checks}
        assert checks["gate"].stops is stops, checks["gate"].detail


def _replaced(aws: FakeClients, changes: dict[str, dict[str, str]]) -> Any:
    from tests.fakes.aws.clients import outputs

    standard = outputs("standard")["airflow_environments"]
    merged = {colour: {**standard[colour], **more} for colour, more in changes.items()}
    return deployment(aws, "standard", airflow_environments=merged)


# --- executions without a gate ---


def test_an_execution_without_a_gate_stops_a_switch_and_is_named(aws: FakeClients) -> None:
    write_ungated(aws.s3, START - MINUTE)
    result, detail = outcome(aws, "gate")
    assert (result, "executed without a gate: daily.load of r1 on green" in detail) == ("fail", True)
    aws.ssm.clock.now = START + 15 * MINUTE
    assert outcome(aws, "gate")[0] == "pass"


def test_if_the_log_cannot_be_read_that_is_a_warning(aws: FakeClients) -> None:
    aws.s3.lineage.put(UNGATED + key_at(START).removeprefix(EVENTS) + "-1.json.gz", b"no event")
    check = checked(aws)["gate"]
    assert (check.result, "ungated executions are not known" in check.detail) == ("warn", True)


def test_a_log_that_does_not_answer_is_a_warning(aws: FakeClients) -> None:
    aws.s3.error = client_error("AccessDenied", 403)
    assert checked(aws)["gate"].result == "warn"
