"""A model check of the ownership timeline: whatever happens, every (DAG, due instant) has one owner.

Modelled, in steps of half a second: SSM (versions numbered as puts arrive, history, LastModifiedDate by
its own clock, reads that lag, outages); writers that switch, move single DAGs and put a standing value on
top, with wrong clocks and any `since`, even in the past, and whose puts are late or never sent; stale and
corrupt values put back, as by `pulumi up`; hosts with a blue or green gate in several processes that share
a cache, restart, and whose clocks are off and are set, all within the lead; days that pass.
Gate, Store and Parameter are the real ones; only the client of SSM and the clocks are the model's.

Mutations of the code, tried by hand. Found: no `max(since, modified + lead)`, or without the lead, or not for
single DAGs; the clamp on every version's entries; any value valid, or one based a version too low; the
oldest valid version standing; a copy good for the lead beyond its fetch, or for any instant; a writer that
starts from the raw reading; a gate that asks who owns now. Not reliably found: a writer that drops its
predecessor's planned entries as superseded. Not found, as they need a rarer meeting of times: a fetch said to
start at its answer; a copy fetched before the instant by the host's clock; history forgotten at once;
superseded judged with the newest entries; a lag of reads that exceeds the lead.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bluegreen import document
from bluegreen.document import dump, latest_valid
from bluegreen.gate import Gate, Run
from bluegreen.store import OwnershipUnknown, Parameter, Store
from bluegreen.timeline import Colour, Timeline, TimelineError, other_colour
from botocore.exceptions import EndpointConnectionError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fakes.timeline import LIVES, dumped, gate_settings, initial

START = 1_800_000_000.0
STEP = 0.5  # seconds; all times are multiples, so that floats are exact
LEAD = timedelta(seconds=5)
SKEW, LAG = 5, 4  # in steps, of a reader's clock and of a read: together just less than the lead
MAX_AGE = timedelta(seconds=60)
DAGS = ("etl", "serial", "other")
PARAMETER = "/project/stack/ownership"

SECONDS = st.integers(0, 24)  # in steps
DELAY = st.integers(-2, 10)
LAGS = st.tuples(st.integers(0, LAG), st.integers(0, LAG))
WRITER_SKEW = st.integers(-9, 9)
PROCESS = st.integers(0, 4)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class LaggingSsm:
    """The parameter, its true time, and the puts on their way to it; a client for readers and writers."""

    def __init__(self) -> None:
        self.now = START
        self.versions = [(dumped(initial()), 1, START - 9999)]
        self.travelling: list[tuple[float, str]] = []
        self.reachable = True
        self.lags = (0, 0)  # steps, of the next GetParameter and GetParameterHistory
        self.takes = 0  # steps that pass before each answer

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        for arrival, value in sorted(put for put in self.travelling if put[0] <= until):
            self.arrive(value, arrival)
        self.travelling = [put for put in self.travelling if put[0] > until]
        self.now = until

    def arrive(self, value: str, at: float) -> None:
        self.versions.append((value, len(self.versions) + 1, at))

    def _seen(self, lag: int) -> Iterator[dict[str, Any]]:
        if not self.reachable:
            raise EndpointConnectionError(endpoint_url="https://ssm")
        self.pass_time(self.takes * STEP)
        for value, version, modified in self.versions:
            if modified <= self.now - lag * STEP:
                yield {"Value": value, "Version": version, "LastModifiedDate": moment(modified)}

    def get_parameter(self, Name: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        return {"Parameter": list(self._seen(self.lags[0]))[-1]}

    def get_paginator(self, _: str) -> LaggingSsm:
        return self

    def paginate(self, Name: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - AWS's name
        yield {"Parameters": list(self._seen(self.lags[1]))}

    def parameter(self) -> Parameter:
        parameter = Parameter(PARAMETER, timeout=1)
        parameter._ask = self.ask  # type: ignore[method-assign]
        return parameter

    def ask(self, action: str, **_: Any) -> dict[str, Any]:
        """What SSM's API answers to a reader."""
        if action == "GetParameter":
            answer = self.get_parameter(PARAMETER)
            records = [answer["Parameter"]]
        else:
            answer = next(self.paginate(PARAMETER))
            records = answer["Parameters"]
        for record in records:
            record["LastModifiedDate"] = record["LastModifiedDate"].timestamp()
        return answer


@dataclass
class Host:
    """A machine of one environment: its clock's error in steps, and its cache."""

    colour: Colour
    directory: Path
    skew: int = 0


@dataclass(frozen=True)
class Process:
    name: str
    host: Host
    gate: Gate


class OneOwner(RuleBasedStateMachine):
    """Compares every verdict with those given before about the same DAG and instant."""

    def __init__(self) -> None:
        super().__init__()
        self.ssm = LaggingSsm()
        self.folder = tempfile.TemporaryDirectory(prefix="timeline-model-")
        self.verdicts: dict[tuple[str, float], tuple[str, str]] = {}
        self.unsent: list[str] = []
        self.days_passed = False
        self.processes: list[Process] = []

    @initialize(skews=st.tuples(*[st.integers(-SKEW, SKEW)] * 3))
    def start_hosts(self, skews: tuple[int, int, int]) -> None:
        root = Path(self.folder.name)
        colours: tuple[Colour, ...] = ("blue", "green", "green")
        blue, green, second = (
            Host(colour, root / str(number), skew)
            for number, (colour, skew) in enumerate(zip(colours, skews, strict=True))
        )
        self.processes = [self.process(host) for host in (blue, blue, green, green, second)]

    def process(self, host: Host) -> Process:
        def clock() -> float:
            return self.ssm.now + host.skew * STEP

        options = gate_settings(host.colour, max_age=MAX_AGE)
        store = Store(options, self.ssm.parameter().read, host.directory, clock, pause=0)
        return Process(
            f"{host.colour} {host.directory.name}", host, Gate(options, store, lambda: moment(clock()))
        )

    # --- time and machines ---

    @rule(steps=SECONDS)
    def time_passes(self, steps: int) -> None:
        self.ssm.pass_time(steps * STEP)

    @precondition(lambda self: len(self.ssm.versions) > 8 and not self.days_passed)
    @rule(steps=SECONDS)
    def days_pass(self, steps: int) -> None:
        self.days_passed = True
        self.ssm.pass_time(90_000 + steps * STEP)
        self.verdicts.clear()  # nobody promises to remember them longer than a day

    @rule(number=PROCESS, skew=st.integers(-SKEW, SKEW))
    def a_clock_is_set(self, number: int, skew: int) -> None:
        self.processes[number].host.skew = skew

    @rule(number=PROCESS)
    def a_process_restarts(self, number: int) -> None:
        self.processes[number] = self.process(self.processes[number].host)

    # --- writers ---

    def read_to_write(self, lags: tuple[int, int]) -> tuple[Timeline, int]:
        """As mwaactl does: the standing timeline as readers apply it, and the newest version of all."""
        self.ssm.lags, self.ssm.takes = lags, 0
        current = self.ssm.get_parameter(PARAMETER)["Parameter"]
        versions = [current, *next(self.ssm.paginate(PARAMETER))["Parameters"]]
        try:
            newest = latest_valid([(current["Value"], current["Version"], current["LastModifiedDate"])])
        except TimelineError:
            newest = latest_valid((v["Value"], v["Version"], v["LastModifiedDate"]) for v in versions)
        return newest.effective().seen_with(LIVES), current["Version"]

    @rule(
        about=st.sampled_from(("all", "all but serial", "those kept back", *DAGS[:2])),
        lead=st.integers(-10, 24),
        skew=WRITER_SKEW,
        lags=LAGS,
        delay=DELAY,
    )
    def a_writer_decides(self, about: str, lead: int, skew: int, lags: tuple[int, int], delay: int) -> None:
        before, top = self.read_to_write(lags)
        since = moment(self.ssm.now + (skew + lead) * STEP)
        try:
            decided = before
            if about in DAGS:
                decided = before.dag_moved(
                    about, other_colour(self.owner(before, since, about)), since, top + 1
                )
            elif about == "those kept back":
                common = before.owners[-1].owner
                for dag in (dag for dag in before.dags if before.owner(since, dag) != common):
                    decided = decided.dag_moved(dag, common, since, top + 1)
                if decided is before:
                    return
            else:
                decided = before.switched(other_colour(before.owners[-1].owner), since, top + 1)
            if about == "all but serial":
                kept = self.owner(before, since, "serial")
                decided = decided.dag_moved("serial", kept, since, top + 1)
            self.put(dump(decided, moment(self.ssm.now + skew * STEP)).value, delay)
        except TimelineError:
            return  # the writer refuses: a race that it can see

    @rule(lags=LAGS, delay=DELAY)
    def a_writer_puts_the_standing_value_on_top(self, lags: tuple[int, int], delay: int) -> None:
        before, top = self.read_to_write(lags)
        self.put(dump(replace(before, base_version=top), moment(self.ssm.now)).value, delay)

    def put(self, value: str, delay: int) -> None:
        """Send a value that takes `delay` steps; below 0: the writer pauses before it, perhaps for ever."""
        if delay < 0:
            self.unsent.append(value)
        else:
            self.ssm.travelling.append((self.ssm.now + delay * STEP, value))
            self.ssm.pass_time(0)

    @precondition(lambda self: self.unsent)
    @rule(number=st.integers(0, 99))
    def a_paused_writer_goes_on(self, number: int) -> None:
        self.put(self.unsent.pop(number % len(self.unsent)), 0)

    @rule(back=st.integers(0, 6))
    def an_old_or_corrupt_value_is_put(self, back: int) -> None:
        self.put(self.ssm.versions[-back][0] if 0 < back <= len(self.ssm.versions) else "?", 0)

    def owner(self, timeline: Timeline, instant: datetime, dag_id: str) -> Colour:
        owner = timeline.owner(instant, dag_id)
        assert owner is not None
        return owner

    # --- readers ---

    def ask(self, process: Process, dag: str, instant: float, retried: bool = False) -> bool:
        """Whether there was a verdict; it must be the one that others got."""
        run = Run(dag, "run", "scheduled", moment(instant))
        try:
            verdict = process.gate.verdict(run, wait=0, retried=retried)
        except OwnershipUnknown:
            return False  # the task waits
        owner = process.host.colour if verdict.mine else other_colour(process.host.colour)
        account = f"{process.name} at {self.ssm.now - START:+}: {verdict.reason}"
        first, earlier = self.verdicts.setdefault((dag, instant), (owner, account))
        assert owner == first, f"{dag} due at {instant - START:+}: {account}; but {earlier}"
        return True

    def ask_all(self, process: Process, back: int) -> None:
        """Judge what was due in the last `back` steps by the process's clock, until there is no answer."""
        newest = self.ssm.now + process.host.skew * STEP
        instants = [newest - step * STEP for step in range(back, -1, -1)]
        all(self.ask(process, dag, instant) for instant in instants for dag in DAGS)

    @rule(
        number=PROCESS,
        dag=st.sampled_from(DAGS),
        back=st.integers(-SKEW, 60),
        lags=LAGS,
        takes=st.integers(0, 8),
    )
    def a_retried_run_is_judged(
        self, number: int, dag: str, back: int, lags: tuple[int, int], takes: int
    ) -> None:
        self.ssm.lags, self.ssm.takes = lags, takes
        self.ask(self.processes[number], dag, self.ssm.now - back * STEP, retried=True)

    @rule(number=PROCESS, back=st.integers(0, 40), lags=LAGS, takes=st.integers(0, 8))
    def due_runs_are_judged(self, number: int, back: int, lags: tuple[int, int], takes: int) -> None:
        self.ssm.lags, self.ssm.takes = lags, takes
        self.ask_all(self.processes[number], back)

    @rule(steps=SECONDS, lags=LAGS)
    def time_passes_with_runs_due(self, steps: int, lags: tuple[int, int]) -> None:
        """Every process judges at every moment what is due just then."""
        self.ssm.lags, self.ssm.takes = lags, 0
        for _ in range(steps):
            self.ssm.pass_time(STEP)
            for process in self.processes:
                self.ask_all(process, 0)

    @rule(number=PROCESS)
    def runs_are_judged_while_ssm_is_down(self, number: int) -> None:
        self.ssm.reachable = False
        self.ask_all(self.processes[number], 60)
        self.ssm.reachable = True

    def teardown(self) -> None:
        try:
            self.ssm.lags, self.ssm.takes = (0, 0), 0
            for process in self.processes:
                self.runs_are_judged_while_ssm_is_down(self.processes.index(process))
            for process in self.processes:
                self.ask_all(process, 60)
                self.ssm.pass_time(60)
                for dag, instant in self.verdicts:
                    self.ask(process, dag, instant)
        finally:
            self.folder.cleanup()


def test_every_reader_at_every_time_names_the_same_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_CHARACTERS", 10**9)  # objects are not the subject here
    run_state_machine_as_test(
        OneOwner,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
