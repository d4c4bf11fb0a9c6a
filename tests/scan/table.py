"""The table in docs/security.md: which checks fail, on what, and why."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.scan.scanner import Finding

ROW = re.compile(r"\| `(CKV2?_AWS_\d+)` \| (.+?) \| (.*?) \| (.*?) \|")


@dataclass(frozen=True)
class Row:
    """A check that may fail on resources like `aws_s3_bucket.*`.

    `settings`: with all of them it passes. Without any, no setting makes it pass.
    """

    check: str
    resource: str
    settings: tuple[str, ...]
    reason: str

    def explains(self, finding: Finding) -> bool:
        return finding.check == self.check and fnmatchcase(finding.resource, self.resource)


def rows(guide: str) -> list[Row]:
    """The rows of the table, one for each resource that a row names."""
    found = []
    for line in guide.splitlines():
        if row := ROW.fullmatch(line.strip()):
            check, resources, settings, reason = row.groups()
            names = tuple(re.findall(r"`(.+?)`", settings))
            found += [Row(check, name, names, reason) for name in re.findall(r"`(.+?)`", resources)]
    return found


def problems(
    table: Sequence[Row], failed: Collection[Finding], complete: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """What the table does not say, and what it says and is not so.

    `complete`: the stacks with every setting turned on, and what is set there.
    """
    for finding in failed:
        explaining = [row for row in table if row.explains(finding)]
        where = f"{finding.check} fails in {finding.stack} on {finding.resource}"
        if not explaining:
            yield f"{where}, and no row of the table says why: {finding.title}"
        elif finding.stack in complete and all(row.settings for row in explaining):
            yield f"{where}, although it has {' and '.join(explaining[0].settings)}"
    for row in table:
        if not any(row.explains(finding) for finding in failed):
            yield f"{row.check} is in the table for {row.resource}, but it does not fail"
        if not row.reason:
            yield f"{row.check} is in the table for {row.resource} without a reason"
        for setting in row.settings:
            if not any(setting in settings for settings in complete.values()):
                yield f"{row.check} names {setting}, which the scan does not set"
