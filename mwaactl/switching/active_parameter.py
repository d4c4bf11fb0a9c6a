"""The plain parameter that tells other systems which environment is active.

It follows the ownership: every command that gives all work to an environment writes it afterwards.
"""

from __future__ import annotations

from mwaactl.aws import aws_errors
from mwaactl.deployment import Deployment
from mwaactl.errors import Unfinished, Unreachable
from mwaactl.ownership.parameter import Snapshot

ATTEMPTS = 3  # to make it agree with the ownership while others keep switching


def read_active(deployment: Deployment) -> str | None:
    """The parameter's value, None if it does not exist. Raises Unreachable."""
    name, ssm = deployment.stack.active_environment_parameter, deployment.clients.ssm
    with aws_errors(f"read the parameter {name}"):
        try:
            return ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except ssm.exceptions.ParameterNotFound:
            return None


def write_active(deployment: Deployment, snapshot: Snapshot) -> None:
    """Set the parameter to the owner of the work of all DAGs; `snapshot` is the ownership just written.

    Each writer reads the ownership again after its write, so the last of several writers leaves the right
    value. Raises Unfinished: the ownership stands, and repeating the command sets the parameter.
    """
    name, ssm = deployment.stack.active_environment_parameter, deployment.clients.ssm
    try:
        for _ in range(ATTEMPTS):
            owner = snapshot.timeline.newest().owner
            if read_active(deployment) != owner:
                with aws_errors(f"write {name}"):
                    ssm.put_parameter(Name=name, Value=owner, Type="String", Overwrite=True)
            snapshot = deployment.ownership.read()
            if snapshot.timeline.newest().owner == owner:
                return
        raise Unreachable("others keep switching")
    except Unreachable as error:
        raise Unfinished(
            f"{snapshot.timeline.newest().owner} owns the work, but the parameter {name}, which other "
            f"systems read, does not name it yet: {error}. Repeat the command to set it"
        ) from error
