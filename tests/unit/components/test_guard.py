"""The guard of the environment that owns work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pytest
from bluegreen.document import dump
from bluegreen.timeline import COLOURS, EPOCH, Colour, Reading, Timeline

from components.airflow.definition import PLUGINS
from components.guard import (
    READ_ATTEMPTS,
    Touch,
    Work,
    interruption,
    previous_outputs,
    touched_environments,
    violations,
    work_of,
)
from components.left_alone import VARIABLE
from mwaactl.rollout import engine
from tests.fakes.pulumi_mocks import PROJECT, Deployment, EngineError, deploy, run
from tests.fakes.timeline import LIVES, initial

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
INITIAL = initial()
DEPLOYED = {"max_workers": "5", PLUGINS: "sha256:1"}


def environments(**colours: Mapping[str, Any]) -> dict[Colour, Any]:
    """Environments with these identities, all deployed alike."""
    return {
        colour: {"identity": dict(identity), "deployed": dict(DEPLOYED)}
        for colour, identity in colours.items()
        if colour in COLOURS
    }


def updated(**changes: str) -> dict[str, Any]:
    return {"identity": {"name": "b"}, "deployed": {**DEPLOYED, **changes}}


# Which environments a change touches


def test_an_environment_that_stays_as_it_is_is_not_touched() -> None:
    # Numbers come back from the engine as floats.
    assert touched_environments(environments(blue={"major": 3.0}), environments(blue={"major": 3})) == {}


def test_an_environment_that_is_no_longer_planned_is_removed() -> None:
    previous = environments(blue={"name": "b"}, green={"name": "g"})
    assert touched_environments(previous, environments(blue={"name": "b"})) == {"green": Touch("removed")}


def test_a_changed_identity_is_a_replacement_that_says_what_changed() -> None:
    touched = touched_environments(
        environments(blue={"airflow_major": 2.0, "vpc_cidr": "10.0.0.0/16"}),
        environments(blue={"airflow_major": 3, "vpc_cidr": "10.0.0.0/16"}),
    )
    assert {colour: str(touch) for colour, touch in touched.items()} == {
        "blue": "replaced (airflow_major 2 -> 3)"
    }


def test_a_changed_argument_is_an_update_that_says_what_changed() -> None:
    touched = touched_environments(
        environments(blue={"name": "b"}),
        {"blue": updated(max_workers="9", **{PLUGINS: "sha256:2", "options.x.y": "z" * 40, "added": "1"})},
    )
    # Digests and long texts tell nobody anything.
    assert str(touched["blue"]) == ("updated (added None -> 1, max_workers 5 -> 9, options.x.y, plugins.zip)")


def test_an_argument_that_is_no_longer_given_is_an_update() -> None:
    planned: dict[Colour, Any] = {"blue": {"identity": {"name": "b"}, "deployed": {}}}
    touched = touched_environments(environments(blue={"name": "b"}), planned)
    assert touched["blue"].what == "updated"


def test_a_replacement_counts_more_than_an_update() -> None:
    touched = touched_environments(environments(blue={"name": "before"}), {"blue": updated(max_workers="9")})
    assert str(touched["blue"]) == "replaced (name before -> b)"


def test_the_first_deployment_touches_nothing() -> None:
    assert touched_environments({}, environments(blue={"name": "b"})) == {}


# Who has work


def work_in(timeline: Timeline, lives: Mapping[Colour, str] = LIVES) -> Work:
    return work_of(Reading(timeline, timeline.base_version + 1, NOW), lives, NOW)


def test_at_first_blue_owns_all() -> None:
    assert work_in(INITIAL) == Work(frozenset({"blue"}), {})


def test_until_it_has_drained_the_source_has_work() -> None:
    switched = INITIAL.switched("green", NOW - HOUR, 2, known=())
    assert work_in(switched) == Work(frozenset({"green"}), {"blue": "green"})
    closing = switched.with_books("blue", {}, 3, closed=False)
    assert work_in(closing) == Work(frozenset({"green"}), {"blue": "green"})
    closed = switched.with_books("blue", {}, 3, closed=True)
    assert work_in(closed) == Work(frozenset({"green"}), {})


def test_until_a_planned_switch_both_own() -> None:
    planned = INITIAL.switched("green", NOW + HOUR, 2)
    assert work_in(planned) == Work(frozenset({"blue", "green"}), {"blue": "green"})


def test_within_the_lead_of_a_switch_both_own() -> None:
    just_now = INITIAL.switched("green", NOW - timedelta(seconds=1), 2)
    assert work_in(just_now).owners == {"blue", "green"}
    longer = Timeline.initial("blue", "blue-1", timedelta(minutes=1)).seen_with(LIVES)
    assert work_in(longer.switched("green", NOW - timedelta(seconds=50), 2)).owners == {"blue", "green"}


def test_back_before_the_drain_only_the_books_of_the_other_side_matter() -> None:
    back = INITIAL.switched("green", NOW - HOUR, 2).switched("blue", NOW - HOUR / 2, 3)
    assert work_in(back) == Work(frozenset({"blue"}), {"green": "blue"})


def test_a_single_dag_on_the_other_side_owns_too_and_is_waited_for_by_name() -> None:
    canary = INITIAL.dag_moved("b", "green", NOW - HOUR, 2).dag_moved("a", "green", NOW - HOUR, 3)
    assert work_in(canary) == Work(frozenset({"blue", "green"}), {"blue": "green --dag a --dag b"})


def test_a_held_dag_that_followed_the_switch_is_waited_for_with_all() -> None:
    switched = INITIAL.switched("green", NOW - HOUR, 2).dag_moved("etl", "blue", NOW - HOUR, 2)
    moved = switched.dag_moved("etl", "green", NOW - HOUR / 2, 3)
    assert work_in(moved).open_books["blue"] == "green"


def test_an_owner_whose_life_is_over_owns_nothing() -> None:
    assert work_in(INITIAL, {**LIVES, "blue": "blue-2"}).owners == frozenset()


# What to do about it


REMOVED, REPLACED, UPDATED = Touch("removed"), Touch("replaced", ("x",)), Touch("updated", ("y",))
BOTH: tuple[Colour, ...] = ("blue", "green")


def work(*owners: Colour, **open_books: str) -> Work:
    return Work(frozenset(owners), {colour: open_books[colour] for colour in COLOURS if colour in open_books})


def refused(touched: Mapping[Colour, Touch], work: Work, existing: Sequence[Colour] = BOTH) -> list[str]:
    return list(violations(touched, work, existing, "s", upgrades={}))


def commands(lines: Iterable[str]) -> list[str]:
    return [line.strip() for line in lines if line.startswith("  ")]


@pytest.mark.parametrize("touch", [REMOVED, REPLACED, UPDATED], ids=str)
def test_a_standby_with_closed_books_may_be_touched(touch: Touch) -> None:
    assert refused({"green": touch}, work("blue")) == []


@pytest.mark.parametrize("touch", [REMOVED, REPLACED, UPDATED], ids=str)
def test_an_environment_with_open_books_may_not_be_touched_in_any_way(touch: Touch) -> None:
    lines = refused({"green": touch}, work("blue", green="blue"))
    assert lines[0].startswith(f"green would be {touch}, and its books are not closed")
    assert commands(lines)[2:] == ["mwaactl failover blue -s s"], "it may have died"
    assert commands(lines)[:2] == ["mwaactl switch blue --wait -s s", "pulumi up -s s"]


def test_an_owner_with_open_books_may_not_be_updated_either() -> None:
    lines = refused({"blue": UPDATED}, work("blue", blue="blue"))
    assert commands(lines)[:2] == ["mwaactl switch blue --wait -s s", "pulumi up -s s"]


def test_until_a_planned_switch_the_command_names_the_new_owner() -> None:
    lines = refused({"blue": UPDATED}, work("blue", "green", blue="green"))
    assert commands(lines)[0] == "mwaactl switch green --wait -s s"


def test_open_books_of_one_side_do_not_hinder_the_other() -> None:
    assert refused({"blue": UPDATED}, work("blue", green="blue")) == []


@pytest.mark.parametrize("touch", [REMOVED, REPLACED], ids=str)
def test_the_owner_may_not_go_and_the_commands_are_named(touch: Touch) -> None:
    lines = refused({"green": touch}, work("green"))
    assert lines[0] == f"green owns work and would be {touch}."
    assert commands(lines)[:2] == ["mwaactl switch blue --wait -s s", "pulumi up -s s"]


def test_without_another_environment_one_is_to_be_added_first() -> None:
    lines = refused({"blue": REPLACED}, work("blue"), ["blue"])
    assert commands(lines) == [
        "pulumi config set enable_blue_green true -s s",
        "pulumi up -s s",
        "mwaactl switch green --wait -s s",
    ]


def test_a_change_of_both_is_to_be_made_one_by_one() -> None:
    lines = refused({"blue": REPLACED, "green": REPLACED}, work("blue"))
    assert "green cannot take over, because it would be replaced (x)" in lines[1]


def interrupted(existing: Sequence[Colour], planned: Sequence[Colour]) -> list[str]:
    return list(interruption("blue", UPDATED, "s", existing, planned, tasks="ends its tasks"))


def test_an_update_of_the_owner_is_said_with_the_rollout_that_avoids_it() -> None:
    lines = interrupted(BOTH, BOTH)
    assert lines[0] == "blue owns work and would be updated (y)."
    assert "20-30 minutes" in lines[1]
    assert "and it ends its tasks." in lines[1]
    assert commands(lines) == ["mwaactl rollout -s s"]


def test_an_update_of_the_only_environment_names_the_second() -> None:
    lines = interrupted(["blue"], ["blue"])
    assert "undo the change" in lines[2]
    assert commands(lines) == [
        "pulumi config set enable_blue_green true -s s",
        "pulumi up -s s",
        "mwaactl rollout -s s",
    ]


def test_an_update_with_a_second_environment_that_comes_names_the_order() -> None:
    lines = interrupted(["blue"], BOTH)
    assert "undo the change" in lines[2]
    assert commands(lines) == ["pulumi up -s s", "mwaactl rollout -s s"], "the setting is there"


def test_an_update_with_a_second_environment_that_goes_names_the_order() -> None:
    assert commands(interrupted(BOTH, ["blue"])) == [
        "pulumi config set enable_blue_green true -s s",
        "mwaactl rollout --return -s s",
        "pulumi config set enable_blue_green false -s s",
        "pulumi up -s s",
    ]


def test_an_owner_is_not_replaced_while_the_other_goes() -> None:
    lines = refused({"blue": REPLACED, "green": REMOVED}, work("blue"))
    assert commands(lines)[:2] == [
        "pulumi config set enable_blue_green true -s s",
        "mwaactl rollout --return -s s",
    ]


# What the stack has


BUSY = "failed to load checkpoint: EOF"  # what the engine answers while a file backend writes the state


def read(answers: list[dict[str, Any] | None]) -> Mapping[str, Any]:
    """`previous_outputs` where the engine answers one after the other; None: it is busy."""
    outputs_read: list[Mapping[str, Any]] = []

    def answer(args: Mapping[str, Any]) -> dict[str, Any]:
        assert args["name"] == f"organization/{PROJECT}/test"
        given = answers.pop(0)
        if given is None:
            raise EngineError(BUSY)
        return given

    run(
        lambda: outputs_read.append(previous_outputs()),
        invokes={"pulumi:pulumi:readStackOutputs": answer},
    )
    return outputs_read[0]


def test_the_stacks_own_outputs_are_asked_of_the_engine() -> None:
    assert read([{"outputs": {"mode": "fullha"}}]) == {"mode": "fullha"}


def test_a_state_that_is_being_written_is_read_again() -> None:
    assert read([None, None, {"outputs": {"mode": "fullha"}}]) == {"mode": "fullha"}


def test_a_state_that_stays_unreadable_stops_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.guard.READ_PAUSE_SECONDS", 0)
    with pytest.raises(pulumi.RunError, match=r"Cannot read the current outputs.*checkpoint: EOF"):
        read([None] * READ_ATTEMPTS)


# The whole program


def before(mode: str, **changes: Any) -> dict[str, Any]:
    return deploy(mode, changes, stack="fullha").exports


# What the mocks answer, for both environments.
LIFE = "1234abcd"
BLUE = Timeline.initial("blue", LIFE).seen_with({"blue": LIFE, "green": LIFE})
GREEN = BLUE.switched("green", NOW - 1000 * HOUR, 2, known=())


def stored(timeline: Timeline) -> dict[str, Any]:
    """What SSM has of a timeline, and under `object` what S3 has."""
    value, content = dump(timeline, EPOCH)
    return {"value": value, "version": timeline.base_version + 1, "object": content}


BLUE_OWNS = stored(BLUE)
GREEN_DRAINS_BLUE = stored(GREEN)
GREEN_OWNS = stored(GREEN.with_books("blue", {}, 3, closed=True))


def update(parameter: Mapping[str, Any], **changes: Any) -> Deployment:
    return deploy("fullha", changes, previous=before("fullha"), parameter=parameter)


def test_disabling_blue_green_while_green_works_stops_before_anything_is_registered() -> None:
    with pytest.raises(pulumi.RunError, match="green owns work and would be removed") as raised:
        deploy("hamarquez", stack="fullha", previous=before("fullha"), parameter=GREEN_OWNS)
    assert "mwaactl switch blue --wait -s fullha" in str(raised.value)


def test_disabling_blue_green_while_blue_works_goes_on() -> None:
    deployment = deploy("hamarquez", stack="fullha", previous=before("fullha"), parameter=BLUE_OWNS)
    assert [each.name for each in deployment.of_type("Environment")] == ["mwaa-blue"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"airflow_version": "3.3.1"}, "airflow_major 2 -> 3"),
        ({"vpc_cidr": "10.1.0.0/16"}, "vpc_cidr"),
        ({"availability_zones": ["us-east-1b", "us-east-1c"]}, "availability_zones"),
        (
            {"kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"},
            "kms_key_arn",
        ),
    ],
)
def test_replacing_the_owner_stops_the_program(changes: dict[str, Any], what: str) -> None:
    previous = before("fullha", airflow_version="2.11.2")
    with pytest.raises(pulumi.RunError, match="blue owns work and would be replaced") as raised:
        deploy("fullha", {"airflow_version": "2.11.2", **changes}, previous=previous, parameter=BLUE_OWNS)
    assert what in str(raised.value)


def test_upgrading_the_standby_to_the_next_major_version_goes_on() -> None:
    changes = {"airflow_version": "2.11.2", "green": {"airflow_version": "3.3.1"}}
    previous = before("fullha", airflow_version="2.11.2")
    deployment = deploy("fullha", changes, previous=previous, parameter=BLUE_OWNS)
    assert deployment.resource("Environment", "mwaa-green").inputs["airflowVersion"] == "3.3.1"


def test_an_update_of_the_owner_fails_and_names_the_rollout() -> None:
    with pytest.raises(pulumi.RunError, match="blue owns work and would be updated") as raised:
        update(BLUE_OWNS, blue={"max_workers": 9})
    assert "(max_workers 5 -> 9" in str(raised.value)
    assert commands(str(raised.value).splitlines()) == [
        "mwaactl rollout -s fullha",
        "pulumi config set update_owner_in_place true -s fullha",
    ]


def test_one_setting_allows_an_update_of_the_owner_with_a_warning() -> None:
    (warning,) = update(BLUE_OWNS, blue={"max_workers": 9}, update_owner_in_place=True).warnings
    assert "blue owns work and would be updated (max_workers 5 -> 9" in warning


@pytest.mark.parametrize(
    ("before_it", "after_it", "named"),
    [
        ("hamarquez", "fullha", ["pulumi up -s fullha", "mwaactl rollout -s fullha"]),
        (
            "fullha",
            "hamarquez",
            [
                "pulumi config set enable_blue_green true -s fullha",
                "mwaactl rollout --return -s fullha",
                "pulumi config set enable_blue_green false -s fullha",
                "pulumi up -s fullha",
            ],
        ),
    ],
    ids=["green is added", "green is removed"],
)
def test_a_mode_that_changes_with_an_update_of_the_owner_fails_and_names_the_order(
    before_it: str, after_it: str, named: list[str]
) -> None:
    def moved(**changes: Any) -> Deployment:
        previous = before(before_it)
        return deploy(after_it, changes, stack="fullha", previous=previous, parameter=BLUE_OWNS)

    with pytest.raises(pulumi.RunError, match="blue owns work and would be updated") as raised:
        moved(max_workers=9)
    assert commands(str(raised.value).splitlines()) == [
        *named,
        "pulumi config set update_owner_in_place true -s fullha",
    ]
    (warning,) = moved(max_workers=9, update_owner_in_place=True).warnings
    assert "blue owns work and would be updated (max_workers 5 -> 9" in warning


def test_an_update_of_the_only_environment_goes_on_with_a_warning() -> None:
    previous = before("hamarquez")
    (warning,) = deploy(
        "hamarquez", {"max_workers": 9}, stack="fullha", previous=previous, parameter=BLUE_OWNS
    ).warnings
    assert "blue owns work and would be updated (max_workers 5 -> 9" in warning


# What `mwaactl rollout` leaves out


def test_a_side_that_the_run_leaves_alone_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "blue")
    assert update(BLUE_OWNS, max_workers=9).warnings == []
    with pytest.raises(pulumi.RunError, match="green owns work and would be updated"):
        update(GREEN_OWNS, max_workers=9)
    with pytest.raises(pulumi.RunError, match="green would be removed, and its books are not closed"):
        deploy(
            "hamarquez",
            stack="fullha",
            previous=before("fullha"),
            parameter=stored(GREEN.with_books("blue", {}, 3, closed=True).switched("blue", NOW - HOUR, 4)),
        )


def test_a_removal_is_judged_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "blue,green")
    with pytest.raises(pulumi.RunError, match="green owns work and would be removed"):
        deploy("hamarquez", stack="fullha", previous=before("fullha"), parameter=GREEN_OWNS)


def test_a_side_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "blue,red")
    with pytest.raises(pulumi.RunError, match="'red' is no side"):
        update(BLUE_OWNS)


def test_a_side_that_the_run_leaves_alone_keeps_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways: the resources of the bucket in use, and the outputs that name it."""
    monkeypatch.setenv(VARIABLE, "blue")
    own = {"blue": {"dags_bucket": "acme-blue"}, "green": {"dags_bucket": "acme-green"}}
    for old, new, kept in (({}, own, {"mwaa-blue"}), (own, {}, {"mwaa-green"})):
        previous = before("fullha", **old)
        deployed = deploy("fullha", new, previous=previous, parameter=BLUE_OWNS)
        made = {each.name for each in deployed.of_type("Bucket") if each.name.startswith("mwaa-")}
        assert made == kept
        buckets, used = (
            {colour: each["bucket"] for colour, each in exports["airflow_environments"].items()}
            for exports in (deployed.exports, previous)
        )
        assert buckets["blue"] == used["blue"]
        assert buckets["green"] != used["green"]
        for each in deployed.of_type("BucketObjectv2"):
            if each.name.startswith("mwaa-blue-"):
                assert each.inputs["bucket"] == used["blue"]


def test_the_rollout_and_the_program_mean_the_same_variable() -> None:
    assert engine.VARIABLE == VARIABLE


@pytest.mark.parametrize(
    ("strategy", "last", "fate"),
    [
        ("FORCED", "GRACEFUL", "ends the tasks that run there (FORCED)"),
        ("GRACEFUL", "", "first waits for its tasks (GRACEFUL)"),
        ("GRACEFUL", "FORCED", "first waits for its tasks (GRACEFUL)"),
        ("GRACEFUL", "GRACEFUL", "may end the tasks that run there"),
    ],
)
def test_the_warning_says_what_becomes_of_running_tasks(strategy: str, last: str, fate: str) -> None:
    previous = before("fullha")
    previous["airflow_environments"]["blue"]["last_worker_replacement"] = last
    blue: dict[str, Any] = {"max_workers": 9, "worker_replacement_strategy": strategy}
    changes = {"blue": blue, "update_owner_in_place": True}
    (warning,) = deploy("fullha", changes, previous=previous, parameter=BLUE_OWNS).warnings
    assert fate in warning


@pytest.mark.parametrize("strategy", ["FORCED", "GRACEFUL"])
def test_the_way_of_replacing_workers_is_passed_on_with_an_update_and_alone_is_none(strategy: str) -> None:
    previous = before("fullha")
    for workers, sent in ((5, None), (9, strategy)):
        changes: dict[str, Any] = {"worker_replacement_strategy": strategy, "max_workers": workers}
        changes["update_owner_in_place"] = True
        deployment = deploy("fullha", changes, previous=previous, parameter=BLUE_OWNS)
        inputs = deployment.resource("Environment", "mwaa-blue").inputs
        assert inputs.get("workerReplacementStrategy") == sent


def test_an_update_of_the_standby_goes_on_without_a_word() -> None:
    assert update(BLUE_OWNS, green={"max_workers": 9}).warnings == []
    assert update(GREEN_OWNS, blue={"max_workers": 9}).warnings == []


def test_an_update_of_a_side_that_has_not_drained_stops_the_program() -> None:
    with pytest.raises(pulumi.RunError, match=r"blue would be updated .*its books are not closed") as raised:
        update(GREEN_DRAINS_BLUE, blue={"max_workers": 9})
    assert "mwaactl switch green --wait -s fullha" in str(raised.value)


def test_removing_a_side_that_has_not_drained_stops_the_program() -> None:
    blue_drains_green = stored(
        GREEN.with_books("blue", {}, 3, closed=True).switched("blue", NOW - HOUR, 4, known=())
    )
    with pytest.raises(pulumi.RunError, match="green would be removed, and its books are not closed"):
        deploy("hamarquez", stack="fullha", previous=before("fullha"), parameter=blue_drains_green)


def test_a_run_that_touches_no_environment_does_not_even_read_the_parameter() -> None:
    deployment = deploy("fullha", {"tags": {"team": "data"}}, previous=before("fullha"))
    assert deployment.warnings == []


def test_a_value_whose_content_stands_in_an_object_is_read_with_it() -> None:
    many = stored(GREEN.switched("green", NOW - HOUR, 3, known=[f"dag_{i}" for i in range(1000)]))
    assert many["object"]
    with pytest.raises(pulumi.RunError, match="its books are not closed"):
        update(many, blue={"max_workers": 9})
    with pytest.raises(pulumi.RunError, match="is not what its name states"):
        update({**many, "object": many["object"] + " "}, blue={"max_workers": 9})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"format": 9, "reader": 9, "base_version": 0}, "written by a newer version of this project"),
        ({"format": 1, "reader": 1, "base_version": 7}, "is based on version 7"),
        ({"format": 1, "reader": 1, "base_version": 0, "lead": 5, "object": "0" * 64}, "S3 has no such"),
    ],
    ids=["a newer format", "a lost race", "a missing object"],
)
def test_a_parameter_that_cannot_be_read_stops_even_an_update(value: dict[str, Any], why: str) -> None:
    with pytest.raises(pulumi.RunError, match=why) as raised:
        update({"value": json.dumps(value), "version": 1}, green={"max_workers": 9})
    assert "green would be updated (max_workers 5 -> 9" in str(raised.value)
    assert "mwaactl status -s fullha" in str(raised.value)


# Versions that AWS changes in place


def standard(before: str, after: str, *, refreshed: str | None = None, **changes: Any) -> Deployment:
    """A stack with one environment, of which `pulumi refresh` has found another version, goes to `after`."""
    previous = deploy("standard", {"airflow_version": before}).exports
    versions = {} if refreshed is None else {"blue": refreshed}
    changes = {"airflow_version": after, **changes}
    return deploy("standard", changes, previous=previous, versions=versions, parameter=BLUE_OWNS)


def test_without_a_second_environment_amazons_own_upgrade_is_offered() -> None:
    with pytest.raises(pulumi.RunError, match="blue owns work and would be replaced") as raised:
        standard("2.11.2", "3.3.1")
    name = "mwaa-openlineage-standard-blue"
    assert commands(str(raised.value).splitlines()) == [
        f"aws mwaa update-environment --region us-east-1 --name {name} --airflow-version 3.3.1",
        f"aws mwaa get-environment --region us-east-1 --name {name}"
        " --query 'Environment.[Status,AirflowVersion]'",
        "pulumi refresh -s standard",
        "pulumi up -s standard",
        "pulumi config set enable_blue_green true -s standard",
        "pulumi up -s standard",
        "mwaactl switch green --wait -s standard",
    ]


def test_from_an_older_version_the_last_one_of_airflow_2_comes_first() -> None:
    with pytest.raises(pulumi.RunError) as raised:
        standard("2.10.3", "3.3.1", blue={"airflow_version": "3.2.1"})
    assert commands(str(raised.value).splitlines())[:3] == [
        "pulumi config set --path blue.airflow_version 2.11.2 -s standard",
        "pulumi up -s standard",
        "pulumi config set --path blue.airflow_version 3.2.1 -s standard",
    ]


def test_a_replacement_for_another_reason_is_no_upgrade() -> None:
    with pytest.raises(pulumi.RunError, match="would be replaced") as raised:
        standard("2.11.2", "3.3.1", vpc_cidr="10.1.0.0/16")
    assert "update-environment" not in str(raised.value)


def test_an_environment_that_was_upgraded_in_place_keeps_its_life() -> None:
    deployment = standard("2.11.2", "3.3.1", refreshed="3.3.1")
    assert deployment.warnings == []
    before = deploy("standard", {"airflow_version": "2.11.2"}).resource("RandomId", "mwaa-blue")
    assert deployment.resource("RandomId", "mwaa-blue").inputs == before.inputs
    assert deployment.resource("Environment", "mwaa-blue").inputs["airflowVersion"] == "3.3.1"


@pytest.mark.parametrize(
    ("born", "now", "after"),
    [("2.11.2", "3.3.1", "2.11.2"), ("3.3.1", None, "2.11.0"), ("3.3.1", None, "2.10.3")],
)
def test_the_way_back_is_never_in_place(born: str, now: str | None, after: str) -> None:
    """Also where the settings have not followed an upgrade."""
    with pytest.raises(
        pulumi.RunError, match=r"would be replaced \(airflow_major \d -> 2 after 3\)"
    ) as raised:
        standard(born, after, refreshed=now)
    assert "its scheduler would fail" in str(raised.value)
    assert "update-environment" not in str(raised.value)
    assert "mwaactl switch green --wait -s standard" in commands(str(raised.value).splitlines())


def test_a_standby_may_go_back_as_a_new_environment_and_up_again() -> None:
    first = deploy("bluegreen", {"airflow_version": "3.3.1"})
    back = deploy(
        "bluegreen", {"green": {"airflow_version": "2.11.2"}}, previous=first.exports, parameter=BLUE_OWNS
    )
    same = deploy(
        "bluegreen", {"green": {"airflow_version": "2.11.2"}}, previous=back.exports, parameter=BLUE_OWNS
    )
    again = deploy("bluegreen", {}, previous=back.exports, parameter=BLUE_OWNS)
    keepers = [
        each.resource("RandomId", "mwaa-green").inputs["keepers"]["airflow_major"]
        for each in (first, back, same, again)
    ]
    assert keepers == ["3", '"2 after 3"', '"2 after 3"', "3"]


def test_a_second_way_back_after_an_upgrade_in_place_is_a_replacement_too() -> None:
    settings = {"green": {"airflow_version": "2.11.2"}}
    first = deploy("bluegreen", {"airflow_version": "3.3.1"})
    lower = deploy("bluegreen", settings, previous=first.exports, parameter=BLUE_OWNS)
    upgraded = deploy(
        "bluegreen", {}, previous=lower.exports, versions={"green": "3.3.1"}, parameter=BLUE_OWNS
    )
    again = deploy("bluegreen", settings, previous=upgraded.exports, parameter=BLUE_OWNS)
    keepers = [
        each.resource("RandomId", "mwaa-green").inputs["keepers"]["airflow_major"]
        for each in (lower, upgraded, again)
    ]
    assert keepers == ['"2 after 3"', '"2 after 3"', '"2 after 3 again"']


def test_a_second_upgrade_by_replacement_after_the_way_back_is_a_new_life() -> None:
    """The provider goes by the state's version, not by the one that the environment was created with."""
    with pytest.raises(pulumi.RunError, match=r"would be replaced \(airflow_major 2 -> 3\)"):
        standard("2.11.2", "3.3.1", refreshed="2.11.0")
