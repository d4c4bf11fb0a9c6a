"""checkov, in a virtual environment of its own: it has some hundred dependencies, and pins many of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.home import Home
from local.processes import LocalError, clean_environ
from local.uv import uv

LOCK = Path(__file__).with_name("checkov.txt")


@dataclass(frozen=True)
class Finding:
    """A check that a resource of a stack fails: `standard`, `CKV_AWS_18`, `aws_s3_bucket.mwaa-blue`."""

    stack: str
    check: str
    resource: str
    title: str = ""


@dataclass(frozen=True)
class Report:
    """What a scan found. `passed`: the number of checks that a stack passes, by stack."""

    passed: Mapping[str, int]
    failed: tuple[Finding, ...]


def install(home: Home) -> Path:
    """The executable, installed from the lock unless it is. Raises LocalError."""
    folder = home.tools / f"checkov-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:10]}"
    if not folder.exists():
        unfinished = folder.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        _uv(home, "venv", "--quiet", "--relocatable", str(unfinished))
        _uv(
            *(home, "pip", "install", "--quiet", "--python", str(unfinished / "bin" / "python")),
            *("--no-deps", "--require-hashes", "-r", str(LOCK)),
        )
        unfinished.rename(folder)
    return folder / "bin" / "checkov"


def _uv(home: Home, *arguments: str) -> None:
    command = [str(uv(home)), *arguments]
    done = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"checkov could not be installed:\n{done.stderr.strip()[-2000:]}")


def scan(checkov: Path, plans: Mapping[str, Mapping[str, Any]], folder: Path) -> Report:
    """Scan the Terraform plans of stacks, which are written to `folder`. Raises LocalError."""
    for stack, plan in plans.items():
        (folder / f"{stack}.json").write_text(json.dumps(plan, indent=1))
    command = [str(checkov), "--directory", str(folder), "--framework", "terraform_plan"]
    command += ["--compact", "--skip-download", "--soft-fail", "--output", "json"]
    done = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, check=False)
    try:
        return _report(json.loads(done.stdout), plans)
    except (ValueError, KeyError, TypeError) as error:
        raise LocalError(f"checkov reports nothing that can be read:\n{done.stderr[-2000:]}") from error


def _report(said: Mapping[str, Any], plans: Mapping[str, Any]) -> Report:
    summary, results = said["summary"], said["results"]
    resources = sum(len(plan["planned_values"]["root_module"]["resources"]) for plan in plans.values())
    if summary["parsing_errors"] or not 0 < summary["resource_count"] <= resources:
        raise LocalError(f"checkov has not read all {resources} resources: {summary}")
    failed = (
        Finding(Path(each["file_path"]).stem, each["check_id"], each["resource"], each["check_name"])
        for each in results["failed_checks"]
    )
    passed = dict.fromkeys(plans, 0)
    for each in results["passed_checks"]:
        passed[Path(each["file_path"]).stem] += 1
    return Report(
        passed, tuple(sorted(set(failed), key=lambda each: (each.check, each.stack, each.resource)))
    )
