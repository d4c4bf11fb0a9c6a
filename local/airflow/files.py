"""The files of one environment, below `<home>/state/mwaa/<name>`, laid out as MWAA lays them out."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from local.airflow.config import OLD, image_of
from local.airflow.install import Image, install_requirements
from local.aws import callers
from local.home import Home
from local.mwaa.bucket import Bucket, DagSync, extract
from local.mwaa.rules import Json

log = logging.getLogger("mwaa")

PLUGINS = "/usr/local/airflow/plugins"  # on MWAA
MWAA_IMAGE = Path(__file__).parent / "mwaa_image"


class Files:
    """Virtual environment, plugins, DAGs, and small JSON files that record the state."""

    def __init__(self, home: Home, name: str) -> None:
        self.folder = home.root / "state" / "mwaa" / name
        self.airflow_home = self.folder / "airflow"
        self.script = self.airflow_home / "startup" / "startup.sh"
        self._home = home
        self._name = name
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def requirements(self, environment: Json) -> Path | None:
        path = environment.get("RequirementsS3Path")
        if not path:
            return None
        target = self.folder / "requirements.txt"
        bucket = self._bucket(environment)
        bucket.fetch(path, environment.get("RequirementsS3ObjectVersion"), target)
        text = target.read_text()
        if PLUGINS in text and environment.get("PluginsS3Path"):
            text = text.replace(PLUGINS, str(self._packages(environment)))
        # Where wheels in dags/ are on MWAA:
        target.write_text(text.replace("/usr/local/airflow", str(self.airflow_home)))
        return target

    def _packages(self, environment: Json) -> Path:
        """The content of plugins.zip to install from: Airflow's own copy is in use until it is stopped.

        The folder's name changes with the content, and so does the text of the requirements that name it.
        """
        archive = self._plugins_archive(environment)
        folder = self.folder / "packages"
        shutil.rmtree(folder, ignore_errors=True)
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:10]
        extract(archive, folder / digest)
        return folder / digest

    def _plugins_archive(self, environment: Json) -> Path:
        archive = self.folder / "plugins.zip"
        version = environment.get("PluginsS3ObjectVersion")
        self._bucket(environment).fetch(environment["PluginsS3Path"], version, archive)
        return archive

    def startup(self, environment: Json) -> None:
        """Fetch the startup script, if the environment has one."""
        path = environment.get("StartupScriptS3Path")
        if not path:
            self.script.unlink(missing_ok=True)
            return
        self.script.parent.mkdir(exist_ok=True)
        version = environment.get("StartupScriptS3ObjectVersion")
        self._bucket(environment).fetch(path, version, self.script)

    def venv(self, image: Image, requirements: Path | None, step: Callable[[str], None]) -> Path:
        text = requirements.read_text() if requirements else ""
        digest = hashlib.sha256(f"{image.folder.name}\n{text}".encode()).hexdigest()[:10]
        venv = self.folder / f"venv-{digest}"
        if venv.exists():
            return venv
        image.copy_to(venv)
        if requirements is not None:
            step("installing requirements.txt")
            constraints = image.constraints(self.folder, text)
            out = self.folder / "requirements.log"
            if not install_requirements(self._home, venv, requirements, constraints, out):
                log.error("%s: requirements.txt could not be installed, see %s", self._name, out)
        return venv

    def plugins(self, environment: Json) -> None:
        plugins = self.airflow_home / "plugins"
        if environment.get("PluginsS3Path"):
            extract(self._plugins_archive(environment), plugins)
        else:
            shutil.rmtree(plugins, ignore_errors=True)
            plugins.mkdir(parents=True)
        config = self.airflow_home / "config"
        shutil.rmtree(config, ignore_errors=True)
        config.mkdir()
        if image_of(environment) != OLD:
            shutil.copy(MWAA_IMAGE / "airflow_local_settings.py", config)

    def dags(self, environment: Json) -> DagSync:
        folder = self.airflow_home / "dags"
        folder.mkdir(exist_ok=True)
        bucket = self._bucket(environment)
        return DagSync(bucket, environment["DagS3Path"], folder, self.folder / "dags.json")

    def read(self, name: str) -> Json:
        try:
            content: Json = json.loads((self.folder / name).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return content

    def write(self, name: str, content: Json) -> None:
        path = self.folder / name
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(content))
        temporary.replace(path)

    def _bucket(self, environment: Json) -> Bucket:
        """The environment's bucket, which MWAA reads as its execution role."""
        arn, role = environment["SourceBucketArn"], environment["ExecutionRoleArn"]
        if (arn, role) not in self._buckets:
            self._buckets[arn, role] = Bucket(arn, callers.as_role(self._home, "s3", role))
        return self._buckets[arn, role]
