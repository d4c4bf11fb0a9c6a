"""`--wait`: when the drain is over, what it reports then, and who may come between."""

from __future__ import annotations

from typing import Any

import pytest

from mwaactl.switching.drain import DrainProgress, wait_until_drained
from tests.fakes.airflow.schedule import NAMES, ScheduledAirflows, Work
from tests.fakes.aws.clients import FakeClients, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.clock import START, at
from tests.fakes.mwaactl.mirrors import FakeMirrorCopy
from tests.fakes.mwaactl.switches import switched

BLUE = NAMES["blue"]


def waited(aws: FakeClients, **options: Any) -> DrainProgress:
    return wait_until_drained(deployment(aws), "green", **{"timeout": 1000, **options})


def descriptions(aws: FakeClients) -> list[str]:
    return [record.get("Description", "") for record in aws.ssm.stored[OWNERSHIP]]


# --- asset events ---


def consumers(aws: FakeClients, *dag_ids: str) -> None:
    """DAGs that the assets a (id 1) and b (id 2) trigger together; on blue, the event of a waits for each."""
    ScheduledAirflows(aws, {dag_id: Work(6000, 1, first=3000, schedule="Asset") for dag_id in dag_ids})
    assets = [{"id": number, "uri": f"s3://{name}"} for number, name in enumerate("ab", start=1)]
    condition = {"all": [{"asset": {"uri": asset["uri"]}} for asset in assets]}
    for side in NAMES.values():
        answers = aws.mwaa.airflow[side]
        answers["/assets"] = {"assets": assets, "total_entries": len(assets)}
        for dag_id in dag_ids:
            answers[f"/dags/{dag_id}/details"] = {"dag_id": dag_id, "asset_expression": condition}
    for dag_id in dag_ids:
        queue(aws, dag_id, 1)


def queue(aws: FakeClients, dag_id: str, *assets: int) -> None:
    answer = {"queued_events": [{"asset_id": asset} for asset in assets], "total_entries": len(assets)}
    aws.mwaa.airflow[BLUE][f"/dags/{dag_id}/assets/queuedEvents"] = answer


def test_an_asset_event_that_waits_for_others_ends_no_drain_and_is_reported(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    consumers(aws, "report")
    switched(aws, force=["asset-events"])
    done = waited(aws)
    assert (done.finished, done.waiting_assets) == (True, {"report": ("s3://a",)})


def test_a_condition_that_is_met_is_waited_for_until_its_run_exists(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    """Its scheduler starts the run in a moment: nobody may update that side now."""
    consumers(aws, "report", "half")
    queue(aws, "report", 1, 2)
    switched(aws, force=["asset-events"])
    assert not waited(aws, timeout=60).finished
    queue(aws, "report")
    done = waited(aws)
    assert (done.finished, done.waiting_assets) == (True, {"half": ("s3://a",)})


def test_asset_events_of_dags_that_do_not_move_are_no_matter(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    consumers(aws, "half", "ready", "moves")
    queue(aws, "ready", 1, 2)
    queue(aws, "moves")
    switched(aws, "green", "moves")
    done = waited(aws, dags=["moves"])
    assert (done.finished, done.waiting_assets) == (True, {})


def test_one_call_tells_that_no_asset_event_waits(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    consumers(aws, "report")
    queue(aws, "report")
    switched(aws)
    aws.mwaa.asked.clear()
    assert waited(aws).finished
    assert sum(call["Path"].endswith("queuedEvents") for call in aws.mwaa.asked) == 1


# --- books ---


@pytest.mark.parametrize("puts", [[client_error("TooManyUpdates", 400)], ["late", "late"]])
def test_closing_the_books_is_tried_again_after_another_writer_or_a_lost_answer(
    aws: FakeClients, mirrors: FakeMirrorCopy, puts: list[str | Exception]
) -> None:
    ScheduledAirflows(aws, {"plain": Work(600, 1, alone=False)})
    switched(aws)
    aws.ssm.puts = puts
    done = waited(aws)
    assert (done.finished, done.trouble, aws.ssm.puts) == (True, None, [])
    assert not standing(aws).open_books("blue")


def test_it_is_not_over_while_the_books_are_closing(aws: FakeClients, mirrors: FakeMirrorCopy) -> None:
    """Until every process of blue knows that, one of them may still execute what is left."""
    backlog, plain = Work(60, 1, paused=True, alone=False), Work(6000, 20, alone=False)
    ScheduledAirflows(aws, {"backlog": backlog, "plain": plain}, bare=True)
    switched(aws)
    states: list[DrainProgress] = []
    waited(aws, on_change=states.append)
    closing = [state for state in states if state.closing is not None]
    assert closing
    assert not any(state.finished or state.mirroring for state in closing)
    assert [state.finished for state in states].count(True) == 1


def test_what_is_executed_again_while_the_books_are_closing_is_copied_before_the_end(
    aws: FakeClients, mirrors: FakeMirrorCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator clears a run on blue after all had been copied: its mirror needs the new states."""
    work = Work(6000, 1, alone=False)
    ScheduledAirflows(aws, {"again": work, "backlog": Work(60, 1, paused=True, alone=False)}, bare=True)
    switched(aws)

    def sleep(seconds: float) -> None:
        aws.ssm.clock.forward(seconds)
        work.seconds = 1 if aws.ssm.clock.now < at(20) else 30  # cleared at 20, ended at 30

    monkeypatch.setattr("mwaactl.clock.sleep", sleep)
    assert waited(aws).finished
    assert mirrors.copied == [(BLUE, "again", START)] * 2


# --- another operator ---


def test_a_dag_that_another_command_has_moved_is_not_listed_as_held_any_more(
    aws: FakeClients, mirrors: FakeMirrorCopy
) -> None:
    ScheduledAirflows(aws, {"slow": Work(600, 30), "slower": Work(600, 60)})
    switched(aws)
    states: list[DrainProgress] = []

    def other_operator(state: DrainProgress) -> None:
        states.append(state)
        if len(states) == 1:
            aws.ssm.clock.forward(40)
            assert switched(aws).moved == ("slow",)

    assert waited(aws, on_change=other_operator).finished
    assert any("slow" in state.moved and state.held for state in states)
    assert not any(set(state.moved) & {dag.dag_id for dag in state.held} for state in states)
