"""`python -m mwaactl.recovery.nightly STACK.json`: the audit of a night, as JSON on stdout.

The DAG `bluegreen_audit` runs it, where there is no Pulumi, and nothing of the command line: it must need no
other packages than boto3, and what every Airflow has.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from mwaactl import clock
from mwaactl.aws import Clients
from mwaactl.deployment import Deployment
from mwaactl.errors import ControlError, Unreachable
from mwaactl.json_model import Model, iso
from mwaactl.recovery.audit import Audit, audit, fenced_sides
from mwaactl.stack import parse

WINDOW = timedelta(hours=26)  # a night, and what was still unfinished in the one before
MOST = 50  # findings that are named


class Night(Model):
    """`findings` and `fences`: a text for each, which become log lines; `error`: why there is no audit."""

    findings: tuple[str, ...] = ()
    fences: tuple[str, ...]
    summary: str
    error: str | None = None


def night(deployment: Deployment) -> Night:
    """Audit what was due since the night before.

    A side that is fenced or gone may not answer for many nights. The lineage log stands in for it, while it
    has events of that side.
    """
    now = clock.now()
    stack, fenced, notes = deployment.name, *fenced_sides(deployment)
    fences = tuple(f"mwaactl unfence {colour} -s {stack}" for colour in fenced)
    try:
        report = audit(deployment, since=now - WINDOW, until=now, lineage=True)
    except Unreachable as error:
        return Night(fences=fences, summary="; ".join(notes), error=str(error))
    texts = list(_texts(report))
    named, rest = texts[:MOST], len(texts) - MOST
    if rest > 0:
        hours = WINDOW.total_seconds() / 3600
        named.append(f"and {rest} more: mwaactl audit -s {stack} --since {hours:g}h")
    counts = f"{report.instants} runs due since {iso(report.since)}, findings: {len(texts)}"
    silent = [f"{colour} by the lineage log: {why}" for colour, why in report.by_lineage.items()]
    summary = "; ".join([counts, *silent, *report.notes])
    return Night(findings=tuple(named), fences=fences, summary=summary)


def _texts(report: Audit) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.kind}: {finding.dag_id}, due {iso(finding.due)}: {finding.detail}"
    for execution in report.ungated:
        yield f"executed without the gate: {execution}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 whatever was found, 1 if the outputs are not usable, with the reason on stderr."""
    (file,) = sys.argv[1:] if arguments is None else arguments
    try:
        stack = parse(json.loads(Path(file).read_text()))
        result = night(Deployment(stack, Clients(stack.region)))
    except ControlError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{result.model_dump_json()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
