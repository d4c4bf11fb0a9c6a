"""The check `gate`: whether the gates of both sides are proven to work."""

from __future__ import annotations

from collections.abc import Iterator

from bluegreen.timeline import Colour

from mwaactl.checks.outcome import GateProof, Outcome, Sides, colour_of, counted, listed
from mwaactl.checks.probe import SideProof
from mwaactl.json_model import iso

LOOK = "look for `bluegreen` in the scheduler's and the tasks' logs"


def check(sides: Sides) -> Outcome:
    proof = sides.evidence.gate
    if proof is None:
        return "fail", f"not proven: {sides.evidence.why_not('gate')}"
    if faults := [*_faults(sides, proof)]:
        return "fail", f"{'; '.join(faults)}. A gate does not work: {LOOK}"
    missing = {colour: side.missing for colour, side in proof.sides.items() if side.missing}
    if missing:
        why = "; ".join(f"{colour}: {text}" for colour, text in missing.items())
        return "fail", f"not proven on {' and '.join(missing)}. {why}"
    shown = "; ".join(_shown(colour, side) for colour, side in proof.sides.items())
    if proof.skipped:
        shown += (
            f"; {sides.target.colour} skipped the newest scheduled runs of {counted(proof.skipped, 'DAG')}"
        )
    if proof.by_probes_only:
        shown += f"; only the probes show it: {proof.by_probes_only}"
    weak = [f"on {colour}, {side.weak}" for colour, side in proof.sides.items() if side.weak]
    doubts = [*weak, *([f"ungated executions are not known: {proof.unknown}"] if proof.unknown else [])]
    return ("warn", f"{'; '.join(doubts)} ({shown})") if doubts else ("pass", shown)


def _faults(sides: Sides, proof: GateProof) -> Iterator[str]:
    if proof.executed:
        runs = [f"{dag_id}, due at {iso(due)}" for dag_id, due in proof.executed]
        yield f"{sides.target.colour} executed what {colour_of(sides.source)} owned: {listed(runs)}"
    for colour, side in proof.sides.items():
        if side.wrong:
            yield f"{colour}: {side.wrong}"
    if proof.ungated:
        yield f"executed without a gate: {listed([str(each) for each in proof.ungated])}"


def _shown(colour: Colour, side: SideProof) -> str:
    return f"{colour}'s probe due at {iso(side.at)} was {side.how}" if side.at else colour
