"""`mwaactl logs`: what an environment has logged."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.aws.clients import BLUE, FakeClients
from tests.fakes.aws.errors import client_error
from tests.fakes.clock import START, at
from tests.fakes.mwaactl.commands import Command

TASKS = f"airflow-{BLUE}-Task"


def stream(
    dag: str = "daily", task: str = "load", run: str = "09_00_00+00_00", tail: str = "attempt=1"
) -> str:
    return f"dag_id={dag}/run_id=scheduled__2026-11-23T{run}/task_id={task}/{tail}.log"


def event(text: str, level: str = "info", **more: Any) -> str:
    """As Airflow 3 logs."""
    return json.dumps({"event": text, "level": level, "logger": "task", **more})


@pytest.fixture
def logged(aws: FakeClients) -> FakeClients:
    log = aws.logs.log
    log(TASKS, stream(), at(-600), event("loading"))
    log(TASKS, stream(task="send"), at(-590), event("sending", "warning"))
    log(TASKS, stream(dag="daily_2"), at(-580), event("another DAG"))
    log(TASKS, stream(tail="map_index=3/attempt=2"), at(-570), event("mapped"))
    log(TASKS, stream(tail="attempt=1.log.trigger.12"), at(-560), event("waiting"))
    log(TASKS, stream(), at(-7200), event("too long ago"))
    log(f"airflow-{BLUE}-Scheduler", "scheduler_ip-10-0-0-1_1.log", at(-500), "scheduling")
    return aws


def lines(*arguments: str, run: Command) -> list[str]:
    result = run("logs", "blue", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_each_line_says_when_where_and_what(run: Command, logged: FakeClients) -> None:
    assert lines(run=run)[:2] == [
        "2026-11-23T09:50:00.000Z daily.load scheduled__2026-11-23T09_00_00+00_00 #1 INFO loading",
        "2026-11-23T09:50:10.000Z daily.send scheduled__2026-11-23T09_00_00+00_00 #1 WARNING sending",
    ]


def test_of_one_dag_only_its_own_streams_are_read(run: Command, logged: FakeClients) -> None:
    shown = [line.rpartition(" ")[2] for line in lines("--dag", "daily", run=run)]
    assert shown == ["loading", "sending", "mapped", "waiting"]
    assert logged.logs.asked == [{"group": TASKS, "prefix": "dag_id=daily/"}]


def test_of_one_task_all_tries_indexes_and_triggers_are_shown(run: Command, logged: FakeClients) -> None:
    shown = lines("--dag", "daily", "--task", "load", run=run)
    assert [line.rpartition(" ")[2] for line in shown] == ["loading", "mapped", "waiting"]
    assert "daily.load[3] scheduled__2026-11-23T09_00_00+00_00 #2 INFO mapped" in shown[1]


def test_json_is_an_object_for_each_event(run: Command, logged: FakeClients) -> None:
    first = json.loads(lines("--json", "--since", "3h", run=run)[0])
    assert first == {
        "at": "2026-11-23T08:00:00.000Z",
        "level": "INFO",
        "message": "too long ago",
        "stream": stream(),
        "task": {
            "dag_id": "daily",
            "run_id": "scheduled__2026-11-23T09_00_00+00_00",
            "task_id": "load",
            "map_index": -1,
            "attempt": 1,
        },
    }


def test_an_exception_is_shown_with_where_it_came_from(run: Command, aws: FakeClients) -> None:
    frames = [{"filename": "dags/daily.py", "lineno": 7, "name": "load"}]
    detail = [{"exc_type": "ValueError", "exc_value": "no rows", "frames": frames}]
    aws.logs.log(TASKS, stream(), at(-60), event("Task failed with exception", "error", error_detail=detail))
    assert lines(run=run)[0].endswith("ERROR Task failed with exception")
    assert lines(run=run)[1:] == ['  File "dags/daily.py", line 7, in load', "ValueError: no rows"]


def test_lines_of_airflow_2_are_text(run: Command, aws: FakeClients) -> None:
    text = "[2026-11-23T09:59:00.000+0000] {daily.py:7} ERROR - no rows\nTraceback"
    aws.logs.log(TASKS, stream(), at(-60), text)
    aws.logs.log(TASKS, stream(), at(-59), '{"no": "event"}')
    assert lines(run=run) == [
        "2026-11-23T09:59:00.000Z daily.load scheduled__2026-11-23T09_00_00+00_00 #1 ERROR no rows",
        "Traceback",
        '2026-11-23T09:59:01.000Z daily.load scheduled__2026-11-23T09_00_00+00_00 #1 - {"no": "event"}',
    ]


def follow(monkeypatch: pytest.MonkeyPatch, aws: FakeClients, *happens: Any) -> None:
    """Between two looks each of these happens; after the last one, Ctrl-C."""
    rest = list(happens)

    def sleep(seconds: float) -> None:
        aws.ssm.clock.forward(seconds)
        if not rest:
            raise KeyboardInterrupt
        rest.pop(0)()

    monkeypatch.setattr("mwaactl.clock.sleep", sleep)


def test_following_shows_each_event_once_also_one_that_comes_late(
    run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log(seconds: float, text: str) -> Any:
        return lambda: aws.logs.log(TASKS, stream(), at(seconds), event(text))

    log(-30, "first")()
    follow(monkeypatch, aws, log(1, "second"), log(-20, "late"), lambda: None, log(100, "third"))
    shown = lines("--follow", run=run)
    assert [line.rpartition(" ")[2] for line in shown] == ["first", "second", "late", "third"]


def test_following_goes_on_when_aws_does_not_answer(
    run: Command, aws: FakeClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled() -> None:
        aws.logs.error = client_error("ThrottlingException")

    def log() -> None:
        aws.logs.log(TASKS, stream(), START, event("after"))

    follow(monkeypatch, aws, throttled, log)
    result = run("logs", "blue", "--follow", "--json")
    assert result.exit_code == 0
    assert "throttling" in result.stderr
    assert json.loads(result.stdout)["message"] == "after"


def test_nothing_logged_is_said(run: Command, aws: FakeClients) -> None:
    result = run("logs", "green")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "--since" in result.stderr


def test_what_cannot_be_read_says_why(run: Command, aws: FakeClients) -> None:
    logging = aws.mwaa.environments[BLUE]["LoggingConfiguration"]
    off = run("logs", "blue", "--of", "worker")
    assert (off.exit_code, "WorkerLogs is off" in off.stderr) == (2, True)
    assert run("logs", "blue", "--of", "kitchen").exit_code == 2
    assert run("logs", "blue", "--task", "load").exit_code == 2
    assert run("logs", "blue", "--of", "scheduler", "--dag", "daily").exit_code == 2
    logging["SchedulerLogs"] = {
        "Enabled": True,
        "CloudWatchLogGroupArn": f"arn:aws:logs:us-east-1:123456789012:log-group:airflow-{BLUE}-Scheduler:*",
    }
    missing = run("logs", "blue", "--of", "scheduler")
    assert missing.exit_code == 6
    assert f"no log group airflow-{BLUE}-Scheduler in us-east-1" in missing.stderr
    aws.logs.log(f"airflow-{BLUE}-Scheduler", "scheduler_ip-10-0-0-1_1.log", START - timedelta(60), "old")
    aws.logs.log(f"airflow-{BLUE}-Scheduler", "scheduler_ip-10-0-0-1_1.log", START, "beating")
    shown = lines("--of", "scheduler", run=run)
    assert shown == ["2026-11-23T10:00:00.000Z scheduler_ip-10-0-0-1_1.log - beating"]
