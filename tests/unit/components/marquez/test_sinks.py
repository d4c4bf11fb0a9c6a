"""How a node comes to the forwarders of its further sinks."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest

from components.config.sinks import Sink
from components.marquez.forwarder_archive import UNIT, forwarder_archive
from components.marquez.userdata import BOOT
from forwarder.__main__ import _parser

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:catalog-AbCdEf"
SINKS = (
    Sink(name="catalog", url="https://catalog.example.com/lineage", header="X-Key", header_arn=SECRET),
    Sink(name="open", url="https://open.example.com"),
    Sink(name="zone", datazone_domain="dzd_4kq9"),
)


def test_the_archive_has_the_sinks_and_another_name_with_others() -> None:
    archive = forwarder_archive(SINKS)
    assert archive.name != forwarder_archive().name
    assert archive.name != forwarder_archive(SINKS[1:]).name
    with zipfile.ZipFile(archive) as content:
        names = {name for name in content.namelist() if name.startswith("sinks/")}
    assert names == {"sinks/catalog.env", "sinks/open.env", "sinks/zone.env", "sinks/lineage-sink@.service"}
    with zipfile.ZipFile(forwarder_archive()) as content:
        assert not [name for name in content.namelist() if name.startswith("sinks/")]
        assert {f"botocore/data/{each}" for each in ("datazone", "secretsmanager")} <= {
            name.rsplit("/", 2)[0] for name in content.namelist()
        }


@pytest.mark.parametrize("sinks", [(), SINKS])
def test_a_node_starts_a_service_for_each_sink_of_its_archive(
    sinks: tuple[Sink, ...], tmp_path: Path
) -> None:
    with zipfile.ZipFile(forwarder_archive(sinks)) as content:
        content.extractall(tmp_path / "opt", [n for n in content.namelist() if n.startswith("sinks/")])
    (function,) = re.findall(r"^sinks\(\) .*?^}$", (BOOT / "node.sh").read_text(), re.M | re.S)
    script = function.replace("/opt/forwarder/app", str(tmp_path / "opt"))
    script = script.replace("/etc/systemd/system/", str(tmp_path))
    script = f'set -euo pipefail\n{script}\nprintf "%s\\n" lineage-forwarder $(sinks)'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split() == ["lineage-forwarder", *(f"lineage-sink@{sink.name}" for sink in sinks)]
    assert (tmp_path / UNIT.name).exists() == bool(sinks)


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.name)
def test_the_service_runs_a_command_that_the_forwarder_takes(sink: Sink) -> None:
    unit = UNIT.read_text().replace("\\\n", " ")
    [line] = re.findall(r"^ExecStart=\S+ -m forwarder (.*)$", unit, re.M)
    with zipfile.ZipFile(forwarder_archive(SINKS)) as content:
        _, _, value = content.read(f"sinks/{sink.name}.env").decode().strip().partition("=")
    [options] = shlex.split(value)
    taken = _parser().parse_args(line.replace("%i", sink.name).replace("$OPTIONS", options).split())
    assert taken.sink == sink.name
    assert (taken.to or "", taken.datazone or "") == (sink.url, sink.datazone_domain)
    if sink.header_arn:
        assert (taken.header, taken.secret) == (sink.header, sink.header_arn)
