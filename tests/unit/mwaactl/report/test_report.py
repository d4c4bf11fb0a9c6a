"""`mwaactl report`: what the page says, and what a browser shows of it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mwaactl.airflow.notes import copied_note
from mwaactl.report.drawing import gantt
from mwaactl.report.facts import Bar, Scene, bands, forced_in, gather, scenes
from mwaactl.report.page import page
from tests.fakes.airflow.model import AirflowModel
from tests.fakes.aws.clients import FakeClients, deployment, standing
from tests.fakes.aws.errors import client_error
from tests.fakes.clock import minutes
from tests.fakes.lineage.events import write_ungated
from tests.fakes.mwaactl.audited import CHAIN, DONE, switched_at_half_time
from tests.fakes.mwaactl.commands import Command

SKIPPED = {"first": "skipped", "second": "skipped"}
ODD = "a<b>&amp;"  # no DAG has such a name, but nothing may depend on that
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeClients:
    """Green owns what is due from minute 30 on; by minute 60 there is one run of each kind."""
    doubles = switched_at_half_time(monkeypatch)
    for side in (doubles.blue, doubles.green):
        side.dags[ODD] = CHAIN
    work(doubles.blue, 5, DONE, 4)
    work(doubles.green, 5, SKIPPED, 0)
    retried = work(doubles.blue, 12, DONE, 3)
    retried.tasks["first", -1].tries = 2
    work(doubles.green, 12, SKIPPED, 0)
    work(doubles.blue, 18, {"first": "failed", "second": "upstream_failed"}, 2, state="failed")
    mirror = work(doubles.green, 18, DONE, 0)
    mirror.note = copied_note("blue")
    for task in mirror.tasks.values():
        task.pid, task.rendered = None, {}
    work(doubles.blue, 40, DONE, 5)  # green's: found by the audit
    work(doubles.green, 40, DONE, 5)
    work(doubles.green, 50, DONE, 3, dag_id=ODD)
    return doubles


def work(
    side: AirflowModel,
    minute: float,
    tasks: dict[str, str],
    duration: float,
    *,
    state: str = "success",
    dag_id: str = "chain",
) -> Any:
    run = side.add(dag_id, minutes(minute), tasks, state=state)
    run.start, run.end = minutes(minute), minutes(minute + duration)
    return run


def written(aws: FakeClients) -> str:
    return page(gather(deployment(aws), minutes(0), minutes(60)))


class Text(HTMLParser):
    """The text of a page, its tags and what they refer to; an element that is not closed fails."""

    EMPTY = ("meta", "link", "br", "hr", "img")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def titles(content: str) -> list[str]:
    """What the pictures' parts are called; each picture is well-formed XML."""
    found: list[str] = []
    for picture in re.findall(r"<svg.*?</svg>", content, re.DOTALL):
        tree = ElementTree.fromstring(picture)
        found += [each.text or "" for each in tree.iter() if each.tag.endswith("title")]
    return found


def test_the_page_stands_alone(aws: FakeClients) -> None:
    content = written(aws)
    seen = Text(content)
    assert not seen.tags & {"script", "link", "iframe", "object", "img"}
    assert all(address.startswith("#") for address in seen.addresses)
    assert "@import" not in content
    assert not re.search(r"url\((?!#)", content)
    assert "@media print" in content


def test_the_runs_of_both_sides_are_drawn_by_what_became_of_them(aws: FakeClients) -> None:
    drawn = titles(written(aws))
    assert "chain on blue, due 2026-11-23 10:05:00 UTC: executed, 10:05:00 to 10:09:00" in drawn
    assert "chain on green, due 2026-11-23 10:05:00 UTC: skipped mirror, 10:05:00 to 10:05:00" in drawn
    assert "chain on blue, due 2026-11-23 10:12:00 UTC: retried, 10:12:00 to 10:15:00" in drawn
    assert "chain on blue, due 2026-11-23 10:18:00 UTC: failed, 10:18:00 to 10:20:00" in drawn
    assert "chain on green, due 2026-11-23 10:18:00 UTC: skipped mirror, 10:18:00 to 10:18:00" in drawn
    assert "switch at 2026-11-23 10:30:00 UTC" in drawn
    assert "blue, 2026-11-23 10:00:00 to 2026-11-23 10:30:00 UTC" in drawn
    assert "green, 2026-11-23 10:30:00 to 2026-11-23 11:00:00 UTC" in drawn


def test_findings_and_ungated_executions_are_listed(aws: FakeClients) -> None:
    write_ungated(aws.s3, minutes(20))
    seen = Text(written(aws)).text
    assert "1 findings" in seen
    assert "executed by both" in seen
    assert "Executed without a gate, 2026-11-23 10:20:00" in seen


def test_names_are_text_and_never_markup(aws: FakeClients) -> None:
    content = written(aws)
    assert "<b>" not in content
    assert f"{ODD} on green, due 2026-11-23 10:50:00 UTC: executed, 10:50:00 to 10:53:00" in titles(content)


def test_decisions_name_the_checks_that_were_forced(aws: FakeClients, run: Command) -> None:
    for side in (aws.blue, aws.green):
        del side.dags[ODD]
    assert run("switch", "blue", "--yes", "--force", "gate", "--reason", "<i>upgrade</i>").exit_code == 0
    now = aws.ssm.clock.now + timedelta(seconds=10)
    facts = gather(deployment(aws), minutes(0), now)
    assert facts.decisions[0].forced == ("gate",)
    assert facts.decisions[-1].forced == ()
    assert "<i>" not in page(facts)
    assert "<i>upgrade</i>" in Text(page(facts)).text
    assert forced_in("mwaactl failover to green, since 2026Z [forced: a, b]: why") == ("a", "b")


def test_what_cannot_be_read_is_said_and_the_rest_is_there(aws: FakeClients) -> None:
    aws.blue.silence()
    aws.green.silence()
    aws.s3.error = client_error("AccessDenied", 403)
    seen = Text(written(aws)).text
    assert "the runs and the audit: " in seen
    assert "the lineage log: " in seen
    assert "green owns" in " ".join(seen.split())


def test_the_command_writes_the_page(aws: FakeClients, run: Command, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert run("report", "--since", "1h", "-o", str(file)).stdout == f"Wrote {file}.\n"
    assert "mwaa-openlineage-fullha" in file.read_text()
    assert run("report", "-o", str(tmp_path / "none" / "x.html")).exit_code == 2
    assert run("report", "--since", "soon").exit_code == 2


def test_bands_follow_the_line_of_each_dag(aws: FakeClients) -> None:
    timeline = standing(aws)
    assert [(band.owner, band.begin) for band in bands(timeline, minutes(0), minutes(60))] == [
        ("blue", minutes(0)),
        ("green", minutes(30)),
    ]
    assert [band.owner for band in bands(timeline, minutes(31), minutes(60))] == ["green"]


def bar(dag_id: str, begin: float, finding: str | None = None) -> Bar:
    return Bar(dag_id, "blue", minutes(begin), minutes(begin), minutes(begin + 1), "executed", finding)


def test_switches_that_are_close_share_a_picture() -> None:
    switches = [minutes(100), minutes(130), minutes(400)]
    bars = [bar("a", 90), bar("a", 250), bar("a", 405)]
    found = list(scenes(switches, bars, minutes(0), minutes(500)))
    assert [(scene.begin, scene.end, len(scene.switches), len(scene.bars)) for scene in found] == [
        (minutes(70), minutes(160), 2, 1),
        (minutes(370), minutes(430), 1, 1),
    ]
    [last] = scenes([], bars, minutes(0), minutes(500))
    assert (last.begin, last.switches) == (minutes(440), ())


def test_of_many_dags_those_with_findings_are_drawn() -> None:
    bars = [bar(f"dag_{n:03}", 1) for n in range(60)] + [bar("zzz", 1, "both: a reason")]
    picture, left_out = gantt(Scene(minutes(0), minutes(60), (), tuple(bars)))
    assert left_out == 21
    assert "zzz" in picture


# What the browser lays out: each part of a picture that has a title, and the text, as the page's own title.
MEASURE = """<script>
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; };
const parts = [...document.querySelectorAll("svg title")].map(t =>
  ({title: t.textContent, box: box(t.parentNode), fill: getComputedStyle(t.parentNode).fill}));
const out = {parts, text: document.body.innerText, width: document.documentElement.scrollWidth};
const pre = document.createElement("pre"); pre.id = "measured"; pre.textContent = JSON.stringify(out);
document.body.append(pre);
</script>"""


@pytest.fixture
def shown(aws: FakeClients, tmp_path: Path) -> dict[str, Any]:
    """What Chromium shows of the page."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on PATH")
    file = tmp_path / "report.html"
    file.write_text(written(aws).replace("</body>", f"{MEASURE}</body>"))
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1200,900",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    match = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stderr
    measured: dict[str, Any] = json.loads(html.unescape(match[1]))
    return measured


def test_a_browser_shows_the_runs_where_they_belong(shown: dict[str, Any]) -> None:
    parts = {part["title"]: part for part in shown["parts"]}
    [switch] = [part for title, part in parts.items() if title.startswith("switch at")]
    executed = parts["chain on blue, due 2026-11-23 10:05:00 UTC: executed, 10:05:00 to 10:09:00"]
    mirror = parts["chain on green, due 2026-11-23 10:05:00 UTC: skipped mirror, 10:05:00 to 10:05:00"]
    failed = parts["chain on blue, due 2026-11-23 10:18:00 UTC: failed, 10:18:00 to 10:20:00"]
    after = parts[f"{ODD} on green, due 2026-11-23 10:50:00 UTC: executed, 10:50:00 to 10:53:00"]
    assert executed["box"][0] < failed["box"][0] < switch["box"][0] < after["box"][0]
    assert executed["box"][1] < mirror["box"][1], "blue's line is the upper one"
    assert executed["box"][2] == pytest.approx(2 * failed["box"][2], rel=0.1), "4 and 2 minutes"
    assert len({each["fill"] for each in (executed, mirror, failed, after)}) == 4
    assert all(part["box"][2] > 0 or "switch" in part["title"] for part in shown["parts"])
    assert shown["width"] <= 1200, "nothing is wider than the page"


def test_a_browser_shows_the_tables(shown: dict[str, Any]) -> None:
    for expected in ("Ownership", "executed by both", "Decisions", "Checks now", "Lineage", "Versions"):
        assert expected in shown["text"]
