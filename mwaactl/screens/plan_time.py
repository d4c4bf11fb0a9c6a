"""How long a change takes: each plan with its critical path."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mwaactl.cost.duration import Plans
from mwaactl.cost.plan import Plan, Step

SHORT = 0.15  # minutes; what takes no longer is only counted

REFUSED = "The preview refuses this for the environment that owns the work."


def show_plans(console: Console, result: Plans) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in (
        "what",
        "minutes",
        "slowest step",
        *(["the reference document"] if result.reference else []),
    ):
        table.add_column(heading)
    for plan in result.plans:
        slowest = _step(plan.slowest) if plan.slowest else "nothing to do"
        said = [f"{result.reference[plan.name]}"] if result.reference else []
        table.add_row(escape(plan.name), f"{plan.minutes:.1f}", slowest, *said)
    console.print(table)
    sources: dict[str, str] = {}
    for plan in result.plans:
        if plan.path:
            steps = _count(plan.steps, "step")
            console.print(f"\n{plan.name}, {steps}. Critical path: {_path(plan)}", soft_wrap=True)
        if plan.replaced:
            names = ", ".join(plan.replaced)
            console.print(f"{plan.name} replaces {names}. {REFUSED}", highlight=False, soft_wrap=True)
        sources |= {step.type: step.source for step in plan.path if step.minutes > SHORT}
    console.print()
    for type_, source in sources.items():
        console.print(f"{type_.rpartition(':')[2]}: {escape(source)}", highlight=False, soft_wrap=True)


def _path(plan: Plan) -> str:
    parts = [_step(step) for step in plan.path if step.minutes > SHORT]
    short = [step.minutes for step in plan.path if step.minutes <= SHORT]
    if short:
        count = _count(len(short), "short step")
        parts.append(f"{'and ' if parts else ''}{count}, {sum(short):.1f}")
    return escape(", ".join(parts))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _step(step: Step) -> str:
    return f"{step.action} {step.type.rpartition(':')[2]} {escape(step.resource)} {step.minutes:g}"
