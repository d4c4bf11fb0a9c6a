"""An operator who switches all the time while things go wrong, in an order that follows from a seed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bluegreen.timeline import COLOURS

from tests.e2e.load import ledger
from tests.e2e.load.decisions import Decision, Version, decided
from tests.e2e.load.schedule import ALONE
from tests.e2e.load.twins import Answer, Twins
from tests.e2e.load.verdict import Kill

OUTAGE = 20.0  # seconds
# Seconds that puts are late, and how many (None: all). mwaactl waits 2 s for an answer, 2 s for the arrival,
# then puts the standing value in its place: in time, too late itself, and not necessary.
LATE = ((8.0, 1), (8.0, None), (2.5, None))
IDLE = ", once idle"  # how `switch --wait` describes the moves that follow the one that was asked for
PATIENCE = 60.0  # seconds that --wait may take
LAST_PATIENCE = 240.0  # of one more, if none has come to its end
TRIES = 3  # of a command whose checks fail, before they are forced
# Checks that fail for what is broken here, and so may be forced in the end. Any other failure is an error.
FORCIBLE = {
    "target-scheduler": "it was killed, and the local MWAA waits up to a minute before it starts it again",
    "next-runs": "the scheduler that was killed has runs to make up for",
}
RACE = 1.5  # seconds that puts are late while two operators race, so that both look before either writes
# What one round of ten switches consists of, and what goes wrong meanwhile.
MOVES = ("plain", "plain", "plain", "plain", "opposite", "duel", "canary", "rollback", "wait", "late")
FAULTS = (
    "kill scheduler of owner",
    "kill scheduler of standby",
    "kill task",
    "kill worker",
    "refuse",
    "freeze",
)


class Operator:
    """Switches the twins; `log` tells what was done when, `versions` what came of it."""

    def __init__(self, twins: Twins, seed: int, say: Callable[[str], None] = print) -> None:
        self._twins = twins
        self._chance = random.Random(seed)  # to be repeated, not to be secret
        self._victims = random.Random(seed)  # apart: how often it is asked depends on what happens
        self._say = say
        self._threads: list[threading.Thread] = []
        self._lead = timedelta(seconds=twins.outputs["switch_lead_seconds"])
        self.versions: dict[int, Version] = {}
        self.log: list[str] = []
        self.drained: list[tuple[datetime, str]] = []  # when a side was reported as ready for maintenance
        self.codes: Counter[int] = Counter()
        self.forced: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()  # that took place: a kill without a victim did not
        self.kills: list[Kill] = []
        self.moves = 0
        self.look()

    def run(self, count: int) -> None:
        """Switch until `count` decisions have been made and everything in FAULTS has been tried."""
        moves: list[str] = []
        faults: list[str] = []
        late = 0
        tried: set[str] = set()
        while self.moves < count or not tried.issuperset(FAULTS):
            if not moves:
                moves = self._chance.sample(MOVES, len(MOVES))
                faults = self._chance.sample([*FAULTS, *[""] * (len(moves) - len(FAULTS))], len(moves))
            move, fault = moves.pop(), faults.pop() if faults else ""  # a move that was put off has none
            tried.add(fault)
            if move == "rollback" and not self.moves:
                move = "plain"  # there is nothing yet to roll back
            if fault == "freeze" and move in ("wait", "late"):  # needs the store itself
                moves.insert(0, move)
                move = "plain"
            if fault and fault != "freeze":
                self._break(fault)
                time.sleep(self._chance.uniform(0, 3))
            if move == "late":
                self._late(*LATE[late % len(LATE)])
                late += 1
            else:
                self._move(move)
            if fault == "freeze":
                time.sleep(self._chance.uniform(0, 2))
                self._break(fault)  # from before the instant of the switch until after it
            self._settle()
            time.sleep(self._chance.uniform(1, 6))
        if not self.drained:  # few switches, or a busy machine
            owner = self.owner
            self._wait(COLOURS[owner == COLOURS[0]], owner, LAST_PATIENCE)
        self.look()

    # Switching

    def _move(self, kind: str) -> None:
        owner = self.owner
        other = COLOURS[owner == COLOURS[0]]
        if kind == "plain":
            self._switch("switch", other)
        elif kind == "wait":
            self._wait(other, owner)
        elif kind == "rollback":
            self._switch("rollback")
        elif kind == "canary":
            self._switch("switch", other, "--dag", self._chance.choice(ALONE))
        elif kind == "opposite":  # the second one means: it shall stay where it is
            self._both(("switch", other), ("switch", owner))
        else:  # both write, towards different sides
            dag = self._chance.choice(ALONE)
            self._switch("switch", other, "--dag", dag)
            self._both(("switch", other), ("switch", owner, "--dag", dag))

    def _both(self, *commands: tuple[str, ...]) -> None:
        """Two operators at the same time."""
        delays = [0.0, self._chance.uniform(0, RACE)]
        self._chance.shuffle(delays)

        def operate(delay: float, command: tuple[str, ...]) -> None:
            time.sleep(delay)
            self._switch(*command, allowed=(0, 3))

        threads = [threading.Thread(target=operate, args=pair) for pair in zip(delays, commands, strict=True)]
        self._twins.operator.late = RACE
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._twins.operator.late = 0.0

    def _wait(self, target: str, source: str, patience: float = PATIENCE) -> None:
        done = self._switch("switch", target, "--wait", "--timeout", f"{patience:.0f}", allowed=(0, 5))
        if done.json.get("drain", {}).get("finished"):
            self.drained.append((datetime.now(UTC), source))

    def _late(self, seconds: float, puts: int | None) -> None:
        proxy = self._twins.operator
        proxy.late, proxy.late_puts = seconds, puts
        try:
            self._switch("switch", COLOURS[self.owner == COLOURS[0]], allowed=(0, 4, 5))
            time.sleep(seconds)  # the puts of a command that has given up
        finally:
            proxy.late, proxy.late_puts = 0.0, None

    def _switch(self, *command: str, allowed: tuple[int, ...] = (0,)) -> Answer:
        """The real program. A check that fails for what we broke is tried again, then forced by name."""
        forced: list[str] = []
        for attempt in range(2 * TRIES):
            done = self._command(*command, *forced)
            if done.code != 1:
                break
            time.sleep(3)
            if attempt + 1 >= TRIES:
                failed = [c for c in done.json["checks"] if c["result"] == "fail" and not c["forced"]]
                checks = {c["name"]: c["detail"] for c in failed}
                self._tell(f"fail after {attempt + 1} tries: {checks}")
                assert checks.keys() <= FORCIBLE.keys(), f"failed for nothing that was broken: {checks}"
                self.forced.update(checks.keys())
                forced += [word for name in checks for word in ("--force", name)]
        assert done.code in allowed, f"{' '.join(done.command)} ended with {done.code}: {done.out}{done.err}"
        return done

    def _command(self, *command: str) -> Answer:
        started = datetime.now(UTC)
        done = self._twins.mwaactl(*command, "--yes")
        told = done.json
        self.codes[done.code] += 1
        self._tell(
            f"mwaactl {' '.join(command)}: exit {done.code}, "
            + (
                f"version {told['version']}, owns from {told['owns_from']}, changed {told['changed']}"
                if "version" in told and done.code == 0
                else str(told.get("error", done.err)).strip()[:300]
            )
            + f" ({(datetime.now(UTC) - started).total_seconds():.1f} s)"
        )
        return done

    # Looking

    def look(self) -> None:
        """Remember the parameter's history: SSM keeps a hundred versions."""
        self.versions |= {version.number: version for version in self._twins.versions()}
        asked = {d.version for d in self.decisions if not self.versions[d.version].description.endswith(IDLE)}
        self.moves = len(asked) - 1  # the first is the deployment's

    @property
    def decisions(self) -> list[Decision]:
        return decided(self.versions.values(), self._lead, self._twins.content)

    @property
    def owner(self) -> str:
        """Of all DAGs but those that were moved alone, once everything decided has begun."""
        self.look()
        return [decision for decision in self.decisions if decision.dag is None][-1].owner

    def _settle(self) -> None:
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self.look()

    def _tell(self, text: str) -> None:
        line = f"{datetime.now(UTC):%H:%M:%S.%f} {text}"
        self.log.append(line)
        self._say(line)

    # Breaking

    def _break(self, fault: str) -> None:
        owner = self.owner
        if fault.startswith("kill scheduler"):
            colour = owner if fault.endswith("owner") else COLOURS[owner == COLOURS[0]]
            if self._twins.kill_scheduler(colour):
                self._struck(fault, Kill(datetime.now(UTC), colour), f"{colour}'s scheduler")
            else:
                self._tell(f"{colour}'s scheduler was not there to be killed")
        elif fault.startswith("kill"):
            self._kill(supervisor=fault == "kill worker")
        elif fault == "refuse":
            self.faults[fault] += 1
            self._outage(
                "refuses connections",
                lambda: self._twins.gate.set("refuse"),
                lambda: self._twins.gate.set("pass"),
            )
        else:
            self.faults[fault] += 1
            self._outage("hangs", self._twins.freeze, self._twins.thaw)

    def _kill(self, *, supervisor: bool) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            fresh = datetime.now(UTC) - timedelta(seconds=25)
            lines = [line for line in ledger.running(ledger.read(self._twins.ledger)) if line.at > fresh]
            self._victims.shuffle(lines)
            for line in lines:
                if self._twins.kill(line.pid, supervisor=supervisor):
                    what = "the worker of" if supervisor else "the process of"
                    self._struck(
                        "kill worker" if supervisor else "kill task",
                        Kill(datetime.now(UTC), line.colour, line.pid),
                        f"{what} {line.dag} {line.due:%H:%M:%S} on {line.colour}, pid {line.pid}",
                    )
                    return
            time.sleep(0.2)
        self._tell("no task was at work that could be killed")

    def _struck(self, fault: str, kill: Kill, victim: str) -> None:
        self._tell(f"SIGKILL of {victim}")
        self.faults[fault] += 1
        self.kills.append(kill)

    def _outage(self, what: str, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._tell(f"the parameter store {what} for {OUTAGE:.0f} s")
        begin()

        def mend() -> None:
            time.sleep(OUTAGE)
            end()
            self._tell("the parameter store is back")

        thread = threading.Thread(target=mend)
        thread.start()
        self._threads.append(thread)
