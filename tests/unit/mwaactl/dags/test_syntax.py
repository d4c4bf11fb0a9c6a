"""Syntax by the environment's Python, whatever this one is."""

from __future__ import annotations

import pytest

from mwaactl.dags import syntax
from mwaactl.dags.syntax import python_of, syntax_errors
from mwaactl.errors import Unusable, UsageError

GOOD = {
    "backslash.py": b'x = "\\d"\n',
    "latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
    "utf7.py": b"# coding: utf-7\nk = '+AOk-'\n",
    "bom.py": b"\xef\xbb\xbfx = 1\n",
    "empty.py": b"",
    "build/site-packages/x.py": b"x = 1\n",
}
BAD = {
    "def.py": (b"def f(:\n", "1: "),
    "later.py": (b"x = 1\nif\n", "2: "),
    "return.py": (b"x = 1\nreturn x  # noqa\n", "2: `return` statement outside"),
    "null.py": (b"x = 1\0\n", "source code cannot contain null bytes"),
    "utf8.py": (b"x = '\xe9'\n", "invalid or missing encoding declaration"),
    "codec.py": (b"# coding: nonsense\n", "unknown encoding: nonsense"),
    "hex.py": (b"# coding: hex\nx = 1\n", "hex is not the encoding of a text"),
    "rot13.py": (b"# coding: rot13\nk = 1\n", "rot13 is not the encoding of a text"),
    "undefined.py": (b"# coding: undefined\nk = 1\n", "undefined is not the encoding of a text"),
    "idna.py": (b"# coding: idna\nk=..\n" + b"a" * 80 + b"\n", ""),
    "lone.py": (b"# coding: utf-7\nk = '+2AA-'\n", "as utf-7, it has half a surrogate pair"),
    "escape.py": (b"# coding: unicode_escape\nk = '\\ud800'\n", "as unicode_escape, it has half"),
    "build/site-packages/y.py": (b"x = (\n", "2: "),
    "deep.py": (b"x = " + b"-" * 20_000 + b"1\n", "nested too deeply for a parser"),
}


def test_each_file_that_cannot_be_parsed_is_named_with_the_reason() -> None:
    errors = syntax_errors(GOOD | {name: content for name, (content, _) in BAD.items()}, "3.12")
    assert errors.keys() == BAD.keys()
    for name, (_, beginning) in BAD.items():
        assert errors[name].startswith(beginning), errors[name]


@pytest.mark.parametrize(
    ("airflow", "python"),
    [("2.7.2", "3.11"), ("2.10.3", "3.11"), ("2.11.0", "3.12"), ("2.11.2", "3.12"), ("3.3.1", "3.12")],
)
def test_the_python_of_an_airflow_version_decides(airflow: str, python: str) -> None:
    assert python_of(airflow) == python
    new = {"new.py": b'type Row = dict[str, int]\nx = f"{\'a\' + "b"}"\n'}
    assert syntax_errors(new, python).keys() == (new.keys() if python == "3.11" else set())
    assert syntax_errors({"newer.py": b"x = t'{y}'\n"}, python)


def test_what_is_no_version_is_said() -> None:
    with pytest.raises(UsageError, match=r"'abc' is no version of Airflow: name one, such as 3\.3\.1"):
        python_of("abc")


def test_without_ruff_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("ruff.__main__.find_ruff_bin", missing)
    with pytest.raises(Unusable, match="install mwaactl again"):
        syntax.syntax_errors(GOOD, "3.12")
