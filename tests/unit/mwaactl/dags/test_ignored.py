"""`.airflowignore`. tests/e2e/long/test_dag_files.py holds the same rules against real Airflows."""

from __future__ import annotations

import pytest

from mwaactl.dags.ignored import PatternError, Syntax, ignored

NAMES = ("a.py", "temp.py", "template.py", "lib/x.py", "lib/deep/y.py", "lib/deep/a.py", "other/lib/z.py")


def left_out(lines: str, syntax: Syntax, more: dict[str, str] | None = None) -> set[str]:
    names = dict.fromkeys(NAMES, b"") | {".airflowignore": lines.encode()}
    more_names = {name: text.encode() for name, text in (more or {}).items()}
    return set(ignored(names | more_names, "2.11.2" if syntax == "regexp" else "3.3.1"))


@pytest.mark.parametrize(
    ("lines", "syntax", "expected"),
    [
        ("temp.*", "regexp", {"temp.py", "template.py"}),
        ("temp.*", "glob", {"temp.py"}),
        ("lib/", "regexp", {"lib/x.py", "lib/deep/y.py", "lib/deep/a.py", "other/lib/z.py"}),
        ("lib/", "glob", {"lib/x.py", "lib/deep/y.py", "lib/deep/a.py", "other/lib/z.py"}),
        ("/lib/", "glob", {"lib/x.py", "lib/deep/y.py", "lib/deep/a.py"}),
        ("/lib/", "regexp", {"other/lib/z.py"}),
        ("*.py", "regexp", set()),  # no regular expression: Airflow goes on without the line
        ("*.py\n!a.py", "glob", set(NAMES) - {"a.py", "lib/deep/a.py"}),
        ("lib\n!lib/x.py", "glob", {"lib/x.py", "lib/deep/y.py", "lib/deep/a.py", "other/lib/z.py"}),
        ("# a.py\n  # no\ntemp.py # why\n\n", "glob", {"temp.py"}),
        (r"temp(?!late)", "regexp", set()),  # re2 has no lookahead
        ("a{1001}|temp", "regexp", set()),  # re2 counts to 1,000
        ("a{2,01001}|temp", "regexp", set()),
        ("a{1001,}|temp", "regexp", set()),
        ("a{1000}|x{0,1000}y{1000,1000}|temp", "regexp", {"temp.py", "template.py"}),
        (r"^(t)emp\.py$", "regexp", {"temp.py"}),
        (r"deep/\w\.py\r\n", "regexp", set()),
        ("a.py\r\ntemp.py\r\n", "glob", {"a.py", "lib/deep/a.py", "temp.py"}),
        ("/", "glob", set()),
    ],
)
def test_lines_mean_what_they_mean_to_airflow(lines: str, syntax: Syntax, expected: set[str]) -> None:
    assert left_out(lines, syntax) == expected


def test_a_file_further_down_counts_below_it_only() -> None:
    inner = {"lib/.airflowignore": "/deep/\n"}
    assert left_out("", "glob", inner) == {"lib/deep/y.py", "lib/deep/a.py"}
    # a regular expression sees the path from the DAGs folder, wherever the file is
    assert left_out("", "regexp", {"lib/.airflowignore": "^lib/x\n^other\n"}) == {"lib/x.py"}


@pytest.mark.parametrize(
    ("content", "airflow", "said"),
    [
        (
            "a\n!\n",
            "3.3.1",
            r"\.airflowignore:2: '!' is not a pattern of gitignore, at which Airflow would stop",
        ),
        ("[z-a]", "3.3.1", r"\.airflowignore:1: '\[z-a\]' is not a pattern of gitignore"),
        ("[a-\\]", "3.0.6", r"\.airflowignore:1: .* is not a pattern of gitignore"),
        ("b\xe9", "3.3.1", r"\.airflowignore is not valid UTF-8, at which Airflow would stop"),
        ("b\xe9", "2.11.2", r"\.airflowignore is not valid UTF-8"),
        (
            "(" * 3000 + ")" * 3000,
            "2.11.2",
            r"\.airflowignore:1: '\({60}\.\.\.' is nested too deeply to be judged",
        ),
    ],
)
def test_a_line_at_which_the_search_stops_is_named(content: str, airflow: str, said: str) -> None:
    with pytest.raises(PatternError, match=f"^{said}"):
        ignored({".airflowignore": content.encode("latin-1"), "a.py": b""}, airflow)


def test_python_counts_repetitions_further_than_re2() -> None:
    names = {".airflowignore": b"a{99999999999}\n", "a.py": b""}
    assert ignored(names, "2.11.2", "regexp") == set()
    with pytest.raises(PatternError, match="the repetition number is too large, at which Airflow would stop"):
        ignored(names, "3.3.1", "regexp")
