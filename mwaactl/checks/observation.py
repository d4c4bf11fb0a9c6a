"""What can be seen of one environment now; what cannot be seen is named with the reason, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bluegreen.timeline import Colour
from pydantic import Field

from mwaactl import clock
from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, ImportProblem, Pool, Run
from mwaactl.aws import Clients, aws_errors
from mwaactl.checks import cloudwatch
from mwaactl.checks.cloudwatch import Metrics
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.stack import Environment

# In these an environment has no webserver that could answer.
NO_WEBSERVER = ("CREATING", "CREATE_FAILED", "DELETING", "DELETED", "PENDING")


class Observation(Model):
    """One environment. A field that could not be looked at is None; `not_checked` says why, by field."""

    colour: Colour
    name: str
    airflow_version: str
    environment_class: str
    webserver_url: str
    webserver_access: str | None = None  # Amazon's: PRIVATE_ONLY, PUBLIC_ONLY, PUBLIC_AND_PRIVATE
    status: str | None = None  # Amazon's: AVAILABLE, UPDATING, ...
    scheduler: str | None = None  # Airflow's: healthy, unhealthy
    heartbeat: Instant | None = None
    dags: dict[str, Dag] | None = None  # by id
    import_errors: tuple[ImportProblem, ...] | None = None
    in_flight: tuple[Run, ...] | None = None
    last_scheduled: tuple[Run, ...] | None = None
    pools: dict[str, Pool] | None = None
    # In Airflow's own database. Never printed: values may be secrets.
    variables: dict[str, str | None] | None = Field(default=None, exclude=True, repr=False)
    connections: frozenset[str] | None = Field(default=None, exclude=True, repr=False)
    metrics: Metrics | None = None  # of CloudWatch, asked only where Airflow does not answer
    not_checked: dict[str, str]

    @property
    def paused(self) -> frozenset[str] | None:
        """The ids of its paused DAGs."""
        return None if self.dags is None else frozenset(d.dag_id for d in self.dags.values() if d.paused)

    @property
    def private(self) -> bool:
        """Whether its web server can be reached from inside its VPC only."""
        return self.webserver_access == "PRIVATE_ONLY"


def observe(
    deployment: Deployment,
    colours: Iterable[Colour] | None = None,
    apis: Mapping[Colour, AirflowApi] | None = None,
) -> dict[Colour, Observation]:
    """Look at the stack's environments (all, or those of `colours`), every question at the same time.

    `apis` are those that the caller goes on using. Nine calls per environment and one more for every
    hundred DAGs, pools, variables and so on beyond the first; eight of the nine are Airflow's.
    """
    chosen = {
        colour: environment
        for colour, environment in deployment.stack.airflow_environments.items()
        if colours is None or colour in colours
    }
    clients = deployment.clients
    _ = clients.mwaa, clients.cloudwatch  # made here: boto3 sessions are not for several threads
    apis = apis or {colour: deployment.airflow(colour) for colour in chosen}
    with ThreadPoolExecutor(max_workers=20, thread_name_prefix="observe") as pool:
        looks = {
            colour: pool.submit(_observe, colour, environment, clients, apis[colour], pool)
            for colour, environment in chosen.items()
        }
        return {colour: look.result() for colour, look in looks.items()}


def _observe(
    colour: Colour, environment: Environment, clients: Clients, api: AirflowApi, pool: ThreadPoolExecutor
) -> Observation:
    seen: dict[str, Any] = {
        "airflow_version": environment.airflow_version,
        "environment_class": environment.environment_class,
        "webserver_url": environment.webserver_url,
    }
    not_checked: dict[str, str] = {}
    status = None
    try:
        with aws_errors(f"ask for the environment {environment.name}"):
            found = clients.mwaa.get_environment(Name=environment.name)["Environment"]
        status = found["Status"]
        seen["airflow_version"] = found.get("AirflowVersion") or environment.airflow_version
        seen["environment_class"] = found.get("EnvironmentClass") or environment.environment_class
        seen["webserver_access"] = found.get("WebserverAccessMode")
        if found.get("WebserverUrl"):
            seen["webserver_url"] = found["WebserverUrl"]
    except Unreachable as error:
        not_checked["status"] = str(error)
    seen["webserver_url"] = _with_scheme(seen["webserver_url"])
    questions: dict[str, Callable[[], Any]] = {
        "scheduler": api.scheduler,
        "dags": api.dags,
        "import_errors": api.import_errors,
        "in_flight": api.unfinished_runs,
        "last_scheduled": api.last_scheduled_runs,
        "pools": api.pools,
        "variables": api.variables,
        "connections": api.connections,
    }
    if status in NO_WEBSERVER:
        not_checked |= dict.fromkeys(questions, f"the environment is {status}: it has no webserver yet")
    else:
        asked = {field: pool.submit(question) for field, question in questions.items()}
        for field, answer in asked.items():
            try:
                seen[field] = answer.result()
            except Unreachable as error:
                not_checked[field] = str(error)
        if not seen.keys() >= {"scheduler", "dags", "import_errors"}:
            try:
                seen["metrics"] = cloudwatch.read_metrics(clients.cloudwatch, environment.name, clock.now())
            except Unreachable as error:
                not_checked["metrics"] = str(error)
    if "scheduler" in seen:
        seen["scheduler"], seen["heartbeat"] = seen["scheduler"]
    return Observation(colour=colour, name=environment.name, status=status, not_checked=not_checked, **seen)


def _with_scheme(host: str) -> str:
    """Amazon names the host only; the local cloud's web servers have no certificate."""
    if "://" in host:
        return host
    return f"http://{host}" if host.startswith("127.0.0.1") else f"https://{host}"
