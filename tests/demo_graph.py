"""The graph of the demo DAGs (dags/example_openlineage.py) as docs/lineage.md draws it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[1] / "docs" / "lineage.md"
Edge = tuple[str, str]
"""From a dataset to the job (`dag.task`) that reads it, or from a job to the dataset that it writes."""


def drawn() -> set[Edge]:
    """The edges of the Mermaid graph in the guide's section about the demo."""
    section = GUIDE.read_text().partition("## The demo\n")[2]
    [graph, *_] = re.findall(r"```mermaid\nflowchart LR\n(.*?)```", section, re.DOTALL)
    edges: set[Edge] = set()
    for line in graph.splitlines():
        chain = [re.findall(r"[\w./]+", part) for part in line.split("-->")]
        for left, right in itertools.pairwise(chain):
            edges |= {*itertools.product(left, right)}
    return edges


def told(events: Iterable[Mapping[str, Any]]) -> set[Edge]:
    """The edges that OpenLineage events of the demo's jobs tell of."""
    edges = set()
    for event in events:
        job = event["job"]["name"]
        if job.startswith("demo_"):
            edges |= {(read["name"], job) for read in event.get("inputs") or ()}
            edges |= {(job, written["name"]) for written in event.get("outputs") or ()}
    return edges
