"""Which files Airflow leaves out for the sake of `.airflowignore`.

Airflow 2 takes the lines as regular expressions (google-re2's) unless `core.dag_ignore_file_syntax` says
otherwise, Airflow 3 as patterns of gitignore. The rules are those of Airflow's own walk: see
`find_path_from_directory` in airflow/utils/file.py (2.x, 3.0), and in
airflow/_shared/module_loading/file_discovery.py (3.2 and later).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal, NamedTuple, Protocol

from packaging.version import Version
from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from mwaactl.dags.folder import IGNORE_FILE

Syntax = Literal["regexp", "glob"]
ROOT = PurePosixPath()
# What re2 does not know, so that Airflow 2 ignores the line: lookaround, references to groups, possessive
# repetition, repetition of more than 1,000 times.
NOT_IN_RE2 = re.compile(
    r"(?<!\\)(?:\\\\)*(?:\(\?(?:[=!>]|<[=!]|P=|\()|\\[1-9]|[*+?}]\+"
    r"|\{(?:\d+,)?(?!0*1000[,}])0*[1-9]\d{3,}(?:,\d*)?\})"
)
SHOWN = 60  # characters of a line
STOPS = "at which Airflow would stop"


class PatternError(ValueError):
    """A line of an `.airflowignore` at which Airflow's search for DAGs, or this one, ends with an error."""


def default_syntax(airflow_major: int) -> Syntax:
    """The syntax of `.airflowignore` where the configuration does not name one."""
    return "regexp" if airflow_major < 3 else "glob"


def ignored(names: Mapping[str, bytes], airflow: str, syntax: Syntax | None = None) -> frozenset[str]:
    """Those of the files in a DAGs folder that this version of Airflow does not look at.

    `names`: the files by relative name; contents are needed of each `.airflowignore` only. Raises
    PatternError.
    """
    version = Version(airflow)
    dialect = _Dialect(syntax or default_syntax(version.major), version.major < 3, version < Version("3.1"))
    folders = _folders(names)
    left_out: set[str] = set()
    waiting: list[tuple[PurePosixPath, list[_Rule]]] = [(ROOT, [])]
    while waiting:
        folder, inherited = waiting.pop()
        own = names.get(str(folder / IGNORE_FILE))
        rules = inherited if own is None else [*inherited, *_rules(own, folder, dialect)]
        inner, files = folders[folder]
        for each in inner:
            if _matches(rules, each, True):
                left_out |= {name for name in names if PurePosixPath(name).is_relative_to(each)}
            else:
                waiting.append((each, rules))
        left_out |= {str(each) for each in files if _matches(rules, each, False)}
    return frozenset(name for name in left_out if PurePosixPath(name).name != IGNORE_FILE)


def _folders(
    names: Mapping[str, bytes],
) -> dict[PurePosixPath, tuple[set[PurePosixPath], set[PurePosixPath]]]:
    """Each folder's folders and files."""
    found: dict[PurePosixPath, tuple[set[PurePosixPath], set[PurePosixPath]]] = {ROOT: (set(), set())}
    for name in map(PurePosixPath, names):
        for child, folder in zip((name, *name.parents), name.parents, strict=False):
            inner, files = found.setdefault(folder, (set(), set()))
            (files if child is name else inner).add(child)
    return found


class _Dialect(NamedTuple):
    syntax: Syntax
    re2: bool  # which reads the regular expressions; else Python does
    bare_folders: bool  # patterns see folders without the slash at the end, and match from the first letter


class _Rule(Protocol):
    def verdict(self, path: PurePosixPath, is_folder: bool) -> bool | None:
        """Whether the path is left out; None if the rule says nothing about it."""


class _Regexp(NamedTuple):
    pattern: re.Pattern[str]

    def verdict(self, path: PurePosixPath, is_folder: bool) -> bool | None:  # noqa: ARG002 - a regexp sees the text only
        return True if self.pattern.search(str(path)) else None


class _Glob(NamedTuple):
    pattern: GitIgnoreSpecPattern
    folder: PurePosixPath | None  # that the path is relative to; None: only its last part counts
    folders_only: bool
    bare_folders: bool

    def verdict(self, path: PurePosixPath, is_folder: bool) -> bool | None:
        if self.folders_only and not (is_folder or self.bare_folders):
            return None
        text = path.name if self.folder is None else str(path.relative_to(self.folder))
        if not self.bare_folders:
            matched = self.pattern.match_file(f"{text}/" if is_folder else text) is not None
        elif self.pattern.regex is not None:
            slash = "/" if is_folder and self.folders_only else ""
            matched = self.pattern.regex.match(text + slash) is not None
        else:
            return None
        return self.pattern.include if matched else None


def _matches(rules: list[_Rule], path: PurePosixPath, is_folder: bool) -> bool:
    verdicts = [verdict for rule in rules if (verdict := rule.verdict(path, is_folder)) is not None]
    return bool(verdicts) and verdicts[-1]


def _rules(content: bytes, folder: PurePosixPath, dialect: _Dialect) -> list[_Rule]:
    where = folder / IGNORE_FILE
    try:
        lines = content.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise PatternError(f"{where} is not valid UTF-8, {STOPS}") from error
    rules: list[_Rule] = []
    for number, line in enumerate(lines, 1):
        text = re.sub(r"\s*#.*", "", line)
        if text:
            if dialect.syntax == "regexp":
                rule = _regexp(text, dialect, f"{where}:{number}")
            else:
                rule = _glob(text, folder, dialect, f"{where}:{number}")
            rules += [rule] if rule is not None else []
    return rules


def _regexp(text: str, dialect: _Dialect, where: str) -> _Rule | None:
    if dialect.re2 and NOT_IN_RE2.search(text):
        return None
    try:
        return _Regexp(re.compile(text))
    except re.error:  # Airflow logs it and goes on without the line
        return None
    except OverflowError as error:
        raise PatternError(f"{where}: {_short(text)}: {error}, {STOPS}") from error
    except RecursionError as error:
        raise PatternError(
            f"{where}: {_short(text)} is nested too deeply to be judged: simplify it"
        ) from error


def _glob(text: str, folder: PurePosixPath, dialect: _Dialect, where: str) -> _Rule | None:
    if text.strip() == "/":
        return None
    anchored = text.startswith("/") or "/" in text.rstrip("/")
    bare = text if dialect.bare_folders else text.lstrip("!").rstrip()
    try:
        pattern = GitIgnoreSpecPattern(text)
    except (GitIgnorePatternError, re.error) as error:
        raise PatternError(f"{where}: {_short(text)} is not a pattern of gitignore, {STOPS}") from error
    return _Glob(pattern, folder if anchored else None, bare.endswith("/"), dialect.bare_folders)


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
