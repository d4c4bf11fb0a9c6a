"""Pulumi's engine of a stack: what its program asks for, and a guard that is as strict as the real one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bluegreen.document import latest_valid
from bluegreen.timeline import COLOURS, Colour

from components.guard import work_of
from mwaactl.errors import Unfinished
from mwaactl.rollout.engine import Change, Seen
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients
from tests.fakes.aws.ssm import OWNERSHIP
from tests.fakes.timeline import LIVES

STACK = "urn:pulumi:fullha::mwaa-openlineage::pulumi:pulumi:Stack::mwaa-openlineage-fullha"
MWAA = "mwaa-openlineage:index:Mwaa"


def urn(kind: str, name: str, parents: str = "") -> str:
    return f"urn:pulumi:fullha::mwaa-openlineage::{parents}{kind}::{name}"


COMPONENTS = {colour: urn(MWAA, f"mwaa-{colour}") for colour in COLOURS}
ENVIRONMENTS = {
    colour: urn("aws:mwaa/environment:Environment", f"mwaa-{colour}", f"{MWAA}$") for colour in COLOURS
}
NETWORK = urn("mwaa-openlineage:index:Network", "network")
VPC = urn("aws:ec2/vpc:Vpc", "network", "mwaa-openlineage:index:Network$awsx:ec2:Vpc$")
DASHBOARD = urn("aws:cloudwatch/dashboard:Dashboard", "monitoring", "mwaa-openlineage:index:Monitoring$")
BOTH = (ENVIRONMENTS["blue"], ENVIRONMENTS["green"])
EVERYTHING = (*BOTH, DASHBOARD)
LIFE = "random:index/randomId:RandomId"
LIVES_OF = {colour: urn(LIFE, f"mwaa-{colour}", f"{MWAA}$mwaa-openlineage:index:Life$") for colour in COLOURS}
PARENTS = {
    STACK: "",
    NETWORK: STACK,
    VPC: NETWORK,
    DASHBOARD: STACK,
    **dict.fromkeys(COMPONENTS.values(), STACK),
    **{ENVIRONMENTS[colour]: COMPONENTS[colour] for colour in COLOURS},
    **{LIVES_OF[colour]: COMPONENTS[colour] for colour in COLOURS},
}


@dataclass
class FakeEngine:
    """`wanted`: the changes that are still to be made, by URN. `fails`: the URN whose update fails once."""

    aws: FakeClients
    wanted: dict[str, Change] = field(default_factory=dict)
    fails: str | None = None
    runs: list[tuple[tuple[Colour, ...], list[str]]] = field(default_factory=list)
    stack: str = "fullha"
    minutes: float = 25.0
    config_file: str | None = None
    refused: list[str] = field(default_factory=list)  # what the guard refused, as the program does

    def preview(self) -> Seen:
        return Seen(parents=dict(PARENTS), changes=dict(self.wanted))

    def needs(self) -> dict[str, list[str]]:
        return {each: [VPC] for each in ENVIRONMENTS.values()} | {VPC: [], DASHBOARD: []}

    def update(
        self, leaves: Collection[Colour], exclude: Sequence[str], on_change: Callable[[Change], None]
    ) -> None:
        concerned = {each: change for each, change in self.wanted.items() if each not in exclude}
        self._guard(leaves, concerned)
        applied: list[str] = []
        self.runs.append((tuple(leaves), applied))
        for each, change in concerned.items():
            on_change(change)
            if each == self.fails:
                self.fails = None
                raise Unfinished("`pulumi up` failed: UPDATE_FAILED")
            self._apply(each)
            applied.append(change.name)

    def _apply(self, each: str) -> None:
        clock = self.aws.ssm.clock
        for colour, environment in ENVIRONMENTS.items():
            if each == environment:
                about = self.aws.mwaa.environments[BLUE if colour == "blue" else GREEN]
                about["LastUpdate"] = {"CreatedAt": clock.now, "Status": "SUCCESS"}
                clock.now += timedelta(minutes=self.minutes)
        del self.wanted[each]

    def _guard(self, leaves: Collection[Colour], concerned: Collection[str]) -> None:
        """No side with work, or with open books, is touched."""
        records = [(r["Value"], r["Version"], r["LastModifiedDate"]) for r in self.aws.ssm.stored[OWNERSHIP]]
        work = work_of(latest_valid(records), LIVES, self.aws.ssm.clock.now)
        for colour, environment in ENVIRONMENTS.items():
            if environment in concerned:
                assert colour not in leaves, f"{colour} was to be left alone"
                if colour in work.owners or colour in work.open_books:
                    self.refused.append(colour)
                    raise Unfinished(f"`pulumi up` failed: {colour} owns work or has open books")


def changes(*urns: str) -> dict[str, Change]:
    return {each: Change(each, "update", ("maxWorkers",)) for each in urns}
