"""What lies beside the DAGs and does not go with them: requirements and plugins are an environment update."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mwaactl.aws import aws_errors
from mwaactl.dags import packed
from mwaactl.dags.folder import Folder, shown
from mwaactl.dags.masked import masked
from mwaactl.deployment import Deployment
from mwaactl.errors import Unreachable
from mwaactl.stack import Environment

REQUIREMENTS = "requirements.txt"  # its key in each environment's bucket
AMONG_DAGS = "plugins/"  # where Airflow does not look for plugins
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
            *_plugins(deployment, environment, folder, project),
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
            f"{masked(', '.join(missing))}. Amazon does not read the file there. To install them: "
            f"pulumi config set requirements_file {folder.path / REQUIREMENTS}, then {HOW}"
        )


def _lines(content: bytes) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in content.decode(errors="replace").splitlines())
    return {line for line in lines if line}


def _plugins(
    deployment: Deployment, environment: Environment, folder: Folder, project: Path
) -> Iterator[str]:
    """The plugins of the project, and those among the DAGs, that the environment has in another form.

    It may have more: those of the folder that the setting `plugins_folder` names.
    """
    among = {name: file.content for name, file in folder.files.items() if name.startswith(AMONG_DAGS)}
    try:
        own = {project / "plugins": _own_plugins(project / "plugins")}
        deployed = deployed_plugins(deployment, environment)
    except (Unreachable, OSError, zipfile.BadZipFile):
        return
    own[folder.path / "plugins"] = {name.removeprefix(AMONG_DAGS): text for name, text in among.items()}
    for place, files in own.items():
        changed = sorted(name for name, content in files.items() if deployed.get(name) != content)
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            yield (
                f"{environment.name} runs other plugins than {shown(place)} has: "
                f"{', '.join(changed[:3])}{more}. To deploy them: {HOW}"
            )


def plugins_of_stack(deployment: Deployment) -> Mapping[str, bytes] | None:
    """The plugins of the first environment, by name; None if they cannot be read."""
    environment = next(iter(deployment.stack.airflow_environments.values()))
    try:
        return deployed_plugins(deployment, environment) or None
    except (Unreachable, zipfile.BadZipFile):
        return None


def deployed_plugins(deployment: Deployment, environment: Environment) -> Mapping[str, bytes]:
    """The files of the plugins.zip that Amazon reports, without wheels. Raises Unreachable, BadZipFile."""
    with aws_errors(f"read the plugins of {environment.name}"):
        found = deployment.clients.mwaa.get_environment(Name=environment.name)["Environment"]
        path, version = found.get("PluginsS3Path"), found.get("PluginsS3ObjectVersion")
        if not path or not version:
            return {}
        request = {"Bucket": environment.bucket, "Key": path, "VersionId": version}
        return packed.contents(deployment.clients.s3, request)


def _own_plugins(folder: Path) -> Mapping[str, bytes]:
    """The files that the program packs (components/airflow/plugins.py)."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
