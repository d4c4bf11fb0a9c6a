"""A host whose processes read the ownership timeline, and the time on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bluegreen.aws import AwsError
from bluegreen.store import Answer, Store

from tests.fakes.timeline import dumped, gate_settings, initial

NOW = 1_800_000_000.0
SETTINGS = gate_settings("blue", parameter="/project/stack/ownership", max_age=timedelta(seconds=300))


def due(seconds: float) -> datetime:
    """The instant `seconds` after a host's clock began."""
    return datetime.fromtimestamp(NOW + seconds, UTC)


def valid(value: str, version: int, modified: datetime) -> Answer:
    """SSM's answer when the newest version is valid."""
    return Answer((value, version, modified), (value, version, modified))


V1 = valid(dumped(initial()), 1, due(-3600))
V2 = valid(dumped(initial().switched("green", due(-1800), 2)), 2, due(-1800))


class Host:
    """A host with its folder, its clock and its way to SSM; what is slept moves the clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0
        self.early = 0.0  # each sleep ends this much too early
        self.naps: list[float] = []
        self.reads: list[float] = []
        self.answer = V1
        self.fails = False
        self.meanwhile: Callable[[], object] | None = None  # during the next read

    def clock(self) -> float:
        return NOW + self.seconds

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += max(seconds - self.early, 0.001)

    def read(self, known: Answer | None) -> Answer:
        self.reads.append(self.seconds)
        answer, meanwhile = self.answer, self.meanwhile
        if meanwhile is not None:
            self.meanwhile = None
            meanwhile()
        if self.fails:
            raise AwsError("https://ssm: refused")
        return answer

    def process(self, hosts: int = 0, pause: float = 10) -> Store:
        """A new process of the host: its own memory, the shared files."""
        return Store(SETTINGS, self.read, self.folder, self.clock, pause, hosts)
