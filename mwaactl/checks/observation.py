"""The observation of one environment. What cannot be observed is listed with the reason, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from bluegreen.timeline import Colour
from pydantic import Field

from mwaactl import clock
from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.models import Dag, ImportProblem, Pool, Run
from mwaactl.aws import Clients, aws_errors
from mwaactl.checks.cloudwatch import Metrics, read_metrics
from mwaactl.checks.probe import ProbeRun, read_probe
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.json_model import Instant, Model
from mwaactl.stack import Environment

# In these states an environment has no web server that could answer.
NO_WEBSERVER = ("CREATING", "CREATE_FAILED", "DELETING", "DELETED", "PENDING")


class Plugins(Model):
    """Where the plugins.zip is that an environment has loaded; no path: it has none."""

    path: str | None = None
    version: str | None = None  # None: the newest at that time

    def request(self, bucket: str) -> Any:
        """The arguments of a call to S3."""
        return {
            "Bucket": bucket,
            "Key": self.path,
            **({"VersionId": self.version} if self.version else {}),
        }


class Observation(Model):
    """One environment. A field that could not be observed is None; `not_checked` has the reason, by field."""

    colour: Colour
    name: str
    airflow_version: str
    environment_class: str
    webserver_url: str
    webserver_access: str | None = None  # Amazon's: PRIVATE_ONLY, PUBLIC_ONLY, PUBLIC_AND_PRIVATE
    status: str | None = None  # Amazon's: AVAILABLE, UPDATING, ...
    plugins: Plugins | None = None
    scheduler: str | None = None  # Airflow's: healthy, unhealthy
    heartbeat: Instant | None = None
    dags: dict[str, Dag] | None = None  # by id
    import_errors: tuple[ImportProblem, ...] | None = None
    in_flight: tuple[Run, ...] | None = None
    last_scheduled: tuple[Run, ...] | None = None
    probe: tuple[ProbeRun, ...] | None = None  # its newest runs
    pools: dict[str, Pool] | None = None
    # In Airflow's own database. Never printed: values may be secrets.
    variables: dict[str, str | None] | None = Field(default=None, exclude=True, repr=False)
    connections: frozenset[str] | None = Field(default=None, exclude=True, repr=False)
    metrics: Metrics | None = None  # from CloudWatch, read only where Airflow does not answer
    not_checked: dict[str, str]

    @property
    def paused(self) -> frozenset[str] | None:
        """The ids of its paused DAGs."""
        return None if self.dags is None else frozenset(d.dag_id for d in self.dags.values() if d.paused)

    @property
    def private(self) -> bool:
        """Whether its web server can be reached from inside its VPC only."""
        return self.webserver_access == "PRIVATE_ONLY"


def observe(deployment: Deployment, colours: Iterable[Colour] | None = None) -> dict[Colour, Observation]:
    """Observe the stack's environments (all, or those of `colours`) with all calls in parallel.

    Eleven calls per environment and one more for every hundred DAGs, pools, variables and so on beyond the
    first; ten of the eleven are Airflow's.
    """
    chosen = {
        colour: environment
        for colour, environment in deployment.stack.airflow_environments.items()
        if colours is None or colour in colours
    }
    clients = deployment.clients
    _ = clients.mwaa, clients.rest_api, clients.cloudwatch  # here, for boto3 sessions are not thread-safe
    with ThreadPoolExecutor(max_workers=20, thread_name_prefix="observe") as pool:
        observations = {
            colour: pool.submit(_observe, colour, environment, clients, deployment.airflow(colour), pool)
            for colour, environment in chosen.items()
        }
        return {colour: observation.result() for colour, observation in observations.items()}


def ask(
    questions: Mapping[str, Callable[[], Any]], pool: ThreadPoolExecutor
) -> tuple[dict[str, Any], dict[str, str]]:
    """Make all calls in parallel; return the answers by field, and the reasons for the missing ones."""
    pending = {field: pool.submit(question) for field, question in questions.items()}
    answers, not_checked = {}, {}
    for field, answer in pending.items():
        try:
            answers[field] = answer.result()
        except Unreachable as error:
            not_checked[field] = str(error)
    return answers, not_checked


def _observe(
    colour: Colour, environment: Environment, clients: Clients, api: AirflowApi, pool: ThreadPoolExecutor
) -> Observation:
    not_checked: dict[str, str] = {}
    amazons: Mapping[str, Any] = {}
    try:
        amazons = describe(clients, environment)
    except Unreachable as error:
        not_checked["status"] = str(error)
    status = amazons.get("Status")
    answers, unanswered = _ask_airflow(environment, status, clients, api, pool)
    health, heartbeat = answers.pop("scheduler", (None, None))
    return Observation(
        colour=colour,
        name=environment.name,
        airflow_version=amazons.get("AirflowVersion") or environment.airflow_version,
        environment_class=amazons.get("EnvironmentClass") or environment.environment_class,
        webserver_url=_with_scheme(amazons.get("WebserverUrl") or environment.webserver_url),
        webserver_access=amazons.get("WebserverAccessMode"),
        status=status,
        plugins=_plugins(amazons) if amazons else None,
        scheduler=health,
        heartbeat=heartbeat,
        not_checked=not_checked | unanswered,
        **answers,
    )


def describe(clients: Clients, environment: Environment) -> Mapping[str, Any]:
    """What Amazon reports of an environment (GetEnvironment). Raises Unreachable."""
    with aws_errors(f"read the environment {environment.name}"):
        return clients.mwaa.get_environment(Name=environment.name)["Environment"]


def changed_at(amazons: Mapping[str, Any]) -> datetime | None:
    """When Amazon last began to create or update an environment, of what `describe` returns.

    It does not tell when that ended: what is AVAILABLE now has ended.
    """
    begins = (amazons.get("CreatedAt"), (amazons.get("LastUpdate") or {}).get("CreatedAt"))
    return max((begin for begin in begins if begin is not None), default=None)


def status_of(clients: Clients, environment: Environment) -> str:
    """Amazon's status of an environment, as AVAILABLE or UPDATING. Raises Unreachable."""
    return str(describe(clients, environment).get("Status"))


def _plugins(amazons: Mapping[str, Any]) -> Plugins:
    return Plugins(path=amazons.get("PluginsS3Path"), version=amazons.get("PluginsS3ObjectVersion"))


def _ask_airflow(
    environment: Environment,
    status: str | None,
    clients: Clients,
    api: AirflowApi,
    pool: ThreadPoolExecutor,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Airflow's answers, with CloudWatch's where Airflow has none and CloudWatch may."""
    questions: dict[str, Callable[[], Any]] = {
        "scheduler": api.scheduler,
        "dags": api.dags,
        "import_errors": api.import_errors,
        "in_flight": api.unfinished_runs,
        "last_scheduled": api.last_scheduled_runs,
        "probe": lambda: read_probe(api),
        "pools": api.pools,
        "variables": api.variables,
        "connections": api.connections,
    }
    if status in NO_WEBSERVER:
        return {}, dict.fromkeys(questions, f"the environment is {status}: it has no web server")
    answers, not_checked = ask(questions, pool)
    if not answers.keys() >= {"scheduler", "dags", "import_errors"}:
        try:
            answers["metrics"] = read_metrics(clients.cloudwatch, environment.name, clock.now())
        except Unreachable as error:
            not_checked["metrics"] = str(error)
    return answers, not_checked


def _with_scheme(host: str) -> str:
    """Amazon reports the host only; the local cloud's web servers have no certificate."""
    if "://" in host:
        return host
    return f"http://{host}" if host.startswith("127.0.0.1") else f"https://{host}"
