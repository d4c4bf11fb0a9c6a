"""The gate in real Airflows of several versions, with a zoo of DAGs that try to get round it (`zoo/`).

One environment per version: blue, the standby at first. Each is told as one story, by the tests in the order
of this file. GATE_ENVIRONMENTS names others: 2.10.3-old-LocalExecutor,3.0.6-old-CeleryExecutor for example.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from bluegreen.proof import FACET, PROBE

from components.config.airflow_versions import at_least
from tests.e2e.zoo.environment import LATE, Json, Kind, Zoo, ZooCloud, of_run
from tests.e2e.zoo.expected import EXPECTED, FAILING, Line
from tests.fakes.timeline import LIVES

# MWAA runs tasks by Celery, as `make e2e-long` does here; the other executor is quicker and lighter.
KINDS = "2.11.2-new-LocalExecutor,3.3.1-issue627-LocalExecutor"
LAYERS = ("zoo_only_the_task_process", "zoo_only_the_last_hook")
CAUSED = ("zoo_consumer", "zoo_after_empty", "zoo_child")  # not scheduled: other runs cause their runs
SCHEDULED = {*EXPECTED} - {*CAUSED}
CLEARED = ("zoo_cleared_here", "zoo_cleared_on_the_standby")
ONCE = (*LAYERS, *CLEARED)  # due at midnight
FINISHED = ("success", "failed")


@pytest.fixture(scope="module", params=os.environ.get("GATE_ENVIRONMENTS", KINDS).split(","))
def zoo(request: pytest.FixtureRequest, zoo_cloud: ZooCloud) -> Iterator[Zoo]:
    zoo = Zoo(zoo_cloud, Kind(*request.param.split("-")))
    zoo.create()
    yield zoo
    zoo.delete()


def test_on_the_standby_nothing_of_a_scheduled_run_is_executed(zoo: Zoo) -> None:
    zoo.wait_for(
        lambda: zoo.dag_ids() >= {*EXPECTED, *ONCE} - {"zoo_late"}, "all DAGs are known", seconds=150
    )
    zoo.add_dag_file(LATE)  # a DAG that comes later is gated as well

    def mirrored() -> bool:
        runs = Counter(run["dag_id"] for run in zoo.runs(kind="scheduled") if run["state"] in FINISHED)
        return all(runs[dag] >= (1 if dag in ONCE else 2) for dag in (*SCHEDULED, *ONCE))

    zoo.wait_for(mirrored, "two runs of every DAG", seconds=240)
    # the last hook comes after the templates: that these are rendered shows that it was alone
    told = {(line["dag"], line["task"], line["what"]) for line in zoo.ledger()}
    assert told == {("zoo_only_the_last_hook", "rendered", "rendered")}
    runs = [run for run in zoo.runs() if run["state"] in FINISHED]
    assert {run["run_type"] for run in runs} == {"scheduled"}, "something caused a run on the standby"
    assert {run["state"] for run in runs} == {"success"}
    finished = {(run["dag_id"], run["dag_run_id"]) for run in runs}
    instances = [ti for ti in zoo.task_instances() if (ti["dag_id"], ti["dag_run_id"]) in finished]
    by = Counter(f"{'layers' if ti['dag_id'] in LAYERS else 'others'}: {layer(ti)}" for ti in instances)
    print(f"\n{zoo.kind}: {dict(by)}")
    assert {ti["state"] for ti in instances} == {"skipped"}
    late = [run for run in runs if run["dag_id"] == "zoo_catchup"]
    assert len(late) >= 6, "the history that catch-up asks for"
    born = Counter(layer(ti) == "born skipped" for ti in instances if ti["dag_id"] not in LAYERS)
    assert born[True] > 0.9 * born.total(), "the scheduler asks once per run, and seldom in vain"


def test_on_the_standby_the_probe_is_born_skipped(zoo: Zoo) -> None:
    zoo.wait_for(lambda: zoo.proof().at, "a run of the probe", seconds=90)
    proof = zoo.proof()
    assert (proof.how, proof.wrong) == ("skipped", None), proof


def test_each_layer_does_without_the_one_before(zoo: Zoo) -> None:
    """A policy undid the layers before (see zoo/plugins/zoo_policy.py); that nothing ran was shown above."""
    instances = zoo.task_instances()
    for dag in LAYERS:
        in_a_process = {
            ti["task_id"] for ti in instances if ti["dag_id"] == dag and layer(ti) == "in its process"
        }
        assert in_a_process >= {
            "lay",
            "always",
            "literal",
            "poke",
            "reschedule",
            "deferring",
            "from_trigger",
        }


def test_the_customers_own_policies_are_called_beside_the_gate(zoo: Zoo) -> None:
    tags = {tag["name"] for tag in zoo.api("GET", "/dags/zoo_rules")["tags"]}
    assert tags == {"by-entry-point"} | ({"by-dags-folder"} if zoo.kind.image == "new" else set())


def test_a_manual_run_and_the_child_that_it_triggers_are_executed_where_they_were_made(zoo: Zoo) -> None:
    made = zoo.trigger("zoo_parent")

    def executed() -> bool:
        return zoo.run("zoo_parent", made)["state"] == "success" and any(
            run["state"] == "success" for run in zoo.runs("zoo_child")
        )

    zoo.wait_for(executed, "the manual run and its child", seconds=60)
    told = {(line["dag"], line["what"]) for line in zoo.ledger() if line["dag"] not in LAYERS}
    assert told == {("zoo_parent", "before"), ("zoo_child", "execute")}
    assert of_run(zoo.ledger(), zoo.run("zoo_parent", made))


def test_a_run_that_no_schedule_made_is_executed_where_it_was_made_whatever_its_type(zoo: Zoo) -> None:
    """Airflow 2 takes the type from the id, here one that TriggerDagRunOperator passes on."""
    if zoo.major > 2:
        pytest.skip("Airflow 3 gives such runs a type of their own")
    zoo.trigger("zoo_passes_on_an_id")

    def child() -> list[Json]:
        return [run for run in zoo.runs("zoo_passed_on") if run["state"] in FINISHED]

    zoo.wait_for(child, "the child of the standby's manual run", seconds=60)
    assert child()[0]["run_type"] == "scheduled"
    assert marks(of_run(zoo.ledger(), child()[0])) == Counter({("only", -1, 1, "execute"): 1})


def test_the_standby_takes_no_message_off_the_queue(zoo: Zoo) -> None:
    if zoo.major < 3:
        pytest.skip("Airflow 2 has no asset watchers")
    zoo.send("first")
    watchers = zoo.api("GET", "/assets", limit=1000)["assets"]
    names = {watcher["name"] for asset in watchers for watcher in asset.get("watchers", ())}
    if at_least(zoo.kind.version, "3.2"):  # before, the REST API lists none
        assert names == {"queue (blue/green)"}
    time.sleep(15)
    assert [path.name for path in zoo.queue.iterdir()] == ["first"]


def test_a_run_cleared_on_the_standby_fails_and_says_where_to_clear_it(zoo: Zoo) -> None:
    """Seen without the gate's care: 9 of 11 cleared runs became success, with all tasks skipped."""
    dags = ("zoo_rules", "zoo_sensors", "zoo_past", "zoo_empty")
    whole, partly, by_rule, without_process = runs = [finished_run(zoo, dag) for dag in dags]
    zoo.clear(whole)
    zoo.clear_task(partly, "poke")
    zoo.clear_task(by_rule, "two")  # what comes before it was skipped, so Airflow skips it, too
    zoo.clear(without_process)

    def failed(run: Json) -> list[Json]:
        return [ti for ti in instances_of(zoo, run) if ti["state"] == "failed"]

    zoo.wait_for(
        lambda: all(zoo.run(run["dag_id"], run["dag_run_id"])["state"] == "failed" for run in runs),
        "the cleared runs fail",
        seconds=90,
    )
    states = Counter(ti["state"] for ti in instances_of(zoo, whole))
    assert {*states} <= {"failed", "upstream_failed"}, states
    assert {ti["task_id"]: ti["state"] for ti in instances_of(zoo, partly)} == {
        "poke": "failed",
        "reschedule": "skipped",
    }
    for run in runs:
        note = zoo.run(run["dag_id"], run["dag_run_id"])["note"]
        assert note.endswith("clear it on green, which owns the work now")
        assert of_run(zoo.ledger(), run) == []
    for run in (whole, partly):
        assert f"of {run['dag_id']}, due at " in zoo.log(failed(run)[0])
        assert "clear it on green, which owns the work now" in zoo.log(failed(run)[0])


def test_every_run_due_while_it_owns_is_executed_in_full_and_no_other(zoo: Zoo) -> None:
    early = finished_run(zoo, "zoo_rules", skip=1)
    here, on_the_standby = (finished_run(zoo, dag) for dag in CLEARED)
    for run in (here, on_the_standby):
        zoo.pause(run["dag_id"])  # so that what is cleared now starts later
    zoo.clear(on_the_standby)
    since = zoo.switch("blue")
    zoo.wait_for(lambda: datetime.now(UTC) > since, "the switch takes effect", seconds=10)
    zoo.clear(early)  # asked for again on the owner of now: executed, though it was due before
    zoo.pause(on_the_standby["dag_id"], False)
    zoo.clear(here)

    def is_due() -> bool:
        return any(zoo.owned(run) for run in zoo.runs("zoo_past", "scheduled"))

    def is_cleared() -> bool:
        return bool(of_run(zoo.ledger(), early))

    zoo.wait_for(lambda: is_due() and is_cleared(), "a run that is due, and the cleared one", seconds=90)
    zoo.wait_for(lambda: is_over(zoo, on_the_standby), "what was cleared on the standby starts", seconds=60)
    until = zoo.switch("green")  # what is due from then on is mirrored; what was due before drains
    zoo.wait_for(lambda: datetime.now(UTC) > until, "the switch takes effect", seconds=10)
    zoo.pause(here["dag_id"], False)

    def settled() -> bool:
        owned = [run for run in zoo.runs(kind="scheduled") if run["dag_id"] in SCHEDULED and zoo.owned(run)]
        caused = Counter(run["dag_id"] for run in zoo.runs() if run["run_type"] != "scheduled")
        return (
            datetime.now(UTC) > until
            and {run["dag_id"] for run in owned} == SCHEDULED
            and {*CAUSED} <= {*caused}
            and all(run["state"] in FINISHED for run in [*owned, *zoo.runs("zoo_rules"), *caused_runs(zoo)])
            and is_over(zoo, here)
        )

    zoo.wait_for(settled, "every owned run is over", seconds=300)
    ledger = zoo.ledger()
    executed = {early["dag_run_id"]}
    for run in [run for run in zoo.runs(kind="scheduled") if run["state"] in FINISHED]:
        lines = marks(of_run(ledger, run))
        if run["dag_id"] in (*LAYERS, *CLEARED, "zoo_passed_on", PROBE):
            continue  # seen above, or below
        if not (zoo.owned(run) or run["dag_run_id"] == early["dag_run_id"]):
            assert lines == Counter(), f"{run['dag_id']} {run['dag_run_id']} was executed"
        elif zoo.owned(run):
            assert lines == Counter(EXPECTED[run["dag_id"]]), run["dag_id"]
            assert run["state"] == ("failed" if run["dag_id"] in FAILING else "success"), run["dag_id"]
            executed.add(run["dag_run_id"])
    assert {line.get("run") for line in ledger if line.get("dag") in SCHEDULED} >= executed
    for run in caused_runs(zoo):
        assert marks(of_run(ledger, run)) == Counter(EXPECTED[run["dag_id"]]), run["dag_id"]
    again = Counter((task, what) for task, _, _, what in marks(of_run(ledger, early)))
    assert again == Counter((task, what) for task, _, _, what in EXPECTED["zoo_rules"])
    assert not [line for line in ledger if "started" in line], (
        "something started in the triggerer, past the gate"
    )


def test_a_probe_that_is_executed_reports_the_gate(zoo: Zoo) -> None:
    """One that a person triggers, and those that were due while blue owned the work, if there were any."""
    made = zoo.trigger(PROBE)
    zoo.wait_for(lambda: zoo.run(PROBE, made)["state"] in FINISHED, "the triggered probe", seconds=180)
    runs = [zoo.run(PROBE, made), *(run for run in zoo.runs(PROBE, "scheduled") if zoo.owned(run))]
    ended = {run["dag_run_id"]: run["state"] for run in runs if run["state"] in FINISHED}
    assert {*ended.values()} == {"success"}
    reports = {
        ti["dag_run_id"]: json.loads(ti["rendered_fields"]["report"])
        for ti in zoo.rendered(PROBE)
        if ti["dag_run_id"] in ended
    }
    assert reports.keys() == ended.keys()
    for run_id, report in reports.items():
        assert report["layer"] == "dag_policy"
        assert report["layers"] == ["dag_policy", "task_policy"]
        assert report["routes"]
        assert (report["environment"], report["life"], report["mine"]) == ("blue", LIVES["blue"], True)
        # That of the value when the task was judged: a later switch may have been written by then.
        assert report["version"] is None if run_id == made else report["version"] >= 2
    assert zoo.proof().proven, zoo.proof()


def test_every_event_of_a_task_carries_the_proof_that_it_was_gated(zoo: Zoo) -> None:
    judged: Counter[str] = Counter()
    for event in zoo.lineage():
        facets = event["run"].get("facets", {})
        if "taskInstance" not in facets.get("airflow", {}) or event["eventType"] not in ("START", "COMPLETE"):
            continue
        proof, kind = facets[FACET], facets["airflow"]["dagRun"]["run_type"]
        assert proof["layer"] == "dag_policy", (event["job"]["name"], proof)
        assert (proof["environment"], proof["life"]) == ("blue", LIVES["blue"])
        assert proof["routes"], event["job"]["name"]
        if event["job"]["name"] != "zoo_passed_on.only":  # made by a person, with an id as of a schedule
            assert isinstance(proof["version"], int) == (kind == "scheduled"), (event["job"]["name"], proof)
        judged[kind] += 1
    assert judged["scheduled"] > judged["manual"] > 0
    assert zoo.ungated(datetime(2026, 1, 1, tzinfo=UTC)) == ()


def test_a_clear_is_judged_by_its_instant_and_not_by_when_the_run_starts_again(zoo: Zoo) -> None:
    here, on_the_standby = (finished_run(zoo, dag) for dag in CLEARED)
    assert here["state"] == "success", "it was cleared on the owner, and started after the switch"
    lines = Counter((task, what) for task, _, _, what in marks(of_run(zoo.ledger(), here)))
    assert lines == Counter({("one", "execute"): 1, ("always", "execute"): 1})
    assert on_the_standby["state"] == "failed", "it was cleared on the standby, and started on the owner"
    assert of_run(zoo.ledger(), on_the_standby) == []
    instances = instances_of(zoo, on_the_standby)
    assert {ti["state"] for ti in instances} <= {"failed", "upstream_failed"}
    assert "clear it on blue once more" in "".join(
        zoo.log(ti) for ti in instances if ti["state"] == "failed" and layer(ti) == "in its process"
    )


def test_messages_are_taken_and_worked_on_by_the_owner_only(zoo: Zoo) -> None:
    """Since it was sent, the work was switched here and away again, without a restart."""
    if zoo.major < 3:
        pytest.skip("Airflow 2 has no asset watchers")
    zoo.wait_for(
        lambda: [line["what"] for line in zoo.ledger() if line.get("dag") == "zoo_messages"] == ["execute"],
        "the message of the standby's time is worked on",
        seconds=30,
    )
    zoo.send("second")
    time.sleep(15)
    assert [path.name for path in zoo.queue.iterdir()] == ["second"]


def test_no_lineage_of_a_run_that_was_only_mirrored_leaves_the_standby(zoo: Zoo) -> None:
    executed = {(line["dag"], line["run"]) for line in zoo.ledger() if line["dag"] not in LAYERS}
    told: Counter[tuple[str, str]] = Counter()
    for event in zoo.lineage():
        facets = event["run"].get("facets", {})
        found = (facets.get("airflowDagRun") or facets.get("airflow") or {}).get("dagRun")
        if found is None:  # the provider of Airflow 2.10 tells of finished runs by their tasks' states alone
            states = ((facets.get("airflowState") or {}).get("tasksState") or {}).values()
            assert {*states} != {"skipped"}, f"{event['eventType']} of {event['job']['name']}"
            continue
        run = (found["dag_id"], found["run_id"])
        if run[0] == PROBE:
            continue  # not in the ledger; whether it was executed rightly is seen above
        assert run in executed, f"{event['eventType']} of {run}, {event['job']['name']}"
        told[run] += 1
    print(f"\n{zoo.kind}: lineage events {told}")
    # the cleared one, too
    assert {run for run in executed if run[0] in SCHEDULED} - {*told} == set()


def test_without_the_parameter_tasks_wait_and_fail_and_are_executed_when_it_is_back(zoo: Zoo) -> None:
    zoo.pause_all_but("zoo_late")
    zoo.forget_owners()
    gone = datetime.now(UTC)

    def failed_once() -> list[Json]:
        due = {run["dag_run_id"] for run in zoo.runs("zoo_late") if datetime.fromisoformat(run["due"]) > gone}
        return [
            ti
            for ti in zoo.task_instances()
            if ti["dag_id"] == "zoo_late"
            and ti["dag_run_id"] in due
            and (ti["state"] == "up_for_retry" or ti["try_number"] > 1)
        ]

    zoo.wait_for(failed_once, "a task that failed", seconds=120)
    first = failed_once()[0]
    run = zoo.run("zoo_late", first["dag_run_id"])
    assert of_run(zoo.ledger(), run) == []
    text = zoo.log(first, attempt=1)
    assert f"no verdict on {first['dag_run_id']} of zoo_late" in text
    assert zoo.parameter in text
    zoo.own("blue")
    zoo.wait_for(
        lambda: zoo.run("zoo_late", run["dag_run_id"])["state"] == "success",
        "the run is executed",
        seconds=120,
    )
    lines = Counter((task, index, what) for task, index, _, what in marks(of_run(zoo.ledger(), run)))
    assert lines == Counter((task, index, what) for task, index, _, what in EXPECTED["zoo_late"])


def layer(ti: Json) -> str:
    """What ended a skipped task instance."""
    if ti["start_date"] is None:
        return "born skipped"
    return "in its process" if ti["pid"] or ti["hostname"] else "by its trigger rule"


def finished_run(zoo: Zoo, dag: str, skip: int = 0) -> Json:
    runs = [run for run in zoo.runs(dag, "scheduled") if run["state"] in FINISHED]
    return sorted(runs, key=lambda run: str(run["due"]))[skip]


def is_over(zoo: Zoo, run: Json) -> bool:
    """Whether a run that was cleared has ended."""
    now = zoo.run(run["dag_id"], run["dag_run_id"])
    return now["state"] in FINISHED and now["end_date"] != run["end_date"]


def instances_of(zoo: Zoo, run: Json) -> list[Json]:
    return [
        ti
        for ti in zoo.task_instances()
        if ti["dag_run_id"] == run["dag_run_id"] and ti["dag_id"] == run["dag_id"]
    ]


def caused_runs(zoo: Zoo) -> list[Json]:
    return [run for dag in CAUSED for run in zoo.runs(dag)]


def marks(lines: list[Json]) -> Counter[Line]:
    """As `EXPECTED` has them. A trigger may run twice if its triggerer restarts, so it is left out."""
    return Counter(
        (line["task"], line["map"], line["try"], line["what"])
        for line in lines
        if line["what"] != "triggered"
    )
