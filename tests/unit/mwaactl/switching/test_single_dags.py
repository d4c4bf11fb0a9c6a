"""Moving single DAGs, and moving back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from bluegreen.timeline import Colour

from mwaactl.errors import CheckFailed, LostRace, Unfinished, Unreachable, UsageError
from mwaactl.switching.plan import SwitchPlan, plan, plan_rollback
from mwaactl.switching.write import SwitchResult, carry_out, dry_run
from tests.fakes.aws.clients import LEAD, FakeClients, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP
from tests.fakes.clock import START
from tests.fakes.mwaactl.switches import planned
from tests.fakes.timeline import dumped, initial

LEAD_TIME = timedelta(seconds=LEAD)


def moved(aws: FakeClients, target: Colour, *dags: str, **options: Any) -> SwitchResult:
    """Carry out a switch (of single DAGs, if any are named) and let its lead pass."""
    done = carry_out(planned(aws, target, *dags, **options))
    aws.ssm.clock.forward(60)
    return done


def back(aws: FakeClients, **options: Any) -> SwitchPlan:
    return plan_rollback(deployment(aws), **options)


def description(aws: FakeClients) -> str:
    return str(aws.ssm.stored[OWNERSHIP][-1]["Description"])


# --- single DAGs ---


def test_a_single_dag_moves_by_its_own_decision(aws: FakeClients) -> None:
    done = moved(aws, "green", "daily")
    assert (done.changed, done.dags, done.previous) == (True, ("daily",), "blue")
    assert done.owns_from == START + LEAD_TIME
    timeline = standing(aws)
    assert timeline.owner(START + LEAD_TIME, "daily") == "green"
    assert timeline.owner(START + LEAD_TIME - timedelta(microseconds=1), "daily") == "blue"
    assert timeline.owner(aws.ssm.clock.now) == timeline.owner(aws.ssm.clock.now, "hourly") == "blue"
    assert json.loads(aws.ssm.values()[-1])["base_version"] == 1
    assert description(aws) == "mwaactl switch green, only daily"


def test_a_single_dag_leaves_the_plain_parameter_alone_even_if_it_is_wrong(aws: FakeClients) -> None:
    aws.ssm.store({"Name": ACTIVE, "Value": "elsewhere"})
    moved(aws, "green", "daily")
    moved(aws, "green", "daily")
    assert aws.ssm.values(ACTIVE)[-1] == "elsewhere"


def test_a_single_dag_that_is_there_already_changes_nothing(aws: FakeClients) -> None:
    moved(aws, "green", "daily")
    again = moved(aws, "green", "daily", "daily")
    assert (again.changed, again.checks, again.owns_from) == (False, (), START + LEAD_TIME)
    assert not moved(aws, "blue", "hourly").changed, "it goes with the common line"
    assert len(aws.ssm.values()) == 2


def test_only_the_dags_that_are_not_there_yet_are_decided_anew(aws: FakeClients) -> None:
    moved(aws, "green", "daily", lead=600)
    done = moved(aws, "green", "daily", "hourly")
    line = standing(aws).dags
    assert [entry.version for entry in line["daily"]] == [2], "its later begin stays"
    assert [entry.version for entry in line["hourly"]] == [3]
    assert done.owns_from == line["hourly"][-1].since
    assert description(aws) == "mwaactl switch green, only hourly"
    assert moved(aws, "green", "daily", "hourly").owns_from == START + timedelta(seconds=600), "all of them"


def test_a_single_dag_goes_back_by_its_own_decision(aws: FakeClients) -> None:
    moved(aws, "green", "daily")
    done = moved(aws, "blue", "daily")
    assert (done.changed, done.previous) == (True, "green")
    assert standing(aws).owner(aws.ssm.clock.now, "daily") == "blue"


def test_a_single_dag_can_stay_behind_a_full_switch(aws: FakeClients) -> None:
    moved(aws, "green")
    moved(aws, "blue", "daily")
    timeline = standing(aws)
    assert (timeline.owner(aws.ssm.clock.now, "daily"), timeline.owner(aws.ssm.clock.now)) == (
        "blue",
        "green",
    )
    assert aws.ssm.values(ACTIVE)[-1] == "green"


def test_a_full_switch_after_a_canary_takes_the_rest_along(aws: FakeClients) -> None:
    moved(aws, "green", "daily")
    assert moved(aws, "green").changed
    owners = {standing(aws).owner(aws.ssm.clock.now, dag_id) for dag_id in (None, "daily", "hourly")}
    assert owners == {"green"}


def test_a_dags_own_decision_is_overruled_by_a_later_full_switch(aws: FakeClients) -> None:
    moved(aws, "green", "daily")
    assert moved(aws, "blue").changed, "it brings the canary back"
    assert not moved(aws, "blue").changed
    assert moved(aws, "green", "daily").changed, "the earlier decision counts no more"
    assert standing(aws).owner(aws.ssm.clock.now, "daily") == "green"


def test_a_dag_unlike_on_the_two_sides_stops_its_move_unless_forced(aws: FakeClients) -> None:
    with pytest.raises(CheckFailed, match="moving-dags"):
        moved(aws, "green", "typo")
    assert len(aws.ssm.values()) == 1
    moved(aws, "green", "typo", force=["moving-dags"])
    assert description(aws) == "mwaactl switch green, only typo [forced: moving-dags]"


def test_a_dry_run_of_a_single_dag_writes_nothing(aws: FakeClients) -> None:
    seen = dry_run(planned(aws, "green", "daily"))
    assert (seen.changed, seen.dags, seen.owns_from) == (True, ("daily",), None)
    assert len(aws.ssm.values()) == 1


def test_a_move_that_someone_overtook_is_a_lost_race(aws: FakeClients) -> None:
    mine = planned(aws, "green", "daily")
    moved(aws, "green", "hourly")
    with pytest.raises(LostRace):
        carry_out(mine)
    assert set(standing(aws).dags) == {"hourly"}


def test_more_dags_than_the_parameter_has_room_for_are_moved_all_the_same(aws: FakeClients) -> None:
    many = [f"a_dag_with_a_rather_long_name_{number}" for number in range(150)]
    moved(aws, "green", *many, force=["moving-dags"])
    assert len(aws.ssm.values()[-1]) < 300, "what is decided stands in an object"
    assert {standing(aws).newest(name).owner for name in many} == {"green"}


def test_an_object_that_cannot_be_stored_stops_the_command_before_anything_is_written(
    aws: FakeClients,
) -> None:
    many = [f"a_dag_with_a_rather_long_name_{number}" for number in range(150)]
    aws.s3.error = client_error("AccessDenied", 403)
    with pytest.raises(Unreachable, match="nothing was written: access denied"):
        moved(aws, "green", *many, force=["moving-dags"])
    assert len(aws.ssm.values()) == 1


def test_an_empty_list_of_dags_is_not_taken_for_all_of_them(aws: FakeClients) -> None:
    with pytest.raises(UsageError, match="dags is empty"):
        plan(deployment(aws), "green", dags=[])


# --- rollback ---


def test_a_rollback_is_a_new_switch_back(aws: FakeClients) -> None:
    first = moved(aws, "green")
    done = carry_out(back(aws), reason="too slow")
    assert (done.target, done.previous, done.changed, done.rollback) == ("blue", "green", True, True)
    assert done.owns_from == aws.ssm.clock.now + LEAD_TIME
    timeline = standing(aws)
    assert first.owns_from is not None
    assert timeline.owner(first.owns_from) == "green", "history stays"
    assert timeline.owner(done.owns_from) == "blue"
    assert aws.ssm.values(ACTIVE) == ["blue", "green", "blue"]
    assert description(aws) == "mwaactl rollback to blue: too slow"


def test_a_second_rollback_leads_forward_again(aws: FakeClients) -> None:
    moved(aws, "green")
    carry_out(back(aws))
    aws.ssm.clock.forward(60)
    assert back(aws).target == "green"


def test_a_rollback_of_a_switch_that_has_not_begun_leaves_no_green_run(aws: FakeClients) -> None:
    carry_out(planned(aws, "green", lead=60))
    carry_out(back(aws))
    assert {standing(aws).owner(START + timedelta(seconds=s)) for s in (0, 30, 60, 3600)} == {"blue"}
    with pytest.raises(UsageError, match=r"no switch to roll back: .* before blue"):
        back(aws)


def test_without_a_switch_there_is_nothing_to_roll_back(aws: FakeClients) -> None:
    with pytest.raises(
        UsageError, match=r"no switch to roll back: .* before blue.*mwaactl switch blue -s fullha"
    ):
        back(aws)
    moved(aws, "green", "daily")
    with pytest.raises(UsageError, match="no switch to roll back"):
        back(aws)


def test_a_rollback_takes_single_dags_along(aws: FakeClients) -> None:
    moved(aws, "green")
    moved(aws, "blue", "daily")
    moved(aws, "green", "daily")
    done = carry_out(back(aws))
    assert done.owns_from is not None
    assert standing(aws).owner(done.owns_from, "daily") == "blue"


def test_a_rollback_goes_by_what_stands_below_a_stale_value(aws: FakeClients) -> None:
    moved(aws, "green")
    aws.ssm.store({"Name": OWNERSHIP, "Value": dumped(initial())})
    assert back(aws).target == "blue"


def test_a_rollback_has_the_checks_and_options_of_a_switch(aws: FakeClients) -> None:
    moved(aws, "green")
    aws.mwaa.environments["mwaa-openlineage-fullha-blue"]["Status"] = "UPDATING"
    with pytest.raises(CheckFailed, match="target-available"):
        carry_out(back(aws))
    assert dry_run(back(aws)).owns_from is None
    assert len(aws.ssm.values()) == 2
    done = carry_out(back(aws, force=["target-available"], lead=30))
    assert done.owns_from == aws.ssm.clock.now + timedelta(seconds=30)
    assert description(aws) == "mwaactl rollback to blue [forced: target-available]"
    with pytest.raises(UsageError, match="there is no check"):
        back(aws, force=["nothing"])


def test_a_rollback_to_an_environment_that_is_gone_is_refused(aws: FakeClients) -> None:
    moved(aws, "green")
    moved(aws, "blue")
    with pytest.raises(UsageError, match="no green environment"):
        plan_rollback(deployment(aws, "standard"))


def test_a_rollback_with_an_unknown_outcome_is_repeated_by_naming_the_target(aws: FakeClients) -> None:
    moved(aws, "green")
    aws.ssm.puts = ["late", "late"]
    with pytest.raises(Unfinished, match="Repeat this rollback with `mwaactl switch blue -s fullha`"):
        carry_out(back(aws))
    aws.ssm.deliver()
    assert not moved(aws, "blue").changed
    assert aws.ssm.values(ACTIVE)[-1] == "blue"


def test_two_rollbacks_at_once_do_not_cancel_each_other(aws: FakeClients) -> None:
    moved(aws, "green")
    one, other = back(aws), back(aws)
    carry_out(one)
    with pytest.raises(LostRace, match="mwaactl switch blue"):
        carry_out(other)
    assert standing(aws).owner(aws.ssm.clock.now + LEAD_TIME) == "blue"
