"""What `mwaactl` says of a folder of DAGs, held against real Airflows."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from local.airflow.install import Image
from local.home import Home
from mwaactl.dags.ignored import PatternError, Syntax, default_syntax, ignored

# Of what the versions of pathspec (`**/`) and re2 and Python (`$?`) read in different ways, nothing.
NAMES = (
    *("a.py", "temp.py", "template.py", "lib/x.py", "lib/deep/y.py", "lib/deep/a.py", "other/lib/z.py"),
    *("other/a.b.py", "other/x/y/z.py", "lib.py"),
)
PARTS = ("a", "b", "*", "?", "lib", "deep", "other", "temp", "x", "y", ".py", ".", "[ab]", "[!a]", "/")
REGEXPS = ("|", "(lib)", "(?!x)", "\\.", ".*", "\\w+", "+", "(", "[a-c]")
# Runs Airflow's own walk over each folder that is named on its input.
WALK = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
try:
    from airflow._shared.module_loading.file_discovery import find_path_from_directory
except ImportError:
    from airflow.utils.file import find_path_from_directory
answers = {}
for folder in json.load(sys.stdin):
    try:
        found = find_path_from_directory(folder, ".airflowignore", sys.argv[1])
        answers[folder] = sorted(os.path.relpath(path, folder) for path in found)
    except Exception as error:
        answers[folder] = str(error)
print(json.dumps(answers), file=sys.stderr)
"""


def rules(chance: random.Random, syntax: Syntax) -> str:
    lines = []
    for _ in range(chance.randint(1, 4)):
        parts = PARTS if syntax == "glob" else (*PARTS, *REGEXPS)
        line = "".join(chance.choices(parts, k=chance.randint(1, 5)))
        lines.append(chance.choice(("", "", "!" if syntax == "glob" else "")) + line)
    return "\n".join(lines)


@pytest.mark.parametrize("version", ["2.11.2", "3.0.6", "3.3.1"])
@pytest.mark.parametrize("syntax", ["regexp", "glob"])
def test_airflowignore_means_what_it_means_to_this_airflow(
    version: str, syntax: Syntax, tmp_path: Path
) -> None:
    image = Image(Home.find(), version)
    image.install()
    chance = random.Random(f"{version} {syntax}")
    expected: dict[str, list[str] | None] = {}
    for number in range(400):
        folder = tmp_path / str(number)
        files = dict.fromkeys(NAMES, b"") | {".airflowignore": rules(chance, syntax).encode()}
        if chance.random() < 0.5:
            files["lib/.airflowignore"] = rules(chance, syntax).encode()
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        try:
            left_out = ignored(files, version, syntax)
        except PatternError:
            expected[str(folder)] = None
        else:
            looked_at = {name for name in files if not name.endswith(".airflowignore")} - left_out
            expected[str(folder)] = sorted(looked_at)
    done = subprocess.run(
        [str(image.venv / "bin" / "python"), "-c", WALK, syntax],
        input=json.dumps(list(expected)),
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stderr.splitlines()[-1])
    wrong = {
        folder: (shown(Path(folder)), files, answers[folder])
        for folder, files in expected.items()
        if answers[folder] != files and not (files is None and isinstance(answers[folder], str))
    }
    assert list(wrong.values()) == []


def shown(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.rglob(".airflowignore"))]


@pytest.mark.parametrize(("version", "syntax"), [("2.11.2", "regexp"), ("3.0.6", "glob"), ("3.3.1", "glob")])
def test_the_syntax_is_the_one_that_this_airflow_takes(version: str, syntax: str, tmp_path: Path) -> None:
    image = Image(Home.find(), version)
    image.install()
    asks = "import airflow.configuration as c; print(c.conf.get('core', 'dag_ignore_file_syntax'))"
    done = subprocess.run(
        [str(image.venv / "bin" / "python"), "-c", asks],
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == syntax == default_syntax(int(version[0]))
