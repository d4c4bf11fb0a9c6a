"""The main job, as a person does it: deploy full HA, switch, destroy. Real Airflows, real engine.

One story, told by tests in the order of this file.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bluegreen.proof import AUDIT, AUDITED

from tests.demo_graph import drawn, told
from tests.e2e.conftest import CHECKOUT, STACK, FullHaCloud
from tests.e2e.statements import Roles, reasons

DAG = "example_blue_green_zero_downtime"


def test_make_local_leaves_blue_working_green_standing_by_and_the_checkout_clean(cloud: FullHaCloud) -> None:
    summary = cloud.up_output
    assert "blue" in summary
    assert "green" in summary
    assert "receiver" in summary or "Marquez" in summary
    blue, green = cloud.task_states("blue", DAG), cloud.task_states("green", DAG)
    assert any("success" in states for states in blue.values())
    assert green
    assert all(states == {"skipped"} for states in green.values())
    assert cloud.git_status() == cloud.git_status_before


def test_a_second_up_changes_nothing(cloud: FullHaCloud) -> None:
    done = cloud.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rehearsal_and_the_doctor_show_that_everything_works_and_only_the_probe_moves(
    cloud: FullHaCloud, tmp_path: Path
) -> None:
    """With a probe in each minute: the rehearsal waits for two of its runs. And with the nightly audit."""
    copy = tmp_path / "probe-each-minute.yaml"
    original = (CHECKOUT / f"Pulumi.{STACK}.yaml").read_text()
    settings = {"gate_probe_minutes": "1", "nightly_audit": "true"}
    added = [f'  mwaa-openlineage:{key}: "{value}"' for key, value in settings.items()]
    copy.write_text("\n".join([original.rstrip(), *added, ""]))
    done = cloud.pulumi("up", "--yes", "--skip-preview", "--config-file", str(copy))
    assert done.returncode == 0, done.stdout + done.stderr
    first = json.loads(cloud.run("mwaactl", "status", "--json").stdout)["version"]

    # Each Airflow parses the DAG of the nightly audit in its own time.
    ready = ("mwaactl", "rehearse", "--dry-run", "--json")
    cloud.wait_for(lambda: cloud.run(*ready).returncode == 0, "the same DAGs on both sides", seconds=180)
    done = cloud.run("mwaactl", "rehearse", "--json", timeout=600)
    shown = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [step["name"] for step in shown["steps"] if step["result"] != "pass"] == []
    assert [(each["on"], each["skipped_on"]) for each in shown["executions"]] == [
        ("green", "blue"),
        ("blue", "green"),
    ]
    status = json.loads(cloud.run("mwaactl", "status", "--json").stdout)
    assert (status["dags"], status["open_books"], status["version"] - first) == ({}, {}, 4)
    assert status["ownership"]["owner"] == "blue"

    def well() -> bool:
        looked = cloud.run("mwaactl", "doctor", "--to", receiver, "--json")
        seen[:] = json.loads(looked.stdout)["lines"]
        return looked.returncode == 0

    receiver = cloud.up_output.partition("lineage  ")[2].split()[0]
    seen: list[dict[str, str]] = []
    deadline = time.monotonic() + 90  # on a busy machine, a look takes a third of it
    while not well():
        assert time.monotonic() < deadline, [line for line in seen if line["result"] != "pass"]
    results = {(line["of"], line["name"]): line["result"] for line in seen}
    for colour in ("blue", "green"):
        lines = ("environment", "rest-api", "gate", "openlineage", "requirements", "secrets", "fence")
        assert {results[colour, name] for name in lines} == {"pass"}, seen
    for name in ("credentials", "ownership", "books", "ungated", "lineage-log", "forwarder", "marquez"):
        assert results["", name] == "pass", seen


def test_after_a_switch_green_does_the_work_and_each_due_run_was_executed_once(cloud: FullHaCloud) -> None:
    done = cloud.run("mwaactl", "switch", "green", "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.run("mwaactl", "status", "--json").returncode == 0
    switched = datetime.now(UTC)

    def green_works() -> bool:
        later = (due for due, states in cloud.task_states("green", DAG).items() if "success" in states)
        return any(due > switched for due in later)

    cloud.wait_for(green_works, "a run on green after the switch", seconds=240)
    assert cloud.run("mwaactl", "active").stdout.strip() == "green"

    def settled() -> bool:
        return all(
            s <= {"success", "skipped"} for c in ("blue", "green") for s in cloud.task_states(c, DAG).values()
        )

    cloud.wait_for(settled, "all tasks finished", seconds=120)
    blue, green = cloud.task_states("blue", DAG), cloud.task_states("green", DAG)
    both = sorted(blue.keys() & green.keys())
    # A run whose minute passed while one side still lacked the DAG exists on the other alone.
    assert len(both) >= 2
    for due in both:
        executed = [c for c, runs in (("blue", blue), ("green", green)) if "success" in runs[due]]
        assert len(executed) == 1, f"{due}: executed by {executed}"
    minutes = [both[0] + timedelta(minutes=i) for i in range(len(both))]
    assert both == minutes, "an instant is missing on one side"


def test_lineage_tells_only_of_runs_where_they_were_executed(cloud: FullHaCloud) -> None:
    def told() -> bool:
        return {
            e["job"]["namespace"].rpartition("-")[2] for e in cloud.events() if DAG in e["job"]["name"]
        } == {
            "blue",
            "green",
        }

    cloud.wait_for(told, "lineage of both environments", seconds=60)
    mirrored = {
        c: {d for d, s in cloud.task_states(c, DAG).items() if s == {"skipped"}} for c in ("blue", "green")
    }
    judged = 0
    for event in cloud.events():
        facets = event["run"].get("facets", {})
        run = (facets.get("airflowDagRun") or facets.get("airflow") or {}).get("dagRun")
        if not run or run["dag_id"] != DAG or run["run_type"] != "scheduled":
            continue
        due = datetime.fromisoformat(run.get("run_after") or run["data_interval_end"])
        colour = event["job"]["namespace"].rpartition("-")[2]
        assert due not in mirrored[colour], f"{colour} told of a run that it did not execute: {due}"
        judged += 1
    assert judged > 10


def test_the_demo_is_known_to_marquez_as_the_guide_draws_it(cloud: FullHaCloud) -> None:
    asked = datetime.now(UTC)
    for dag in ("demo_raw", "demo_clean", "demo_load", "demo_use"):
        cloud.api("green", f"/dags/{dag}/dagRuns", {"logical_date": None})
    bad = {"logical_date": None, "conf": {"bad_rows": 3}}
    cloud.api("green", "/dags/demo_clean/dagRuns", bad)

    def events() -> list[dict[str, Any]]:
        return [e for e in cloud.events() if datetime.fromisoformat(e["eventTime"]) > asked]

    cloud.wait_for(lambda: told(events()) >= drawn(), "all of the demo's lineage", seconds=120)
    assert told(events()) == drawn()

    def failures() -> list[dict[str, Any]]:
        return [e for e in events() if e["eventType"] == "FAIL" and e["job"]["name"] == "demo_clean.check"]

    cloud.wait_for(lambda: bool(failures()), "the failed check", seconds=60)
    [tested] = failures()[0]["inputs"]
    outcome = tested["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {(each["column"], each["success"]) for each in outcome} == {("sale_id", True), ("user_id", False)}


def test_the_nightly_audit_runs_on_the_owner_and_says_so_where_cloudwatch_counts(cloud: FullHaCloud) -> None:
    """Triggered by hand: it is due at night."""
    cloud.api("green", f"/dags/{AUDIT}/dagRuns", {"logical_date": None})

    def audited() -> bool:
        said = cloud.run("mwaactl", "logs", "green", "--dag", AUDIT).stdout
        return AUDITED in said

    cloud.wait_for(audited, "the audit's last line", seconds=120)


def test_removing_the_owner_is_refused_and_the_message_names_the_way(
    cloud: FullHaCloud, tmp_path: Path
) -> None:
    """Green owns: a preview without blue/green fails. With a copy of the stack file, which stays as it is."""
    copy = tmp_path / "without-green.yaml"
    original = (CHECKOUT / f"Pulumi.{STACK}.yaml").read_text()
    copy.write_text(original.replace('enable_blue_green: "true"', 'enable_blue_green: "false"'))
    done = cloud.pulumi("preview", "--config-file", str(copy))
    assert done.returncode != 0
    assert "mwaactl switch blue" in done.stdout + done.stderr
    assert cloud.git_status() == cloud.git_status_before


def test_what_an_operator_looks_at(cloud: FullHaCloud) -> None:
    """So that the next test sees what these commands ask of AWS."""
    for command in (
        "history",
        "audit --since 10m",
        "lineage set-aside list",
        "dags push --dry-run",
        "logs blue --dag bluegreen_probe",
        "airflow green -- dags list",
    ):
        done = cloud.run("mwaactl", *command.split())
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_statement_of_each_role_is_needed(cloud: FullHaCloud) -> None:
    """By a call that would be denied without it; the guide gives the reason for each other one."""
    roles = Roles.of(cloud)
    # the doctor asks for it, and takes a denial for an answer: no document can name the operator's own role
    assert {record["action"] for record in roles.denied()} <= {"iam:SimulatePrincipalPolicy"}
    assert roles.not_needed_by_their_calls() == []
    table = (CHECKOUT / "docs" / "testing.md").read_text()
    assert roles.unused() == reasons(table).keys()


def test_destroy_ends_the_airflows_and_leaves_nothing(cloud: FullHaCloud) -> None:
    done = cloud.pulumi("destroy", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    state = json.loads(cloud.pulumi("stack", "export").stdout)
    assert not state["deployment"].get("resources")
    time.sleep(1)
    assert not [name for name in cloud.process_names() if name.startswith("airflow-")]


def test_local_down_leaves_no_process(cloud: FullHaCloud) -> None:
    done = cloud.run("python", "-m", "local", "down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.leftovers() == []
