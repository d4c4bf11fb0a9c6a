"""Whether the Python of an environment can parse a file, whatever the operator's own Python is.

Ruff parses for any version of Python. It runs nothing: what an import says, only Airflow knows
(`mwaactl dags check`).
"""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
import tokenize
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.version import InvalidVersion, Version

from mwaactl.errors import Unusable, UsageError

# Beside the grammar, what Python's compiler refuses: a late __future__ import, break, continue, yield, return
# and except in the wrong place.
RULES = "F404,F701,F702,F704,F706,F707"


def parsed_version(airflow_version: str) -> Version:
    """Raises UsageError."""
    try:
        return Version(airflow_version)
    except InvalidVersion as error:
        raise UsageError(f"{airflow_version!r} is no version of Airflow: name one, such as 3.3.1") from error


def python_of(airflow_version: str) -> str:
    """The Python of Amazon's image of an Airflow version, such as "3.12". Raises UsageError."""
    return "3.11" if parsed_version(airflow_version) < Version("2.11") else "3.12"


def syntax_errors(files: Mapping[str, bytes], python: str) -> dict[str, str]:
    """The files that this version of Python cannot parse: the line, if it is known, and why.

    Raises Unusable if Ruff cannot be started.
    """
    texts: dict[str, bytes] = {}
    errors: dict[str, str] = {}
    for name, content in files.items():
        try:
            texts[name] = _utf8(content)
        except SyntaxError as error:
            errors[name] = str(error.msg)
    return errors | _parsed(texts, python)


def _utf8(content: bytes) -> bytes:
    """The file's text, by its own encoding, as UTF-8. Raises SyntaxError, as Python's parser would."""
    if b"\0" in content:
        raise SyntaxError("source code cannot contain null bytes")
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    try:
        return content.decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise SyntaxError(f"not valid {encoding}: {error.reason} at byte {error.start}") from error
    except UnicodeEncodeError as error:
        raise SyntaxError(f"as {encoding}, it has half a surrogate pair, which is no text") from error
    except (LookupError, ValueError) as error:  # a codec of something else than text, such as hex
        raise SyntaxError(f"{encoding} is not the encoding of a text") from error


def _parsed(texts: Mapping[str, bytes], python: str) -> dict[str, str]:
    names = list(texts)
    with tempfile.TemporaryDirectory() as folder:
        # By number: Ruff leaves out some names, such as those in build/.
        paths = {name: Path(folder) / f"{number}.py" for number, name in enumerate(names)}
        for name, path in paths.items():
            # Without the line that names the encoding: the text is UTF-8 now, and Ruff reads nothing else.
            path.write_bytes(texts[name])
        return _judged(names, paths, python)


def _judged(names: Sequence[str], paths: Mapping[str, Path], python: str) -> dict[str, str]:
    if not names:
        return {}
    done = run_ruff(
        ["--select", RULES, "--target-version", f"py{python.replace('.', '')}", "--ignore-noqa"],
        [paths[name] for name in names],
    )
    if done.returncode in (0, 1):
        by_path = {str(path.resolve()): name for name, path in paths.items()}
        errors: dict[str, str] = {}
        for found in json.loads(done.stdout):
            name = by_path[str(Path(found["filename"]).resolve())]
            errors.setdefault(name, f"{found['location']['row']}: {found['message']}")
        return errors
    if len(names) == 1:  # Ruff's stack has overflowed, and Python's would
        return {names[0]: "nested too deeply for a parser"}
    half = len(names) // 2
    return _judged(names[:half], paths, python) | _judged(names[half:], paths, python)


def run_ruff(options: Sequence[str], paths: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    """`ruff check` of these files, without any configuration but `options`; findings as JSON."""
    try:
        from ruff.__main__ import find_ruff_bin  # type: ignore[import-untyped]

        command: str = find_ruff_bin()
    except (ImportError, FileNotFoundError) as error:
        raise Unusable("Ruff is not installed beside mwaactl: install mwaactl again") from error
    fixed = ["check", "--isolated", "--no-cache", "--quiet", "--output-format", "json"]
    return subprocess.run(  # noqa: S603 - no shell, and nothing of the caller's but paths
        [command, *fixed, *options, "--", *map(str, paths)], capture_output=True, text=True, check=False
    )
