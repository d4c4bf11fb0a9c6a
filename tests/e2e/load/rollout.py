"""`mwaactl rollout` beneath the load, by the commands of a page, and what must hold of each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bluegreen.timeline import COLOURS

from local.home import CHECKOUT
from tests.e2e.load import campaign, ledger, report, verdict
from tests.e2e.load.decisions import Decision, decided, deciding
from tests.e2e.load.ledger import Line
from tests.e2e.load.schedule import CONSUMER, LOADS
from tests.e2e.load.twins import OPTIONS, STACK, Answer, Twins, wait_for

PAGE = CHECKOUT / "docs" / "upgrade.md"
SLOW = {"scheduler.task_instance_heartbeat_timeout": "120"}  # nothing is killed here but by an update
CHANGE = 20  # seconds at least that Amazon takes for a change: nothing runs there meanwhile
LIMIT = 1800.0  # seconds of a rollout: on a busy machine, a serial DAG may never be idle
DRAIN = 240.0  # seconds for what was due to be completed
# Tasks that end unfinished as planned.
ENDING = {(load.dag, load.resumed) for load in LOADS} | {("load_retried", "work")}
Events = list[dict[str, Any]]


def commands(page: Path = PAGE) -> list[str]:
    """Each command of the page's shell blocks, in its order, without its comment."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


class Rolling(Twins):
    """The twins as a project of their own, whose stack file `pulumi config set` writes; the load is on."""

    def __init__(self, root: Path, tools: Path, **settings: Any) -> None:
        super().__init__(root, tools, {**OPTIONS, **SLOW}, gate_probe_minutes=1, **settings)
        self.project = self.home.dir("project")
        self.config = self.project / f"Pulumi.{STACK}.yaml"
        for name in ("__main__.py", ".venv"):
            (self.project / name).symlink_to(CHECKOUT / name)
        (self.project / "Pulumi.yaml").write_bytes((CHECKOUT / "Pulumi.yaml").read_bytes())

    @property
    def decisions(self) -> list[Decision]:
        lead = timedelta(seconds=self.outputs["switch_lead_seconds"])
        return decided(self.versions(), lead, self.content)

    @property
    def owner(self) -> str:
        return deciding(self.decisions, "", datetime.now(UTC)).owner

    def typed(self, command: str, *more: str, timeout: float = 1500) -> Answer:
        """A command as it is typed, with `more` at its end."""
        return self.run(*command.split(), *more, timeout=timeout)


@contextmanager
def rolling(root: Path, **settings: Any) -> Iterator[tuple[Rolling, datetime]]:
    """The twins at work, and since when all runs count."""
    tools = Path(os.environ.get("MWAA_LOCAL_TOOLS") or CHECKOUT / ".local" / "tools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MWAA_LOCAL_TOOLS", str(tools))  # undone afterwards, with what `up` adds
        patch.setenv("MWAA_LOCAL_HOME", "")
        patch.setenv("MWAA_LOCAL_CHANGE_SECONDS", str(CHANGE))
        twins = Rolling(root, tools, **settings)
        try:
            twins.up()
            since = campaign.begin(twins, pattern="gate", skew={})
            loads = {load.dag for load in LOADS}
            wait_for(lambda: loads <= {line.dag for line in ledger.read(twins.ledger)}, "the load is on", 120)
            yield twins, since
        finally:
            assert twins.down() == [], "processes that survived"


# --- the command ---


class Rollout:
    """`mwaactl rollout --json`, with what it has printed so far."""

    def __init__(self, twins: Twins, command: Sequence[str]) -> None:
        self._log = (twins.home.logs / "rollout.err").open("a")
        self.process = subprocess.Popen(
            [*command, *([] if "--json" in command else ["--json"])],
            cwd=twins.project,
            env=twins.env,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self.events: Events = []

    def until(self, *stages: str) -> bool:
        """Read its events up to one of these stages; False if it has ended without."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1].get("stage") in stages:
                return True
        self.process.wait(60)
        return False

    def kill(self, *, pulumi: bool = True) -> None:
        """End it, with Pulumi's process or without, if they still run."""
        with suppress(ProcessLookupError):
            (os.killpg if pulumi else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    def end(self) -> int:
        """Wait for its end; its exit code. It is killed if that takes too long."""
        limit = threading.Timer(LIMIT, self.process.kill)
        limit.start()
        try:
            self.until("nothing of that name")
        finally:
            limit.cancel()
            self.kill()
        return self.process.returncode


def stages(events: Events) -> list[str]:
    """The stages of a rollout, one after the other, without what is told meanwhile."""
    told = [str(event.get("stage", "error")) for event in events]
    return [stage for stage in told if stage not in ("wait", "step", "canary")]


# --- what must hold ---


@dataclass(frozen=True)
class Proof:
    """What came of a change beneath the load."""

    verdict: verdict.Verdict
    told: list[str] = field(repr=False)  # each violation, explained
    interrupted: list[Line]  # starts of tasks that never came to their end
    touched: Mapping[str, datetime]  # when Amazon's newest change of each environment began
    decisions: list[Decision]


def prove(twins: Rolling, since: datetime, drained: Sequence[tuple[datetime, str]]) -> Proof:
    """Compare what was due with what was done, once it is. `drained`: when, which side."""
    decisions = twins.decisions
    until, lines = campaign.end(
        twins, since, lambda dag, due: deciding(decisions, dag, due).owner, patience=DRAIN
    )
    decisions = twins.decisions
    seen = report.see(twins, [*(load.dag for load in LOADS), CONSUMER], since, until)
    misjudged = report.misjudged(twins)
    found = verdict.judge(
        lines, decisions, seen.instances, seen.notes, since, until, drained, misjudged=misjudged
    )
    told = [report.explain(each, twins, lines, decisions, seen, []) for each in found.violations]
    (twins.home.root / "violations.txt").write_text("\n\n".join(told))
    return Proof(found, told, interrupted(lines, since, until), _touched(twins), decisions)


def interrupted(lines: Sequence[Line], since: datetime, until: datetime) -> list[Line]:
    """The starts of runs due in a window that no end belongs to: an update has ended the task."""
    open_ = {verdict.attempt(line): line for line in lines if line.what == "start"}
    for line in lines:
        if line.what == "done":
            open_.pop(verdict.attempt(line), None)
    return [
        line for line in open_.values() if since <= line.due < until and (line.dag, line.task) not in ENDING
    ]


def _touched(twins: Rolling) -> dict[str, datetime]:
    """When the creation or the newest update of each environment began."""
    return {colour: twins.environment(colour)["LastUpdate"]["CreatedAt"] for colour in COLOURS}


def assert_rolled_out(
    twins: Rolling, since: datetime, events: Events, begun: datetime, *, action: str
) -> None:
    """Nothing was lost, nothing executed twice, no task ended, and no owner touched."""
    assert stages(events) == ["plan", "apply", "ready", "switch", "drain", "apply", "done"]
    (source,) = {events[0]["owner"]}
    (ended,) = [datetime.fromisoformat(event["at"]) for event in events if event["stage"] == "drain"]
    proof = prove(twins, since, [(ended, source)])
    assert proof.told == [], "\n\n".join(proof.told[:5])
    assert proof.interrupted == [], [str(line) for line in proof.interrupted]
    assert proof.verdict.tasks > 0
    target = twins.owner
    assert target != source
    first = min(d.since for d in proof.decisions if d.owner == target and d.since > begun)  # or a canary's
    assert begun < proof.touched[target] < first, "the standby was changed while it owned nothing"
    assert proof.touched[source] > ended, "the other side was changed after its books were closed"
    steps = [step for step in events[0]["steps"] if step["type"] == "aws:mwaa/environment:Environment"]
    assert [(step["side"], step["action"]) for step in steps] == [("standby", action), ("owner", action)]
