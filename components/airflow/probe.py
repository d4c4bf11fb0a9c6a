"""The probe's DAG file: the DAG itself is in plugins.zip (plugins/bluegreen/probe.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement


def dag_file(minutes: int, requirements: str = "") -> str:
    """The content of the file, for a DAG that is due every so many minutes.

    It reports which lines of `requirements` (the content of requirements.txt) are not installed. A change of
    the period is a change of this file: no environment is updated for it.
    """
    names = "".join(f"\n        {json.dumps(line)}," for line in named(requirements))
    listed = f"[{names}\n    ]" if names else "[]"
    return f'''"""An Airflow DAG that shows whether the blue/green gate works. `pulumi up` writes it."""

from bluegreen.probe import probe

dag = probe(
    minutes={minutes},
    requirements={listed},
)
'''


def named(requirements: str) -> Iterator[str]:
    """The requirements by name, with versions and markers: not their URLs, which may hold passwords, and
    which Airflow's page of the DAG would show. Options and files are left out."""
    for line in requirements.splitlines():
        # as pip does: a comment begins at the line, or after a blank; options stand after the requirement
        text = re.split(r"(?:^|\s)#|\s--?[a-z]", line)[0].strip()
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = f"; {requirement.marker}" if requirement.marker else ""
        yield f"{requirement.name}{requirement.specifier}{marker}"
