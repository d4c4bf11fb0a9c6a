"""Each scheduled run is executed exactly once, by the environment that owns its instant, whatever happens.

Two real Airflows under load are switched by the real `mwaactl` while schedulers and workers are killed, the
parameter store hangs or refuses, puts arrive late, two operators act at once and one side's gate has a clock
that is 2 s fast. The tasks themselves write down what they do; what was due follows from the schedules, who
owned it from the parameter's history.

    SEED=n      another order of events (printed, so that a failure can be repeated)
    SWITCHES=n  a longer soak; 10 by default; 20 takes eleven minutes on 2 busy cores
    MUTATION=x  break the gate on purpose (load/dags/mutations.py), and see this test fail
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT
from tests.e2e.load import campaign, report, verdict
from tests.e2e.load.decisions import deciding
from tests.e2e.load.operator import FAULTS, Operator
from tests.e2e.load.schedule import CONSUMER, LOADS
from tests.e2e.load.twins import Twins

SEED = int(os.environ.get("SEED", "7"))
SWITCHES = int(os.environ.get("SWITCHES", "10"))
MUTATION = os.environ.get("MUTATION", "")
SKEW = {"green": 2.0}  # seconds that green's gate is ahead
DRAIN = 150.0  # seconds for what was due to be completed
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
    since = campaign.begin(twins, pattern="gate", skew=SKEW, mutation=MUTATION)
    operator = Operator(twins, SEED)
    operator.run(SWITCHES)
    decisions = operator.decisions
    until, lines = campaign.end(
        twins, since, lambda dag, due: deciding(decisions, dag, due).owner, patience=DRAIN
    )
    seen = report.see(twins, [*(load.dag for load in LOADS), CONSUMER], since, until)
    found = verdict.judge(
        lines,
        decisions,
        seen.instances,
        seen.notes,
        since,
        until,
        operator.drained,
        operator.kills,
        report.misjudged(twins),
    )
    print(
        f"{found.runs} runs due, {found.tasks} tasks, {found.attempts} attempts, {found.mirrors} mirrors "
        f"({found.processes_on_mirrors} of their tasks started a process), {operator.moves} decisions, "
        f"{len(operator.drained)} drains, faults {dict(operator.faults)}, "
        f"exit codes {dict(operator.codes)}, forced {dict(operator.forced)}"
    )
    assert operator.drained, "no `switch --wait` came to its end, so nothing was verified about drains"
    assert set(operator.faults) == set(FAULTS), "what never took place: a kill that found no victim"
    assert found.runs > 0
    assert found.attempts >= found.tasks > 0
    assert found.mirrors > 0.9 * found.runs, "both sides must have had nearly every run"
    told = [report.explain(v, twins, lines, decisions, seen, operator.log) for v in found.violations]
    everything = twins.home.root / "violations.txt"
    everything.write_text("\n\n".join(["\n".join(operator.log), *told]))
    if told:
        shown = "\n\n".join(told[:SHOWN])
        pytest.fail(f"{len(told)} violations (SEED={SEED}, all in {everything}):\n\n{shown}", pytrace=False)
