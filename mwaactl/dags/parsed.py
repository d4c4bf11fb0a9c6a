"""Waiting until every Airflow has parsed exactly the files that were pushed.

What can be known of a file depends on it:

- of one that defines DAGs, Airflow 3 shows the source that it has parsed. It is compared.
- Airflow 2 (and Airflow 3, of a long DAG id) shows when it parsed the file last. That was long enough after
  the push for the file to have arrived: Amazon copies the DAGs folder about every 30 s, see `ARRIVES_WITHIN`.
- of a file without DAGs, such as a module, Airflow shows nothing. It counts as read once every DAG has been
  parsed so long after the push.
- of a new file that looks as if it defined DAGs and of which none appears, it is not known whether it defines
  none or has not been found yet. It is waited for as long as Airflow takes to look for new files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial

from bluegreen.proof import PROBE, PROBE_FILE
from bluegreen.timeline import Colour

from mwaactl import clock
from mwaactl.airflow.client import BEGINNING, AirflowApi
from mwaactl.airflow.models import ParsedDag
from mwaactl.aws import aws_errors
from mwaactl.dags.changes import on_each
from mwaactl.dags.folder import Folder
from mwaactl.dags.ignored import ignored
from mwaactl.dags.push import EnvironmentPush, ParsedFiles, PushResult, ignore_syntax
from mwaactl.dags.stored import last_change
from mwaactl.deployment import Deployment
from mwaactl.errors import CheckFailed, Unfinished, Unreachable
from mwaactl.json_model import Model, iso
from mwaactl.stack import Environment

ARRIVES_WITHIN = timedelta(seconds=60)  # twice the interval at which Amazon copies the DAGs folder
FOUND_WITHIN = timedelta(seconds=300) + ARRIVES_WITHIN  # Airflow's interval for new files, and the copy
EVERY = 5.0  # seconds from one look to the next
DAGS_FOLDER = "/airflow/dags/"  # Amazon's ends so


class _Waiting(Model):
    """What is still to come, by file; and the errors that no waiting mends."""

    missing: dict[str, str]
    errors: dict[str, str]
    parsed: ParsedFiles


def wait_until_parsed(
    deployment: Deployment,
    folder: Folder,
    result: PushResult,
    *,
    timeout: float = 900,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> dict[Colour, ParsedFiles]:
    """Wait for all sides; `result`: of the push. `progress` takes the number of files done and of all.

    Raises CheckFailed if an Airflow cannot import a file that was pushed, Unfinished after `timeout` seconds,
    Unreachable.
    """
    sides = {
        colour: _Side(deployment, environment, folder, result.environments[colour])
        for colour, environment in deployment.stack.airflow_environments.items()
    }
    waited = 0.0
    while True:
        looks, unreachable = on_each(sides, partial(_Side.look, waited=timedelta(seconds=waited)))
        if unreachable:
            raise Unreachable("; ".join(unreachable.values()))
        if errors := [error for look in looks.values() for error in look.errors.values()]:
            raise CheckFailed(f"the DAGs are pushed, and Airflow cannot import them: {'; '.join(errors)}")
        missing = [text for look in looks.values() for text in look.missing.values()]
        if not missing:
            return {colour: look.parsed for colour, look in looks.items()}
        of = len(folder.files) * len(sides)
        progress(max(0, of - len(missing)), of)
        if waited >= timeout:
            shown = "; ".join(missing[:5]) + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise Unfinished(f"the DAGs are pushed, and not parsed after {timeout:.0f} s: {shown}")
        clock.sleep(EVERY)
        waited += EVERY


class _Side:
    """One Airflow, and what it is to have parsed."""

    def __init__(
        self, deployment: Deployment, environment: Environment, folder: Folder, files: EnvironmentPush
    ) -> None:
        self._name, self._api = environment.name, _api(deployment, environment)
        self._folder, self._uploaded = folder, frozenset(files.uploaded or folder.files)
        self._deleted = frozenset(files.deleted)
        with aws_errors(f"list s3://{environment.bucket}/{environment.dags_prefix}"):
            pushed = last_change(deployment.clients.s3, environment)
        self._pushed = pushed or clock.now()
        contents = {name: file.content for name, file in folder.files.items()}
        rules = any(name.endswith(".airflowignore") for name in contents)
        syntax = ignore_syntax(deployment, environment) if rules else None
        left_out = ignored(contents, environment.airflow_version, syntax)
        self._candidates = {
            name for name in contents if name not in left_out and _may_define_dags(name, contents[name])
        }
        self._sources: set[str] = set()  # files that have been seen in Airflow as they are

    def look(self, waited: timedelta) -> _Waiting:
        """What is parsed by now. Raises Unreachable."""
        dags = self._api.parsed_dags()
        by_file = _by_file(dags)
        errors, old_errors = self._import_errors(_root(dags))
        missing = dict(self._missing(by_file, waited)) | old_errors
        parsed = ParsedFiles(
            environment=self._name,
            by_source=tuple(sorted(self._sources)),
            by_time=tuple(sorted((self._folder.files.keys() & by_file.keys()) - self._sources)),
            without_dags=tuple(sorted(self._candidates - by_file.keys())),
            pushed_at=self._pushed,
        )
        return _Waiting(missing=missing, errors=errors, parsed=parsed)

    def _missing(
        self, by_file: Mapping[str, list[ParsedDag]], waited: timedelta
    ) -> Iterator[tuple[str, str]]:
        modules = not self._uploaded <= self._candidates  # changed, and Airflow does not show them
        for name, dags in by_file.items():
            if name in self._deleted:
                yield name, f"{self._name}: {name} is deleted, and {dags[0].dag_id} still there"
            if name not in self._folder.files or not (modules or name in self._uploaded):
                continue
            shown = self._shows(name, dags)
            oldest = min(dag.parsed or BEGINNING for dag in dags)
            if shown is False:
                yield name, f"{self._name}: {name}, of which it has another source"
            elif (modules or shown is None) and oldest < self._pushed + ARRIVES_WITHIN:
                parsed = iso(oldest) if oldest > BEGINNING else "never"
                yield name, f"{self._name}: {name}, last parsed {parsed}"
        if waited < FOUND_WITHIN:
            for name in self._candidates & self._uploaded - by_file.keys():
                yield name, f"{self._name}: {name}, of which no DAG has appeared"

    def _shows(self, name: str, dags: list[ParsedDag]) -> bool | None:
        """Whether Airflow shows exactly this source for the file; None if it shows none."""
        if name in self._sources:
            return True
        source = self._api.source(dags[0].dag_id)
        try:
            own = self._folder.files[name].content.decode()
        except UnicodeDecodeError:  # an archive, or of another encoding: Airflow shows it in its own way
            return None
        if source is None:
            return None
        if _lines(source) != _lines(own):
            return False
        self._sources.add(name)
        return True

    def _import_errors(self, root: str | None) -> tuple[dict[str, str], dict[str, str]]:
        """The errors of pushed files since the push, and those from before it."""
        new: dict[str, str] = {}
        old: dict[str, str] = {}
        for problem in self._api.import_errors():
            name = _relative(problem.file, root)
            if name in self._folder.files:
                errors = new if problem.at is None or problem.at > self._pushed + ARRIVES_WITHIN else old
                errors[name] = f"{self._name}: {name}: {problem.message}"
        return new, old


def _api(deployment: Deployment, environment: Environment) -> AirflowApi:
    colours = deployment.stack.airflow_environments
    return deployment.airflow(next(colour for colour, each in colours.items() if each is environment))


def _by_file(dags: tuple[ParsedDag, ...]) -> dict[str, list[ParsedDag]]:
    root = _root(dags)
    by_file: dict[str, list[ParsedDag]] = {}
    for dag in dags:
        by_file.setdefault(_relative(dag.file, root), []).append(dag)
    return by_file


def _root(dags: tuple[ParsedDag, ...]) -> str | None:
    """The DAGs folder on Airflow's machine, as the program's own probe shows it."""
    for dag in dags:
        if dag.dag_id == PROBE and dag.file.endswith(f"/{PROBE_FILE}"):
            return dag.file.removesuffix(PROBE_FILE)
    return None


def _relative(file: str, root: str | None) -> str:
    if root is not None and file.startswith(root):
        return file.removeprefix(root)
    return file.partition(DAGS_FOLDER)[2] or file


def _lines(text: str) -> str:
    """The text with the ends of lines that Airflow reads."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _may_define_dags(name: str, content: bytes) -> bool:
    """Airflow's own guess (its safe mode)."""
    text = content.lower()
    return name.endswith(".py") and b"airflow" in text and (b"dag" in text or b"asset" in text)
