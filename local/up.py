"""Deploy a mode on this machine with the real program and engine, and wait until its Airflows run tasks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from bluegreen.proof import PROBE

from local import dags, secrets
from local.airflow.process import stop_airflows
from local.aws import callers, ministack
from local.home import CHECKOUT, Home, typed
from local.marquez import back_end as lineage
from local.processes import (
    LOOPBACK,
    LocalError,
    all_running,
    answers,
    clean_environ,
    find,
    kept_port,
    run,
    start,
    stop,
    tail,
    wait_until,
)
from local.pulumi import cli as pulumi_cli

OPERATORS = ("on_call", "airflow_cli")
MODES = ("standard", "bluegreen", "hamarquez", "fullha")
EXAMPLE = "example_blue_green_zero_downtime"
INSTANCE_PROFILE = "aws:iam/instanceProfile:InstanceProfile"
GIB = 1024**3
MEMORY_PER_AIRFLOW = 1.5 * GIB  # measured: docs/local.md
DEPLOY_SECONDS = 1200
FIRST_RUN_SECONDS = 300

Report = Callable[[str], None]


@dataclass(frozen=True)
class Own:
    """What the user brings along; "": as it is."""

    dags: str = ""  # a folder
    airflow: str = ""  # a version
    requirements: str = ""  # a requirements.txt
    plugins: str = ""  # a folder
    startup: str = ""  # a shell script
    variables: str = ""  # a file
    connections: str = ""  # a file

    def configure(self, mode: str, env: Mapping[str, str], report: Report) -> None:
        """Write into the stack's configuration what belongs there. Raises LocalError."""
        values = {
            "airflow_version": self.airflow,
            "requirements_file": _path("REQUIREMENTS", self.requirements),
            "plugins_folder": _path("PLUGINS", self.plugins),
            "startup_script": _path("STARTUP", self.startup),
        }
        for key, value in values.items():
            if value:
                command = ["pulumi", "config", "set", key, value, "-s", mode]
                report(" ".join(command))
                run(command, env)


def _path(variable: str, given: str) -> str:
    """As the setting takes it: by its whole path. Raises LocalError."""
    path = typed(given)
    if given and not path.exists():
        raise LocalError(f"{variable}={given}: there is no {path}")
    return str(path) if given else ""


def up(home: Home, mode: str, report: Report, own: Own = Own()) -> None:
    """Deploy `mode`; return when its Airflows have run tasks. May be repeated. Raises LocalError."""
    if mode not in MODES:
        raise LocalError(f"MODE={mode} is not one of {', '.join(MODES)}")
    chosen = dags.chosen(home, own.dags)
    folder = chosen.folder
    shared = {
        "variables": secrets.contents("VARIABLES", own.variables),
        "connections": secrets.contents("CONNECTIONS", own.connections),
    }
    _check_memory(home, mode)
    pulumi_cli.install(home, pulumi_cli.ensure(home, report))
    ministack.start(home, report)
    _start_mwaa(home)
    env = pulumi_cli.environ(home)
    pulumi_cli.init_stack(home, mode)
    own.configure(mode, env, report)
    _deploy(home, mode, env, report)
    # Environments of an earlier run are AVAILABLE at once, while their Airflows still start.
    _follow(env, report, lambda known: all(e["ready"] for e in known), "all Airflows to become healthy")
    outputs = json.loads(run(["pulumi", "stack", "output", "--json", "-s", mode], env))
    callers.grant_operator(home, mode, _as_one(outputs["operator_policies"]))
    operator = env | callers.of_operator(home)
    if count := secrets.store(home, outputs, shared):
        report(f"variables and connections: {count} in the secrets of both sides")
    dags.bring(home, chosen, mode, operator, report)
    back_end, intake = _bring_lineage(home, mode, outputs, env)
    _wait_for_work(outputs, operator, EXAMPLE if folder == dags.EXAMPLES else PROBE, report)
    both = "green" in outputs["airflow_environments"]
    unlike_others = dags.unlike_others(folder, mode, operator, report) if both else ()
    report("ready")
    print(_summary(home, mode, outputs, back_end, intake, unlike_others), flush=True)


def _bring_lineage(
    home: Home, mode: str, outputs: Mapping[str, Any], env: dict[str, str]
) -> tuple[lineage.BackEnd | None, str | None]:
    """The back end, forwarder and intake (its URL) that the stack asks for; the others are stopped.

    Forwarder and intake have the role of Marquez's nodes.
    """
    if not outputs["lineage_backend"]:
        lineage.stop(home, mode)
        lineage.keep_address(home, mode, None)
        return None, None
    back_end = lineage.start_back_end(home, mode, clean_environ(**env))
    lineage.keep_address(home, mode, back_end)
    exported = json.loads(run(["pulumi", "stack", "export", "-s", mode], env))
    role = role_of_the_nodes(exported["deployment"]["resources"])
    node = clean_environ(**env | callers.of_role(home, role))
    bucket = outputs["lineage_log_bucket"]
    lineage.start_forwarder(home, mode, bucket, back_end, node)
    if outputs["lineage_intake_url"]:
        return back_end, lineage.start_intake(home, mode, bucket, node)
    lineage.stop_intake(home, mode)
    return back_end, None


def _as_one(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the operator may do here: all that is in the documents, each statement once."""
    statements = {each["Sid"]: each for name in OPERATORS for each in documents[name]["Statement"]}
    return {**documents[OPERATORS[0]], "Statement": [*statements.values()]}


def down(home: Home, report: Report) -> None:
    """Stop every process of this home, servers before what they depend on; the state stays."""
    stop(home, dags.NAME)
    lineage.stop(home)
    stop(home, "mwaa", descendants=False)  # first, or it would start its Airflows again
    stop_airflows(home)
    stop(home, *(p.name for p in all_running(home) if p.name != ministack.NAME))
    ministack.stop(home)
    report("every local process has stopped; `make local` resumes from here, `make clean` removes the rest")


def _start_mwaa(home: Home) -> None:
    # The port of earlier starts, so that the exports in a user's shell stay valid.
    port = kept_port(home.state / "mwaa.port", must_be_free=find(home, "mwaa") is None)
    command = [sys.executable, "-m", "local", "mwaa", "--port", str(port)]
    process = start(home, "mwaa", command, env=clean_environ(**pulumi_cli.environ(home)), port=port)
    url = f"http://{LOOPBACK}:{port}/environments"
    wait_until(lambda: answers(url), "local MWAA", seconds=30, process=process)


def _check_memory(home: Home, mode: str) -> None:
    """Fail early rather than run into the kernel's out-of-memory killer. Raises LocalError."""
    if find(home, "mwaa") is not None:
        return  # running processes already use their share
    airflows = 2 if mode in ("bluegreen", "fullha") else 1
    needed, free = airflows * MEMORY_PER_AIRFLOW, psutil.virtual_memory().available
    if free < needed:
        raise LocalError(
            f"{mode} needs about {needed / GIB:.1f} GB of free memory for {airflows} Airflow(s), but only "
            f"{free / GIB:.1f} GB is free.\nFree some memory, or start a single one: make local MODE=standard"
        )


def settings_of_run(home: Home, mode: str, project: Path = CHECKOUT) -> Path:
    """A copy of the stack's file that lets a repeated `make local` update both sides: nobody works here."""
    content = yaml.safe_load((project / f"Pulumi.{mode}.yaml").read_text())
    content["config"] = {"mwaa-openlineage:update_owner_in_place": "true", **content["config"]}
    copy = home.dir("state") / f"Pulumi.{mode}.yaml"
    copy.write_text(yaml.safe_dump(content))
    return copy


def _deploy(home: Home, mode: str, env: Mapping[str, str], report: Report) -> None:
    """Run `pulumi up`, and report each new phase of an environment."""
    command = ["pulumi", "up", "-s", mode, "--yes", "--skip-preview", "--non-interactive"]
    # The end of the log is what a person sees of an error: outputs would hide it.
    command += ["--suppress-outputs", "--config-file", str(settings_of_run(home, mode))]
    report(f"deploying: {' '.join(command)}")
    log = home.logs / f"up-{mode}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, cwd=CHECKOUT, env=clean_environ(**env), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        _follow(env, report, lambda _: child.poll() is not None, f"`pulumi up` to finish (log: {log})")
    finally:
        if child.poll() is None:
            child.terminate()  # the engine finishes its current steps; the next `make local` resumes
            child.wait()
    if child.returncode != 0:
        raise LocalError(f"pulumi up failed:\n{tail(log, 40)}\n(whole log: {log})")


def role_of_the_nodes(resources: list[dict[str, Any]]) -> str:
    """The ARN of the role of Marquez's nodes, in a stack's state: that of its one instance profile."""
    [role] = (each["outputs"]["role"] for each in resources if each["type"] == INSTANCE_PROFILE)
    return callers.role_arn(role)


def _follow(
    env: Mapping[str, str], report: Report, done: Callable[[list[dict[str, Any]]], bool], what: str
) -> None:
    """Report what the local MWAA is doing until `done(environments)`. Raises LocalError after 20 minutes."""
    deadline = time.monotonic() + DEPLOY_SECONDS
    phases: dict[str, str] = {}
    while not done(environments := _environments(env)):
        for name, phase in ((e["name"], e["phase"]) for e in environments):
            if phase and phases.get(name) != phase:
                report(f"{name}: {phase}")
            phases[name] = phase
        if time.monotonic() > deadline:
            raise LocalError(f"after {DEPLOY_SECONDS} s, still waiting for {what}")
        time.sleep(0.5)


def _environments(env: Mapping[str, str]) -> list[dict[str, Any]]:
    """The local MWAA's environments and their phases; empty if it does not answer."""
    try:
        url = f"{env['AWS_ENDPOINT_URL_MWAA']}/local/environments"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours, on loopback
            environments: list[dict[str, Any]] = json.load(answer)["environments"]
            return environments
    except (OSError, ValueError):
        return []


def _wait_for_work(outputs: Mapping[str, Any], env: Mapping[str, str], dag: str, report: Report) -> None:
    """Wait until a DAG has run on the owner and been skipped on the standby."""
    owner = run(["mwaactl", "active", "-s", outputs["stack"]], env).strip()
    deadline = time.monotonic() + FIRST_RUN_SECONDS
    for colour, environment in outputs["airflow_environments"].items():
        awaited, verb = ("success", "run") if colour == owner else ("skipped", "be skipped")
        report(f"{colour}: waiting for {dag} to {verb}")
        while awaited not in (states := _task_states(environment["name"], dag, env)):
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{dag} has no task in state {awaited} on {colour} after {FIRST_RUN_SECONDS} s; "
                    f"its tasks are in: {', '.join(sorted(states)) or 'no run yet'}.\n"
                    f"See http://{environment['webserver_url']} or the logs in {Home.find().logs}"
                )
            time.sleep(1)


def _task_states(name: str, dag: str, env: Mapping[str, str]) -> set[str]:
    """The states of a DAG's tasks in scheduled runs."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    session = boto3.Session(
        env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], region_name=env["AWS_REGION"]
    )
    config = Config(inject_host_prefix=False)  # botocore puts `env.` before MWAA's host
    client = session.client("mwaa", endpoint_url=env["AWS_ENDPOINT_URL_MWAA"], config=config)
    path = f"/dags/{dag}/dagRuns/~/taskInstances"
    try:
        answer = client.invoke_rest_api(Name=name, Path=path, Method="GET", QueryParameters={"limit": 1000})
    except ClientError:  # 404 until the DAG has been parsed
        return set()
    tasks = answer["RestApiResponse"]["task_instances"]
    return {str(task["state"]) for task in tasks if task["dag_run_id"].startswith("scheduled__")}


def _summary(
    home: Home,
    mode: str,
    outputs: Mapping[str, Any],
    back_end: lineage.BackEnd | None,
    intake: str | None = None,
    unlike_others: Sequence[str] = (),
) -> str:
    """What runs where, which DAGs a switch treats unlike others, and what to try next."""
    airflows = [
        f"  {colour:<8} http://{at['webserver_url']}   Airflow {at['airflow_version']}, login admin / admin"
        for colour, at in outputs["airflow_environments"].items()
    ]
    commands = [f"mwaactl status -s {mode}", f"pulumi stack output -s {mode}", f"pulumi destroy -s {mode}"]
    if "green" in outputs["airflow_environments"]:
        commands.insert(1, f"mwaactl switch green -s {mode}")
    endpoint = ministack.environ(home)["AWS_ENDPOINT_URL"]
    return "\n".join(
        [
            "",
            f"{outputs['name']} is up ({mode}).",
            *airflows,
            f"  lineage  {back_end.page}   {back_end.kind}" if back_end else "  lineage  no Marquez",
            *([f"  intake   {intake}   for OpenLineage's clients"] if intake else []),
            f"  AWS      {endpoint}   MiniStack: S3, SSM, Secrets Manager, ...",
            f"  logs     {home.logs}",
            *(("", *unlike_others) if unlike_others else ()),
            "",
            "Try next:",
            '  eval "$(make -s local-env)"',
            *(f"  {line}" for line in commands),
            "  make local-down",
        ]
    )
