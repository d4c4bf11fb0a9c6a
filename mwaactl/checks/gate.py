"""The check `gate`: whether the target skips what the other side owns."""

from __future__ import annotations

from mwaactl.checks.outcome import Outcome, Sides, colour_of, counted, listed
from mwaactl.json_model import iso


def check(sides: Sides) -> Outcome:
    proof, source = sides.evidence.gate, colour_of(sides.source)
    if proof is None:
        return "not checked", sides.evidence.why_not("gate")
    if proof.executed:
        runs = [f"{dag_id}, due at {iso(due)}" for dag_id, due in proof.executed]
        return "fail", (
            f"{sides.target.colour} executed what {source} owned: {listed(runs)}. Its gate does not work: "
            "look for `bluegreen` in the scheduler's and the tasks' logs"
        )
    if not proof.skipped:
        return "not checked", (
            f"no evidence yet: {source} owned none of the newest scheduled runs on {sides.target.colour}"
        )
    return "pass", (
        f"skipped the newest scheduled runs that {source} owned (of {counted(proof.skipped, 'DAG')})"
    )
