"""Each scheduled run is executed exactly once, by the environment that owns its instant, whatever happens.

Two real Airflows under load are switched by the real `mwaactl` while schedulers and workers are killed, the
parameter store hangs or refuses, puts arrive late, two operators act at once and one side's gate has a clock
that is 2 s fast. The tasks themselves write down what they do; what was due follows from the schedules, who
owned it from the parameter's history.

    SEED=n      another order of events (printed, so that a failure can be repeated)
    SWITCHES=n  a longer soak; 20 by default, which takes about ten minutes on 2 cores
    MUTATION=x  break the gate on purpose (load/dags/mutations.py), and see this test fail
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT
from tests.e2e.load import ledger, report, verdict
from tests.e2e.load.decisions import deciding
from tests.e2e.load.operator import Operator
from tests.e2e.load.schedule import CONSUMER, LOADS
from tests.e2e.load.twins import Twins, wait_for

SEED = int(os.environ.get("SEED", "7"))
SWITCHES = int(os.environ.get("SWITCHES", "20"))
START = timedelta(seconds=50)  # from the upload of the DAGs to their first instants
WARM_UP = timedelta(seconds=70)  # until every DAG has had a run
AFTER = timedelta(seconds=20)  # load after the last switch
DRAIN = 150.0  # seconds for what was due to be completed
MUTATION = os.environ.get("MUTATION", "")
SKEW = 2.0  # seconds that green's gate is ahead
SHOWN = 5  # violations explained in the failure; the file has all


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    tools = Path(os.environ.get("MWAA_LOCAL_TOOLS") or CHECKOUT / ".local" / "tools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_TOOLS", str(tools))  # undone afterwards, with what `up` adds
        patch.setenv("MWAA_LOCAL_HOME", "")
        twins = Twins(tmp_path_factory.mktemp("twins"), tools)
        try:
            twins.up()
            yield twins
        finally:
            assert twins.down() == [], "processes that survived"


def test_every_run_that_was_due_was_executed_once_by_its_owner(twins: Twins) -> None:
    print(f"SEED={SEED} SWITCHES={SWITCHES} home={twins.home.root}")
    start = datetime.now(UTC) + START
    twins.push(start=start.isoformat(), pattern="gate", skew={"green": SKEW}, mutation=MUTATION)
    twins.restart()
    since = start + WARM_UP
    wait_for(lambda: datetime.now(UTC) > since, "the warm-up", WARM_UP.total_seconds() + 60)
    operator = Operator(twins, SEED)
    operator.run(SWITCHES)
    until = datetime.now(UTC) + AFTER
    time.sleep(AFTER.total_seconds())
    decisions = operator.decisions

    def completed() -> bool:
        done = {
            (x.dag, x.due, x.task, x.map, x.colour) for x in ledger.read(twins.ledger) if x.what == "done"
        }
        return all(
            (load.dag, due, task, index, deciding(decisions, load.dag, due).owner) in done
            for load in LOADS
            for due in load.due(since, until)
            for task, index in load.tasks
        )

    deadline = time.monotonic() + DRAIN
    while not completed() and time.monotonic() < deadline:
        time.sleep(2)
    time.sleep(5)  # for consumers of the last producers
    lines = ledger.read(twins.ledger)
    seen = report.see(twins, [*(load.dag for load in LOADS), CONSUMER], since, until)
    found = verdict.judge(lines, decisions, seen.instances, seen.notes, since, until)
    print(
        f"{found.runs} runs due, {found.tasks} tasks, {found.attempts} attempts, {found.mirrors} mirrors "
        f"({found.processes_on_mirrors} of their tasks started a process), {operator.moves} decisions, "
        f"exit codes {dict(operator.codes)}, forced {dict(operator.forced)}"
    )
    told = [report.explain(v, twins, lines, decisions, seen, operator.log) for v in found.violations]
    everything = twins.home.root / "violations.txt"
    everything.write_text("\n\n".join([*operator.log, *told]))
    assert not told, f"{len(told)} violations (SEED={SEED}, all in {everything}):\n\n" + "\n\n".join(
        told[:SHOWN]
    )
