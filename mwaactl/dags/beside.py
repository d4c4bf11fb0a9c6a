"""What lies beside the DAGs and does not go with them: requirements and plugins are an environment update."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mwaactl.aws import aws_errors
from mwaactl.dags.folder import Folder
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.stack import Environment

REQUIREMENTS = "requirements.txt"  # its key in each environment's bucket
HOW = "`mwaactl rollout`, or `pulumi up` where it updates no environment that owns work"


def not_pushed(deployment: Deployment, folder: Folder, project: Path) -> tuple[str, ...]:
    """What of the folder and its project an environment has in another state, and how it gets there.

    What cannot be compared (no permission, no such object) is left out: a push does not depend on it.
    """
    return tuple(
        note
        for environment in deployment.stack.airflow_environments.values()
        for note in (
            *_requirements(deployment, environment, folder),
            *_plugins(deployment, environment, project),
        )
    )


def _requirements(deployment: Deployment, environment: Environment, folder: Folder) -> Iterator[str]:
    """The lines of a requirements.txt among the DAGs, where Airflow does not read it."""
    file = folder.files.get(REQUIREMENTS)
    if file is None:
        return
    try:
        with aws_errors(f"read s3://{environment.bucket}/{REQUIREMENTS}"):
            answer = deployment.clients.s3.get_object(Bucket=environment.bucket, Key=REQUIREMENTS)
            with answer["Body"] as body:
                deployed = _lines(body.read())
    except Unreachable:
        return
    if missing := sorted(_lines(file.content) - deployed):
        yield (
            f"{environment.name} does not have these lines of {folder.path / REQUIREMENTS}: "
            f"{', '.join(missing)}. Amazon does not read the file there. To install them: "
            f"pulumi config set --path 'requirements[0]' '{missing[0]}' and so on, then {HOW}"
        )


def _lines(content: bytes) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in content.decode(errors="replace").splitlines())
    return {line for line in lines if line}


def _plugins(deployment: Deployment, environment: Environment, project: Path) -> Iterator[str]:
    """The files of the project's plugins folder that the environment runs in another form."""
    folder = project / "plugins"
    if not folder.is_dir():
        return
    try:
        deployed = _deployed_plugins(deployment, environment)
        own = _own_plugins(folder)
    except (Unreachable, OSError, zipfile.BadZipFile):
        return
    if changed := sorted(
        {name for name in own.keys() | deployed.keys() if own.get(name) != deployed.get(name)}
    ):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        yield (
            f"{environment.name} runs other plugins than {folder} has: {', '.join(changed[:3])}{more}. To "
            f"deploy them: {HOW}"
        )


def _deployed_plugins(deployment: Deployment, environment: Environment) -> Mapping[str, bytes]:
    """The files of the plugins.zip that Amazon reports. Raises Unreachable, BadZipFile."""
    with aws_errors(f"read the plugins of {environment.name}"):
        found = deployment.clients.mwaa.get_environment(Name=environment.name)["Environment"]
        path, version = found.get("PluginsS3Path"), found.get("PluginsS3ObjectVersion")
        if not path or not version:
            return {}
        s3 = deployment.clients.s3
        with s3.get_object(Bucket=environment.bucket, Key=path, VersionId=version)["Body"] as body:
            archive = zipfile.ZipFile(io.BytesIO(body.read()))
    return {each.filename: archive.read(each) for each in archive.infolist() if not each.is_dir()}


def _own_plugins(folder: Path) -> Mapping[str, bytes]:
    """The files that the program packs (components/airflow/plugins.py)."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
