"""A DAG that appears, with a past to catch up on, while a switch is made: one side executes that past.

Modelled, in seconds around the switch: when the command lists the DAGs, when its write arrives, when it looks
again; when the DAG appears and when each side judges its run, by its host's copy, which other runs have made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bluegreen.gate import Gate, Run
from bluegreen.settings import RECENT
from bluegreen.store import Answer, OwnershipUnknown, Store
from bluegreen.timeline import COLOURS, CONFIRMED, LEAD, Colour, Timeline
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from tests.fakes.timeline import dumped, gate_settings, initial

T = datetime(2026, 11, 1, 12, tzinfo=UTC)  # the switch lists the DAGs
BACKLOG = T - timedelta(hours=1)
ASKED_AGAIN = 2.0  # seconds after which a task without a verdict is tried again


def after(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


class Ssm:
    """The parameter's versions as they arrive."""

    def __init__(self) -> None:
        self.arrived = [(T - timedelta(days=1), initial())]

    def read(self, now: datetime) -> Answer:
        modified, timeline = [each for each in self.arrived if each[0] <= now][-1]
        record = (dumped(timeline), timeline.base_version + 1, modified)
        return Answer(record, record)

    def put(self, at: datetime, timeline: Timeline) -> None:
        self.arrived.append((at, timeline))


class Host:
    def __init__(self, colour: Colour, ssm: Ssm, folder: Path) -> None:
        self.now = T - timedelta(days=1)
        chosen = gate_settings(colour)
        self._store = Store(
            chosen, lambda _: ssm.read(self.now), folder / colour, lambda: self.now.timestamp()
        )
        self._gate = Gate(chosen, self._store, lambda: self.now)

    def mine(self, run: Run, now: datetime) -> bool | None:
        self.now = now
        try:
            return self._gate.verdict(run, wait=0).mine
        except OwnershipUnknown:
            return None


SECONDS = st.integers(-120, 240).map(lambda half: half / 2)


@example(  # blue's host has a copy from before the switch
    written=0,
    again=0,
    slow=0,
    appears=20,
    others={"blue": [-1], "green": []},
    starts=dict.fromkeys(COLOURS, 0),
    judged=dict.fromkeys(COLOURS, 0),
)
@settings(max_examples=400, deadline=None)
@given(
    written=st.integers(0, 6).map(lambda half: half / 2),
    again=st.integers(0, 10),
    slow=st.integers(0, 4),
    appears=SECONDS,
    others=st.fixed_dictionaries({colour: st.lists(SECONDS, max_size=6) for colour in COLOURS}),
    starts=st.fixed_dictionaries({colour: st.integers(0, 60) for colour in COLOURS}),
    judged=st.fixed_dictionaries({colour: st.integers(0, 60) for colour in COLOURS}),
)
def test_its_past_is_executed_once(
    written: float,
    again: int,
    slow: int,
    appears: float,
    others: dict[Colour, list[float]],
    starts: dict[Colour, int],
    judged: dict[Colour, int],
) -> None:
    ssm = Ssm()
    known = ["old", "new"] if appears <= 0 else ["old"]
    since = after(written) + LEAD
    switched = initial().switched("green", since, 2, known=known)
    ssm.put(after(written), switched)
    second_look = written + RECENT.total_seconds() + again
    if 0 < appears <= second_look:  # on the old side, which is where it may have been executed
        assert after(second_look + slow) < since + CONFIRMED
        ssm.put(after(second_look + slow), switched.knowing(["new"], 2, 3))
        event("appeared during the switch")
    executed: list[Colour] = []
    with TemporaryDirectory() as folder:
        for colour in COLOURS:
            host = Host(colour, ssm, Path(folder))
            start = appears + starts[colour] / 2
            backlog = Run("new", "r", "scheduled", BACKLOG, started=after(start))
            when = start + judged[colour] / 2
            for second in sorted(each for each in others[colour] if each <= when):
                host.mine(Run("old", "o", "scheduled", after(second), started=after(second)), after(second))
            while (verdict := host.mine(backlog, after(when))) is None:
                when += ASKED_AGAIN
                assert when < 400, "a verdict must come"
            if verdict:
                executed.append(colour)
    assert len(executed) == 1, executed
    event(f"executed by {executed[0]}")
