"""When a DAG does badly on its new side."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaactl.airflow.models import Run, TaskInstance
from mwaactl.canary.judgement import HISTORY, SeenRun, judge, not_created, seen
from tests.fakes.clock import START, minutes


def run(
    state: str = "success",
    lasted: float | None = 30,
    late: float | None = 2,
    retried: bool = False,
    skipped: bool = False,
) -> SeenRun:
    return SeenRun(
        due=START,
        state=state,
        late=None if late is None else timedelta(seconds=late),
        lasted=None if lasted is None else timedelta(seconds=lasted),
        retried=retried,
        skipped=skipped,
    )


USUAL = [run()] * 10
FAILED = run("failed")


@pytest.mark.parametrize(
    ("history", "runs", "result", "reason"),
    [
        (USUAL, [run()] * 3, "good", ""),
        (USUAL, [], "unseen", ""),
        (USUAL, [run("running", lasted=20)], "unseen", ""),
        (USUAL, [run("queued", None, None)], "unseen", ""),  # cleared
        (USUAL, [run("queued", None, 121)], "unseen", ""),
        (USUAL, [run("queued", None, 123)], "bad", "has not begun for 123 s, at most 2 s before"),
        (USUAL, [*[run()] * 30, run("queued", None, 123)], "bad", "has not begun for 123 s"),
        (USUAL, [*[run()] * 30, run("none", None, 123)], "bad", "has not begun for 123 s"),
        (USUAL, [*[run()] * 30, run(late=123)], "good", ""),
        ([run(late=3600)] * 3, [run(), run("queued", None, 5300)], "good", ""),
        ([], [run(), run("queued", None, 121)], "bad", "has not begun for 121 s, at most 0 s before"),
        ([], [run(late=121)], "bad", "began late by 121 s"),
        ([], [run()], "good", ""),
        ([], [FAILED], "bad", "1 of 1 runs failed, 0 of 0 runs before"),
        (USUAL, [run(), run(), FAILED], "bad", "1 of 3 runs failed, 0 of 10 runs before"),
        ([*[run()] * 5, *[FAILED] * 5], [run(), FAILED], "good", ""),
        ([*[run()] * 9, FAILED], [run()] * 4 + [FAILED], "good", ""),
        ([*[run()] * 9, FAILED], [run()] * 2 + [FAILED], "bad", "1 of 3 runs failed, 1 of 10 runs before"),
        (USUAL, [run(), run(skipped=True)], "bad", "1 of 2 runs were skipped whole: no task of them started"),
        ([run(skipped=True)], [run(skipped=True)], "good", ""),
        (USUAL, [run(retried=True)], "good", ""),
        (USUAL, [run(retried=True)] * 2, "bad", "2 of 2 runs needed a retry"),
        ([run(retried=True)] * 10, [run(retried=True)] * 2, "good", ""),
        (USUAL, [run(lasted=89)], "good", ""),
        (USUAL, [run(lasted=91)], "bad", "took 91 s or more, at most 30 s before"),
        (USUAL, [run("running", lasted=91)], "bad", "took 91 s"),
        (USUAL, [run(lasted=500), run(), run()], "good", ""),
        ([run(lasted=3600)] * 3, [run(lasted=5300)] * 3, "good", ""),
        ([run(lasted=3600)] * 3, [run(lasted=5500)] * 3, "bad", "took 5500 s"),
        (USUAL, [run(late=121)], "good", ""),
        (USUAL, [run(late=123)], "bad", "began late by 123 s"),
    ],
)
def test_the_thresholds(history: list[SeenRun], runs: list[SeenRun], result: str, reason: str) -> None:
    verdict = judge("daily", history, runs)
    assert verdict.result == result
    assert reason in "; ".join(verdict.reasons)
    assert bool(verdict.reasons) == (result == "bad")


@pytest.mark.parametrize(("late", "result"), [(7200 + 121, "good"), (7200 + 123, "bad")])
def test_what_the_timetable_lets_begin_later_is_late_from_then_on(late: float, result: str) -> None:
    delay = timedelta(hours=2)
    assert judge("daily", [run(late=7202)], [run(late=late)], delay).result == result
    assert judge("daily", [run(late=7202)], [run(), run("queued", None, late)], delay).result == result
    assert judge("daily", [], [run(), run("queued", None, 7202)], delay).result == "good"


RUNS = st.lists(
    st.builds(
        run,
        state=st.sampled_from(["success", "failed"]),
        lasted=st.floats(0, 1e5),
        late=st.floats(0, 1e5),
        retried=st.booleans(),
    ),
    min_size=1,
    max_size=HISTORY,
)


@given(RUNS)
def test_what_does_as_before_is_never_bad(history: list[SeenRun]) -> None:
    assert judge("daily", history, history).result == "good"


@given(RUNS, RUNS)
def test_one_more_failure_never_makes_it_better(history: list[SeenRun], runs: list[SeenRun]) -> None:
    if judge("daily", history, runs).result == "bad" and any(each.state == "failed" for each in runs):
        assert judge("daily", history, [*runs, FAILED, FAILED]).result == "bad" or (
            # its failures were not the reason
            not any("failed" in reason for reason in judge("daily", history, runs).reasons)
        )


def test_what_is_seen_of_a_run() -> None:
    def scheduled(**changes: Any) -> Run:
        usual = {"due": START, "start": minutes(1), "end": minutes(4), "state": "success"}
        return Run(dag_id="daily", run_id="r", type="scheduled", **{**usual, **changes})

    ended = seen(scheduled(), [], minutes(60))
    assert (ended.late, ended.lasted) == (timedelta(minutes=1), timedelta(minutes=3))
    at_work = seen(scheduled(state="running", end=None), [], minutes(60))
    assert at_work.lasted == timedelta(minutes=59)
    for start in (None, minutes(1)):
        queued = seen(scheduled(state="queued", start=start, end=None), [], minutes(60))
        assert (queued.late, queued.lasted, queued.waits) == (timedelta(minutes=60), None, True)
    again = TaskInstance(
        dag_id="daily",
        run_id="r",
        task_id="t",
        map_index=-1,
        state=None,
        operator=None,
        started=False,
        start=minutes(1),
    )
    cleared = seen(scheduled(state="queued", start=None, end=None), [again], minutes(60))
    assert cleared.late is None
    over = again.model_copy(update={"state": "skipped"})
    assert seen(scheduled(), [over, over], minutes(60)).skipped
    assert not seen(scheduled(), [over, over.model_copy(update={"started": True})], minutes(60)).skipped
    assert not seen(scheduled(state="running", end=None), [over], minutes(60)).skipped
    marked = seen(scheduled(state="failed", start=None), [], minutes(60))
    assert (marked.late, marked.waits) == (timedelta(minutes=4), False)


def test_a_run_that_was_not_created_is_late_since_it_was_due_on_that_side() -> None:
    missing = not_created(START, minutes(5), minutes(60))
    assert (missing.late, missing.waits) == (timedelta(minutes=55), True)
    assert not_created(minutes(10), minutes(5), minutes(60)).late == timedelta(minutes=50)
