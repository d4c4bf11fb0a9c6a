"""A deployed stack: its Pulumi outputs, and access to everything that they name.

    deployment = Deployment.open("fullha")
    deployment.ownership.read()
    deployment.airflow("green").dags()

Create it in one thread; using it from several is safe.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from bluegreen.timeline import Colour

from mwaactl.airflow.client import AirflowApi
from mwaactl.airflow.rest import Pace
from mwaactl.aws import Clients
from mwaactl.ownership.parameter import Ownership
from mwaactl.stack import Stack, load


class Deployment:
    """The stack's outputs, AWS clients for its region, its Airflow environments and its ownership."""

    def __init__(self, stack: Stack, clients: Clients) -> None:
        self.stack, self.clients = stack, clients
        self._airflows: dict[Colour, AirflowApi] = {}
        self._pace = Pace()

    @classmethod
    def open(
        cls, stack: str | None = None, cwd: Path | None = None, profile: str | None = None
    ) -> Deployment:
        """The deployment of `stack` (None: the selected one). Raises as `mwaactl.stack.load` does.

        `profile` names the AWS credentials for everything but the outputs, which Pulumi reads with its own.
        """
        outputs = load(stack, cwd)
        return cls(outputs, Clients(outputs.region, profile))

    @property
    def name(self) -> str:
        """The stack's name, as `-s` takes it."""
        return self.stack.stack

    @cached_property
    def ownership(self) -> Ownership:
        return Ownership(
            self.clients,
            self.stack.ownership_parameter,
            bucket=self.stack.lineage_log_bucket,
            lives={
                colour: environment.life for colour, environment in self.stack.airflow_environments.items()
            },
            lead=self.stack.lead,
        )

    def airflow(self, colour: Colour) -> AirflowApi:
        """Airflow's REST API on one environment; all share the rate that Amazon allows the account.

        Raises UsageError if the stack has no environment of that colour.
        """
        if colour not in self._airflows:
            environment = self.stack.require(colour)
            self._airflows[colour] = AirflowApi(
                self.clients.rest_api, environment.name, environment.major, self._pace
            )
        return self._airflows[colour]

    @property
    def airflows(self) -> dict[Colour, AirflowApi]:
        """The REST APIs of all environments that the stack has."""
        return {colour: self.airflow(colour) for colour in self.stack.airflow_environments}
