"""The switch as a Python API: what it writes, and what it does when the write goes wrong."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from bluegreen.document import Document, latest_valid
from bluegreen.timeline import Colour, Timeline
from botocore.exceptions import EndpointConnectionError

from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, Unusable, UsageError
from mwaactl.ownership import parameter
from mwaactl.ownership.parameter import Ownership
from mwaactl.ownership.reading import newest_owner
from mwaactl.switching.plan import SwitchPlan, plan
from mwaactl.switching.write import SwitchResult, carry_out, dry_run
from tests.fakes.aws.clients import LEAD, FakeClients, deployment, fresh_clients, standing
from tests.fakes.aws.errors import Killed, client_error
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP
from tests.fakes.clock import START, stop_time
from tests.fakes.timeline import dumped, initial, parsed

LEAD_TIME = timedelta(seconds=LEAD)
GREEN = "mwaa-openlineage-fullha-green"


def planned(aws: FakeClients, target: Colour = "green", mode: str = "fullha", **options: Any) -> SwitchPlan:
    return plan(deployment(aws, mode), target, **options)


def switched(aws: FakeClients, target: Colour = "green", reason: str = "", **options: Any) -> SwitchResult:
    return carry_out(planned(aws, target, **options), reason=reason)


def test_the_target_owns_from_now_plus_the_lead(aws: FakeClients) -> None:
    done = switched(aws, reason="upgrade")
    assert done.changed
    assert done.owns_from == START + LEAD_TIME
    timeline = standing(aws)
    assert timeline.owner(START + LEAD_TIME) == "green"
    assert timeline.owner(START + LEAD_TIME - timedelta(microseconds=1)) == "blue"
    assert json.loads(aws.ssm.values()[-1])["base_version"] == 1
    assert aws.ssm.values(ACTIVE) == ["blue", "green"]
    assert aws.ssm.stored[OWNERSHIP][-1]["Description"] == "mwaactl switch green: upgrade"


def test_a_longer_lead_is_taken_and_a_shorter_one_raised(aws: FakeClients) -> None:
    assert switched(aws, lead=60).owns_from == START + timedelta(seconds=60)
    back = switched(aws, "blue", lead=0)
    assert back.owns_from == aws.ssm.clock.now + LEAD_TIME
    assert any("lead raised to 5 s" in note for note in back.notes)


def test_a_switch_to_the_owner_changes_nothing(aws: FakeClients) -> None:
    switched(aws)
    before = [*aws.ssm.values(), *aws.ssm.values(ACTIVE)]
    again = switched(aws)
    assert not again.changed
    assert again.checks == ()
    assert again.owns_from == START + LEAD_TIME
    assert [*aws.ssm.values(), *aws.ssm.values(ACTIVE)] == before


def test_a_switch_back_before_the_first_one_began_leaves_no_green_run_behind(aws: FakeClients) -> None:
    switched(aws, lead=60)
    aws.ssm.clock.forward(1)
    switched(aws, "blue")
    assert {standing(aws).owner(START + timedelta(seconds=s)) for s in (0, 30, 60, 3600)} == {"blue"}
    assert aws.ssm.values(ACTIVE)[-1] == "blue"


def test_a_dry_run_writes_nothing(aws: FakeClients) -> None:
    seen = dry_run(planned(aws))
    assert seen.changed
    assert seen.owns_from is None
    assert len(aws.ssm.values()) == len(aws.ssm.values(ACTIVE)) == 1


def test_a_failed_check_stops_before_anything_is_written(aws: FakeClients) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    with pytest.raises(CheckFailed, match="target-available"):
        switched(aws)
    assert len(aws.ssm.values()) == 1


def test_a_target_that_somebody_began_to_update_since_the_checks_gets_no_work(aws: FakeClients) -> None:
    mine, forced = planned(aws), planned(aws, force=["target-available"])
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    with pytest.raises(
        CheckFailed, match=r"nothing was written: since the checks, .*green has become UPDATING"
    ):
        carry_out(mine)
    assert len(aws.ssm.values()) == 1
    assert carry_out(forced).changed


def test_a_forced_check_is_recorded_in_the_history(aws: FakeClients) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "UPDATING"
    switched(aws, force=["target-available"], reason="x" * 2000)
    description = aws.ssm.stored[OWNERSHIP][-1]["Description"]
    assert description.startswith("mwaactl switch green [forced: target-available]: xxx")
    assert len(description) == 1024, "SSM's limit"


def test_a_check_that_passes_is_not_called_forced(aws: FakeClients) -> None:
    switched(aws, force=["same-dags"])
    assert "forced" not in aws.ssm.stored[OWNERSHIP][-1]["Description"]


def test_forcing_an_unknown_check_names_the_checks(aws: FakeClients) -> None:
    with pytest.raises(UsageError, match="same-dags"):
        planned(aws, force=["everything"])


def test_a_single_mode_names_the_command_that_adds_green(aws: FakeClients) -> None:
    with pytest.raises(UsageError, match="pulumi config set enable_blue_green true -s standard"):
        planned(aws, mode="standard")


def test_someone_who_wrote_after_the_checks_is_not_overwritten(aws: FakeClients) -> None:
    mine = planned(aws)
    theirs = planned(aws)
    carry_out(theirs)
    with pytest.raises(LostRace, match="since the checks: green"):
        carry_out(mine)
    assert len(aws.ssm.values()) == 2


def meanwhile(aws: FakeClients, value: str) -> None:
    """Let another writer's value arrive just before our next put."""

    def other(operation: str) -> None:
        if operation == "put":
            aws.ssm.before = lambda _: None
            aws.ssm.store({"Name": OWNERSHIP, "Value": value, "User": "arn:aws:iam::1:user/bob"})

    aws.ssm.before = other


def test_a_lost_race_leaves_the_winner_standing(aws: FakeClients) -> None:
    since = START + timedelta(seconds=20)
    meanwhile(aws, dumped(initial().switched("green", since, 2)))
    aws.ssm.store({"Name": ACTIVE, "Value": "elsewhere"})
    with pytest.raises(
        LostRace, match=r"version 2 was written first, by arn:aws:iam::1:user/bob.*green owns"
    ):
        switched(aws)
    assert standing(aws).owner(since) == "green"
    assert standing(aws).owner(since - timedelta(seconds=1)) == "blue"
    top = parsed(aws.ssm.values()[-1])
    assert top.base_version == len(aws.ssm.values()) - 1, "the loser puts the winner's decision on top again"
    assert aws.ssm.values(ACTIVE)[-1] == "elsewhere", "the loser decides nothing"


def test_a_stale_value_on_top_counts_for_nothing_and_is_covered_by_the_next_command(aws: FakeClients) -> None:
    switched(aws)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(initial())})  # as a stale `pulumi up` would
    assert newest_owner(standing(aws)) == "green"
    again = switched(aws)
    assert not again.changed
    assert any("invalid" in note for note in again.notes)
    top = parsed(aws.ssm.values()[-1])
    assert (top.base_version, newest_owner(top)) == (3, "green")


def test_a_switch_goes_on_from_what_stands_below_a_stale_value(aws: FakeClients) -> None:
    first = switched(aws)
    aws.ssm.store({"Name": OWNERSHIP, "Value": "not even JSON"})
    aws.ssm.clock.forward(100)
    back = switched(aws, "blue")
    assert back.version == 4
    timeline = standing(aws)
    assert first.owns_from is not None
    assert timeline.owner(first.owns_from) == "green"
    assert timeline.owner(aws.ssm.clock.now + LEAD_TIME) == "blue"


def test_a_put_whose_answer_was_lost_is_found_by_reading_back(aws: FakeClients) -> None:
    aws.ssm.puts = ["unanswered"]
    done = switched(aws)
    assert done.changed
    assert done.version == 2
    assert len(aws.ssm.values()) == 2, "it is not sent again"
    assert aws.ssm.values(ACTIVE)[-1] == "green"


def test_a_put_that_did_not_arrive_can_no_longer_count(aws: FakeClients) -> None:
    aws.ssm.puts = ["late"]
    with pytest.raises(Unreachable, match="was not written: the put was not answered"):
        switched(aws)
    aws.ssm.clock.forward(60)
    aws.ssm.deliver()
    assert newest_owner(standing(aws)) == "blue"
    assert switched(aws).changed


def test_a_put_whose_place_was_taken_by_a_put_that_was_not_answered_either_says_by_what(
    aws: FakeClients,
) -> None:
    aws.ssm.puts = ["late", "unanswered"]
    with pytest.raises(
        LostRace, match=r"written first, by .*the standing decisions, put back on top.* blue owns"
    ):
        switched(aws)
    aws.ssm.deliver()
    assert newest_owner(standing(aws)) == "blue"


def test_a_put_that_arrives_before_its_place_is_taken_counts(
    aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.ssm.puts = ["late"]
    real = aws.ssm.put_parameter

    def overtaken(**request: Any) -> Any:
        if aws.ssm.late:
            aws.ssm.deliver()
        return real(**request)

    monkeypatch.setattr(aws.ssm, "put_parameter", overtaken)
    done = switched(aws)
    assert (done.version, done.notes) == (2, ())
    assert done.owns_from is not None
    assert standing(aws).owner(done.owns_from) == "green"
    top = aws.ssm.stored[OWNERSHIP][-1]
    assert latest_valid([(top["Value"], top["Version"], START)]), "readers need no history"


def test_a_put_that_may_have_arrived_though_the_history_does_not_show_it_yet_is_not_called_void(
    aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.ssm.puts = ["unanswered"]
    monkeypatch.setattr(Ownership, "versions", lambda ownership: [])
    with pytest.raises(Unfinished, match="unknown whether it was written"):
        switched(aws)
    assert newest_owner(standing(aws)) == "green"


def test_a_put_that_cannot_be_found_nor_kept_from_counting_is_reported_as_not_known(aws: FakeClients) -> None:
    aws.ssm.puts = ["late", "late"]
    with pytest.raises(Unfinished, match="unknown whether it was written"):
        switched(aws)


def test_a_command_that_was_held_up_just_before_the_put_writes_nothing(
    aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = parameter.dump

    def slept(timeline: Timeline, now: datetime) -> Document:
        aws.ssm.clock.forward(1.5)
        return dump(timeline, now)

    monkeypatch.setattr(parameter, "dump", slept)
    with pytest.raises(Unreachable, match="held up just before"):
        switched(aws)
    assert len(aws.ssm.values()) == 1


def test_a_late_put_counts_from_its_arrival_plus_the_lead(aws: FakeClients) -> None:
    aws.ssm.puts = ["late", "late"]
    with pytest.raises(Unfinished):
        switched(aws)
    aws.ssm.clock.forward(60)
    aws.ssm.deliver()
    arrived = aws.ssm.clock.now
    assert standing(aws).owner(arrived) == "blue"
    assert standing(aws).owner(arrived + LEAD_TIME) == "green"
    assert switched(aws).owns_from == arrived + LEAD_TIME


def test_repeating_after_an_unknown_outcome_makes_the_late_put_invalid(aws: FakeClients) -> None:
    aws.ssm.puts = ["late", "late"]
    with pytest.raises(Unfinished):
        switched(aws)
    done = switched(aws)
    aws.ssm.clock.forward(60)
    aws.ssm.deliver()
    aws.ssm.deliver()
    assert done.owns_from is not None
    assert standing(aws).owner(done.owns_from) == "green"
    assert newest_owner(standing(aws)) == "green"
    assert parsed(aws.ssm.values()[-1]).base_version == 1, "on top, and not valid"


def test_an_unanswered_put_behind_another_writer_is_a_lost_race(aws: FakeClients) -> None:
    aws.ssm.puts = ["late"]
    meanwhile(aws, dumped(initial().switched("green", START + timedelta(seconds=20), 2)))
    with pytest.raises(LostRace, match="bob"):
        switched(aws)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EndpointConnectionError(endpoint_url="https://ssm"), "was not written: not reachable"),
        (client_error("ExpiredTokenException"), "was not written: the AWS credentials have expired"),
        (client_error("AccessDeniedException"), "was not written: access denied"),
    ],
)
def test_a_put_that_was_refused_says_that_nothing_was_written(
    aws: FakeClients, error: Exception, told: str
) -> None:
    aws.ssm.puts = [error]
    with pytest.raises(Unreachable, match=told):
        switched(aws)
    assert len(aws.ssm.values()) == 1


def test_a_server_error_of_the_put_is_an_unknown_outcome(aws: FakeClients) -> None:
    aws.ssm.puts = [client_error("InternalServerError", 500)] * 2
    with pytest.raises(Unfinished):
        switched(aws)


def test_concurrent_updates_refused_by_ssm_are_a_lost_race(aws: FakeClients) -> None:
    aws.ssm.puts = [client_error("TooManyUpdates")]
    with pytest.raises(LostRace, match="nothing was written"):
        switched(aws)


def test_the_plain_parameter_that_could_not_be_written_is_written_by_the_same_command(
    aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = aws.ssm.put_parameter

    def refuse(**request: Any) -> Any:
        if request["Name"] == ACTIVE:
            raise client_error("AccessDeniedException")
        return real(**request)

    monkeypatch.setattr(aws.ssm, "put_parameter", refuse)
    with pytest.raises(Unfinished, match="green owns the work, but"):
        switched(aws)
    monkeypatch.setattr(aws.ssm, "put_parameter", real)
    assert not switched(aws).changed
    assert aws.ssm.values(ACTIVE) == ["blue", "green"]


@pytest.mark.parametrize("seconds", [60, -60])
def test_a_wrong_clock_is_corrected_by_awss(aws: FakeClients, seconds: float) -> None:
    aws.ssm.skew = timedelta(seconds=seconds)
    done = switched(aws)
    assert done.owns_from is not None
    late = done.owns_from - (START + aws.ssm.skew + LEAD_TIME)
    assert timedelta(0) <= late <= timedelta(seconds=1), "AWS tells its time in whole seconds"
    assert any("AWS's time is used" in note for note in done.notes)


def test_a_small_difference_of_the_clocks_is_left_alone(aws: FakeClients) -> None:
    aws.ssm.skew = timedelta(seconds=2)
    done = switched(aws)
    assert done.owns_from == START + aws.ssm.skew + LEAD_TIME, "by when AWS took it, as the readers see it"
    assert done.notes == ()


def killed_at(aws: FakeClients, call: int, **options: Any) -> bool:
    """Run a switch that is killed just before its `call`th call to AWS; False if it made fewer."""
    calls = 0

    def count(operation: str) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed

    aws.ssm.before = count
    try:
        switched(aws, **options)
    except Killed:
        return True
    finally:
        aws.ssm.before = lambda _: None
    return False


@pytest.mark.parametrize(("dags", "plain"), [(None, "green"), (["daily"], "blue")])
def test_a_command_killed_at_any_call_is_finished_by_the_same_command(
    monkeypatch: pytest.MonkeyPatch, dags: list[str] | None, plain: str
) -> None:
    ends = set()
    for call in range(1, 100):
        aws = fresh_clients()
        stop_time(monkeypatch, aws.ssm.clock)
        if not killed_at(aws, call, dags=dags):
            break
        aws.ssm.clock.forward(30)
        done = switched(aws, dags=dags)
        ends.add(done.changed)
        assert newest_owner(standing(aws), "daily") == "green"
        assert newest_owner(standing(aws)) == aws.ssm.values(ACTIVE)[-1] == plain
        assert len(aws.ssm.values()) == 2, "one decision, whichever of the two commands wrote it"
    assert call > 4
    assert ends == {True, False}, "killed before the write, and after it"


def test_a_missing_parameter_says_how_to_create_it(aws: FakeClients) -> None:
    del aws.ssm.stored[OWNERSHIP]
    with pytest.raises(Unusable, match="pulumi refresh"):
        planned(aws)


def test_a_parameter_without_a_valid_version_is_refused(aws: FakeClients) -> None:
    aws.ssm.stored[OWNERSHIP] = []
    aws.ssm.store({"Name": OWNERSHIP, "Value": "rubbish"})
    with pytest.raises(Unusable, match="version 1"):
        planned(aws)


def test_a_full_switch_takes_a_dag_along_that_was_moved_alone(aws: FakeClients) -> None:
    moved = initial().dag_moved("daily", "green", START, 2)
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(moved)})
    aws.ssm.clock.forward(60)
    done = switched(aws, "blue")
    assert done.changed, "blue owns the common line, but not every DAG"
    assert done.owns_from is not None
    assert standing(aws).owner(done.owns_from, "daily") == "blue"


# --- lives ---


def test_the_only_environment_takes_over_from_its_former_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was replaced by hand, so nothing owns the work and its tasks fail with this command."""
    aws = fresh_clients("standard")
    stop_time(monkeypatch, aws.ssm.clock)
    former = Timeline.initial("blue", "blue-0")
    aws.ssm.stored[OWNERSHIP][-1]["Value"] = dumped(former)
    result = carry_out(plan(deployment(aws, "standard"), "blue"))
    assert (result.changed, result.previous) == (True, None)
    aws.ssm.clock.forward(60)
    timeline = standing(aws)
    assert timeline.owner(aws.ssm.clock.now) == "blue"
    assert timeline.owner(START - timedelta(days=1)) is None, "nobody knows what the former life executed"
