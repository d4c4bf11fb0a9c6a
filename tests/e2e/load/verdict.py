"""Whether each run that was due was executed exactly once, by the environment that owned its instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.e2e.load.decisions import Decision, deciding
from tests.e2e.load.ledger import Line, by_run
from tests.e2e.load.schedule import CONSUMER, LOADS, PRODUCER, Load

MADE_TRUE = "mwaactl: executed on"  # note of a mirror that was given the states of the run it mirrors
IDLE = {"skipped", "removed", "scheduled", "queued", None}  # states of tasks that executed nothing
# A cross-DAG sensor, a retry: what a mirror may show before the gate has judged it.
REPORTING = timedelta(seconds=5)  # from a task's last line until Airflow has recorded that it succeeded


@dataclass(frozen=True)
class Instance:
    """A task instance as Airflow's REST API has it."""

    colour: str
    dag: str
    run: str
    due: datetime
    task: str
    map: int
    state: str | None
    worked: bool  # whether a process was ever started for it

    def __str__(self) -> str:
        index = "" if self.map < 0 else f"[{self.map}]"
        process = " (a process was started)" if self.worked else ""
        return f"{self.colour:5} {self.task}{index} {self.state}{process}"


@dataclass(frozen=True)
class Violation:
    """What is wrong with one run."""

    dag: str
    due: datetime
    what: str
    runs: tuple[tuple[str, str], ...] = ()  # (colour, run id) of other runs to be looked at


@dataclass(frozen=True)
class Kill:
    """A SIGKILL: of a task's process or its worker (`pid` is the task's), or of a scheduler (None)."""

    at: datetime
    colour: str
    pid: int | None = None


@dataclass
class Verdict:
    """What was found, and how much was looked at."""

    violations: list[Violation] = field(default_factory=list)
    runs: int = 0
    attempts: int = 0  # starts of tasks
    tasks: int = 0  # of due runs
    mirrors: int = 0
    processes_on_mirrors: int = 0


def judge(
    lines: Sequence[Line],
    decisions: Sequence[Decision],
    instances: Iterable[Instance],
    notes: Mapping[tuple[str, str, str], str],
    since: datetime,
    until: datetime,
    drained: Iterable[tuple[datetime, str]] = (),
    kills: Sequence[Kill] = (),
    misjudged: Collection[tuple[str, str, str, str]] = (),
) -> Verdict:
    """Compare what was due in [since, until) with what was done.

    `instances` are those of both environments, `notes` the runs' by (colour, DAG, run id); `drained` tells
    when it was said of which side that nothing is left to do there. What excuses that a task is executed
    again: `kills`, and for a task that was resumed that Airflow itself took it for lost, because it heard of
    the end of its first process when the second one was at work (`misjudged`: colour, DAG, task, run id).
    """
    verdict = Verdict()
    starts = {attempt(line): line.at for line in lines if line.what == "start"}
    resumed = {(load.dag, load.resumed) for load in LOADS}

    def counts(line: Line) -> bool:
        """Whether Airflow had the time to record this completion, so that there must not be another."""
        if (line.dag, line.task) in resumed and (line.colour, line.dag, line.task, line.run) in misjudged:
            return False
        begun = starts.get(attempt(line), line.at)
        return not any(
            k.colour == line.colour and k.pid in (None, line.pid) and begun <= k.at <= line.at + REPORTING
            for k in kills
        )

    ledger = by_run(line for line in lines if line.what != "asked")
    mirrored: dict[tuple[str, datetime], list[Instance]] = defaultdict(list)
    for instance in instances:
        mirrored[instance.dag, instance.due].append(instance)
    for load in LOADS:
        for due in load.due(since, until):
            decision = deciding(decisions, load.dag, due)
            verdict.runs += 1
            verdict.tasks += len(load.tasks)
            found = ledger.get((load.dag, due), [])
            verdict.attempts += sum(line.what == "start" for line in found)
            for what in _executed(load, decision, found, counts):
                verdict.violations.append(Violation(load.dag, due, what))
            others = [i for i in mirrored[load.dag, due] if i.colour != decision.owner]
            verdict.mirrors += bool(others)
            verdict.processes_on_mirrors += sum(i.worked for i in others)
            for instance in others:
                note = notes.get((instance.colour, instance.dag, instance.run)) or ""
                if instance.state not in IDLE and not note.startswith(MADE_TRUE):
                    verdict.violations.append(
                        Violation(load.dag, due, f"the mirror is not skipped: {instance}")
                    )
        if load.serial:
            verdict.violations += _overlaps(load, ledger, since, until)
    verdict.violations += _followed(lines, decisions, since, until, counts)
    for said, colour in drained:
        verdict.violations += _still_at_work(lines, decisions, said, colour)
    return verdict


def attempt(line: Line) -> tuple[str, str, str, str, int, int]:
    return line.colour, line.dag, line.run, line.task, line.map, line.attempt


def _executed(
    load: Load, decision: Decision, found: Sequence[Line], counts: Callable[[Line], bool]
) -> Iterator[str]:
    foreign = [line for line in found if line.colour != decision.owner]
    if foreign:
        tasks = ", ".join(sorted({line.task for line in foreign}))
        yield f"{tasks} ran on {foreign[0].colour}, but {decision.owner} owned it ({decision})"
    done: dict[tuple[str, int], list[Line]] = defaultdict(list)
    for line in found:
        if line.what == "done" and line.colour == decision.owner:
            done[line.task, line.map].append(line)
    for task, index in load.tasks:
        name = task if index < 0 else f"{task}[{index}]"
        if not done[task, index]:
            yield f"{name} was never completed on {decision.owner}, which owned it ({decision})"
        if sum(map(counts, done[task, index][:-1])):
            times = ", ".join(f"{line.at:%H:%M:%S.%f} (try {line.attempt})" for line in done[task, index])
            yield f"{name} was completed {len(done[task, index])} times on {decision.owner}: {times}"


def _overlaps(
    load: Load, ledger: Mapping[tuple[str, datetime], Sequence[Line]], since: datetime, until: datetime
) -> Iterator[Violation]:
    """Runs of a serial DAG that began before the one before was over, on whichever side."""
    before: Sequence[Line] = ()
    for due in load.due(since, until):
        found = ledger.get((load.dag, due), ())
        if not found:
            continue
        if before and found[0].at < max(line.at for line in before):
            yield Violation(
                load.dag,
                due,
                f"a serial DAG overlapped itself: {due:%H:%M:%S} began on {found[0].colour} at "
                f"{found[0].at:%H:%M:%S.%f}, while {before[0].due:%H:%M:%S} on {before[0].colour} "
                f"was at work until {max(line.at for line in before):%H:%M:%S.%f}",
                runs=((before[0].colour, before[0].run),),
            )
        before = found


def _followed(
    lines: Sequence[Line],
    decisions: Sequence[Decision],
    since: datetime,
    until: datetime,
    counts: Callable[[Line], bool],
) -> Iterator[Violation]:
    """What assets trigger must have been executed once for each event, where the event was made."""
    producer = next(load for load in LOADS if load.dag == PRODUCER)
    runs = {line.due: line.run for line in lines if line.dag == PRODUCER}
    consumers: dict[str, dict[tuple[str, str], list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line.dag == CONSUMER and line.what == "done":
            for cause in line.causes:
                consumers[cause][line.colour, line.run].append(line)
    for due in producer.due(since, until):
        if due not in runs:
            continue  # lost: already told
        owner = deciding(decisions, PRODUCER, due).owner
        found = sorted(
            run
            for run, done in consumers[runs[due]].items()
            for line in done
            if line is done[-1] or counts(line)
        )
        if [colour for colour, _ in found] != [owner]:
            yield Violation(
                PRODUCER,
                due,
                f"{CONSUMER} must have followed {runs[due]} once, on {owner}; it did so "
                + (", ".join(f"on {colour} as {run}" for colour, run in found) or "nowhere"),
                runs=tuple(found),
            )


def _still_at_work(
    lines: Iterable[Line], decisions: Iterable[Decision], said: datetime, colour: str
) -> Iterator[Violation]:
    """What a side did after it was said to be drained, and before it owned anything again."""
    again = min((d.since for d in decisions if d.owner == colour and d.since > said), default=None)
    for line in lines:
        if line.colour == colour and line.at > said and (again is None or line.due < again):
            yield Violation(
                line.dag, line.due, f"{colour} was said to be drained at {said:%H:%M:%S.%f}, but: {line}"
            )
