"""Run the program in the current folder as often as is asked, and print what it registers.

`python -m mwaactl.cost.dry_run`, started by `program` with the project's own Python. From stdin, a list of
`{"stack", "config", "changes"}`: with `config` None, that of the stack file. To stdout, a list of
`{"resources": [...]}` or `{"error": text}` in the same order.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pulumi

from mwaactl.cost.aws_answers import REGION, AwsMocks, usual_answers
from mwaactl.cost.engine import Deployment, parsed, run, stack_config
from mwaactl.cost.existing import existing
from mwaactl.cost.resources import Resource, resources_of

# What no price depends on, and what may be long.
CONTENT = ("content", "contentBase64", "userData", "dashboardBody", "policy", "assumeRolePolicy")


def registered(folder: Path, request: Mapping[str, Any]) -> Deployment:
    """What the program in `folder`, which is the current one, registers. Raises whatever it raises."""
    config = request["config"] or stack_config(folder, request["stack"])
    config = changed(config, request["changes"])
    project = parsed((folder / "Pulumi.yaml").read_text())["name"]
    region = config.get("aws:region", REGION)
    answers = AwsMocks(usual_answers(region) | existing(region, config), lenient=True)
    return run(
        lambda: runpy.run_path(str(folder / "__main__.py")),
        config=config,
        project=project,
        stack=request["stack"],
        answers=answers,
    )


def changed(config: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """The configuration with other values: `{"project:key": text}`, or `project:key.part` in an object.

    Raises pulumi.RunError for a part of what is no object.
    """
    result = dict(config)
    for path, value in changes.items():
        key, *parts = path.split(".", 1)
        if not parts:
            result[key] = value
            continue
        whole = _object(result.get(key) or "{}")
        if whole is None:
            name = key.rpartition(":")[2]
            raise pulumi.RunError(f"`{name}` has no parts: --set {name}=VALUE")
        whole[parts[0]] = value
        result[key] = json.dumps(whole)
    return result


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def without_content(value: Any) -> Any:
    """A copy that JSON can hold."""
    if isinstance(value, pulumi.Asset | pulumi.Archive):
        return None
    if isinstance(value, Mapping):
        return {key: without_content(each) for key, each in value.items() if key not in CONTENT}
    if isinstance(value, list):
        return [without_content(each) for each in value]
    return value


def answer(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        deployment = registered(folder, request)
    except pulumi.RunError as error:  # what the program says of its settings
        return {"error": str(error)}
    return {"resources": [_plain(each) for each in resources_of(deployment.resources)]}


def _plain(resource: Resource) -> dict[str, Any]:
    return {**vars(resource), "inputs": without_content(resource.inputs)}


def main() -> None:
    folder = Path.cwd()
    requests = json.load(sys.stdin)
    gc.disable()  # a quarter of the time would go into collecting nothing
    with redirect_stdout(sys.stderr):  # a program may print
        answers = [answer(folder, each) for each in requests]
    json.dump(answers, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # threads of the SDK's channels may still wait


if __name__ == "__main__":
    main()
