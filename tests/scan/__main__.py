"""Scan what the program deploys with checkov, in each mode and with every setting turned on.

    python -m tests.scan [--keep FOLDER]

The real engine deploys the stacks to a local cloud; their states are rendered as Terraform plans. Each check
that fails must be in the table of docs/security.md with its reason. One that is not there, or that is there
and does not fail, ends the command with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.home import CHECKOUT, Home
from tests.engine.deployment import MODES, LocalCloud, Project
from tests.scan.scanner import install, scan
from tests.scan.table import problems, rows
from tests.scan.terraform import plan

GUIDE = CHECKOUT / "docs" / "security.md"
CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555"
# What makes more resources, or closes them further, for each back end.
EVERY_SETTING: Mapping[str, Any] = {
    "production": True,
    "permissions_boundary_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "iam_path": "/data/",
    "is_paused_upon_creation": True,
    "update_owner_in_place": True,
    "vpc_endpoints": True,
    "nat": "per_az",
    "create_kms_key": True,
    "webserver_access": "PRIVATE_ONLY",
    "access_log_days": 90,
    "old_versions_days": 90,
    "flow_log_days": 30,
    "nightly_audit": True,
    "lineage_intake": True,
    "catchup_by_default": True,
    "create_cron_data_intervals": True,
    "enable_monitoring": True,
    "alarm_email": "on-call@example.com",
}
COMPLETE: Mapping[str, Mapping[str, Any]] = {
    "bluegreen-all": {**EVERY_SETTING, "enable_blue_green": True, "enable_ha_marquez": False},
    "fullha-all": {
        **EVERY_SETTING,
        "enable_blue_green": True,
        "enable_ha_marquez": True,
        "marquez_certificate_arn": CERTIFICATE,
        "aurora_authorities_file": str(CHECKOUT / "tests" / "fakes" / "of_a_team" / "rds.pem"),
    },
}
STACKS: Mapping[str, Mapping[str, Any]] = {**{mode: {} for mode in MODES}, **COMPLETE}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scan", description=__doc__.split("\n")[0])
    parser.add_argument("--keep", type=Path, help="a folder for the Terraform plans")
    keep = parser.parse_args(arguments).keep
    begun = time.monotonic()
    home = Home.find()
    checkov = install(home)
    os.environ["MWAA_LOCAL_TOOLS"] = str(home.tools)
    folder = Path(tempfile.mkdtemp(prefix="scan-"))
    try:
        os.environ["MWAA_LOCAL_HOME"] = str(folder / "home")
        plans = {stack: plan(resources) for stack, resources in _deployed(folder).items()}
        written = (keep or folder / "plans").resolve()
        written.mkdir(parents=True, exist_ok=True)
        report = scan(checkov, plans, written)
    finally:
        shutil.rmtree(folder)
    failed = Counter(finding.stack for finding in report.failed)
    for stack in plans:
        print(f"{stack:14} {report.passed[stack]:4} passed {failed[stack]:4} failed")
    wrong = list(problems(rows(GUIDE.read_text()), report.failed, COMPLETE))
    for each in wrong:
        print(f"{GUIDE.relative_to(CHECKOUT)}: {each}")
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


def _deployed(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The resources of each stack."""
    resources = {}
    home = Home(folder / "home")
    cloud = LocalCloud(home, {})  # so that what has started is ended when a later part does not
    try:
        cloud = LocalCloud.start(home)
        for stack, settings in STACKS.items():
            (folder / stack).mkdir()
            project = Project.of_checkout(cloud, folder / stack, stack)
            if stack in COMPLETE:
                project.set(**{"aws:region": "us-east-1"}, **settings)
            result = project.up()
            if not result.ok:
                raise SystemExit(result.said)
            resources[stack] = project.resources()
    finally:
        cloud.stop()
    return resources


if __name__ == "__main__":
    raise SystemExit(main())
