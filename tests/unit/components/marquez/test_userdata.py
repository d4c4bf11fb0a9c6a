"""The boot scripts: pure, small enough, and right as far as shellcheck and YAML can tell."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.marquez.images import Images
from components.marquez.userdata import BOOT, PROGRAMS, Ec2Boot, HaBoot, ec2_user_data, ha_user_data

USER_DATA_LIMIT = 16384  # bytes, EC2's
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
NODE: dict[str, Any] = {
    "region": "eu-west-1",
    "images": Images(marquez="r.example/marquez:1", web="r.example/web:1", postgres="r.example/postgres:16"),
    "database_secret_arn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:login-AbCdEf",
    "lineage_bucket": "lineage-log-1234567",
    "forwarder_key": "deploy/forwarder-0123456789abcdef.zip",
    "forwarder_checkpoint": "forwarder/vol-0123456789abcdef0.json",
    "retention_days": 90,
    "intake": False,
}
EC2 = Ec2Boot(**NODE, data_volume_id="vol-0123456789abcdef0")
HA = HaBoot(
    **{**NODE, "intake": True},
    database_host="db.cluster.example",
    group_name="deployment-marquez",
    authorities_key="",
)
SCRIPTS: dict[str, Callable[[], str]] = {"ec2": lambda: ec2_user_data(EC2), "ha": lambda: ha_user_data(HA)}


def shellcheck(*files: Path) -> str:
    return subprocess.run(
        [SHELLCHECK, "--shell=bash", *files], capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.parametrize("kind", SCRIPTS)
def test_the_script_is_clean_and_fits_into_user_data(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "boot.sh"
    script.write_text(SCRIPTS[kind]())
    assert shellcheck(script) == ""
    assert script.stat().st_size < USER_DATA_LIMIT


def test_the_programs_on_the_node_are_clean() -> None:
    assert shellcheck(*(BOOT / name for name in PROGRAMS)) == ""


@pytest.mark.parametrize("kind", SCRIPTS)
def test_the_same_arguments_give_the_same_script(kind: str) -> None:
    assert SCRIPTS[kind]() == SCRIPTS[kind]()


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(Ec2Boot) if f.name not in ("images", "intake")]
)
def test_every_argument_reaches_the_script(field: str) -> None:
    other: Any = {field: "another-value"}
    assert "another-value" in ec2_user_data(dataclasses.replace(EC2, **other))


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Images)])
def test_every_image_reaches_the_script(field: str) -> None:
    other: Any = {field: "another.example/image:2"}
    images = dataclasses.replace(NODE["images"], **other)
    assert "another.example/image:2" in ec2_user_data(dataclasses.replace(EC2, images=images))


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_node_fetches_from_amazon_and_from_the_registries_of_its_images_only(kind: str) -> None:
    """In these scripts, whatever is fetched is fetched by one of these commands, or has a URL."""
    script = SCRIPTS[kind]()
    assert not re.search(r"\b(pip|npm|git|wget|yum|apt|apt-get|curl .*\| *bash)\b", script)
    urls = set(re.findall(r"https?://([a-z0-9.-]+)", script))
    assert urls <= {"127.0.0.1", "169.254.169.254", "truststore.pki.rds.amazonaws.com"}
    # Amazon Linux's own repositories, which lie in Amazon S3.
    assert re.findall(r"dnf install --assumeyes (.*)", script) == ["docker python3.12 unzip"]
    references = re.findall(r"^(\w+)_IMAGE=(\S+)$", script, re.M)
    assert {reference.partition("/")[0] for _, reference in references} == {"r.example"}
    assert re.findall(r"docker pull (.*?) \|\||docker pull (.*?); }", script) == [("", '--quiet "$1"')]


def test_a_value_cannot_leave_its_quotes() -> None:
    hostile = dataclasses.replace(EC2, lineage_bucket="x'; touch /tmp/escaped; '")
    (line,) = re.findall(r"^LINEAGE_BUCKET=.*$", ec2_user_data(hostile), re.M)
    shown = subprocess.run(
        ["bash", "-c", f'{line}\nprintf %s "$LINEAGE_BUCKET"'], capture_output=True, text=True, check=True
    ).stdout
    assert shown == "x'; touch /tmp/escaped; '"


@pytest.mark.parametrize("kind", SCRIPTS)
def test_every_service_that_is_started_is_laid_down(kind: str) -> None:
    script = SCRIPTS[kind]()
    (lineage,) = re.findall(r"^LINEAGE_SERVICES=(.*)$", script, re.M)
    lines = " ".join(re.findall(r"^start_services (.*)$", script, re.M)).replace("$(sinks)", "")
    started = lines.replace("$LINEAGE_SERVICES", shlex.split(lineage)[0]).split()
    assert ("lineage-intake" in started) is (kind == "ha"), "as this test asks for it"
    for service in started:
        assert f"cat >/etc/systemd/system/{service}.service <<" in script


@pytest.mark.parametrize("kind", SCRIPTS)
def test_no_file_ends_another_ones_text(kind: str) -> None:
    """Each file is laid by a here-document: a line with its end mark would cut it off."""
    script = SCRIPTS[kind]()
    assert script.count("<<'END-OF-FILE'\n") == len(re.findall(r"^END-OF-FILE$", script, re.M))


@pytest.mark.parametrize("kind", SCRIPTS)
def test_every_variable_of_a_service_is_told_to_the_node(kind: str) -> None:
    script = SCRIPTS[kind]()
    defined = set(re.findall(r"^([A-Z_]+)=", script, re.M))
    units = re.findall(r"cat >/etc/systemd/system/[^ ]+ <<'END-OF-FILE'\n(.*?)END-OF-FILE", script, re.S)
    used = {name for unit in units for name in re.findall(r"\$\{([A-Z_]+)\}", unit)}
    passed = {name for unit in units for name in re.findall(r"--env ([A-Z_]+)(?= |$)", unit, re.M)}
    assert used | passed <= defined
    assert used


def test_the_single_node_keeps_the_api_to_itself() -> None:
    assert "API_ADDRESS=127.0.0.1\n" in ec2_user_data(EC2)


def test_connections_to_a_demoted_or_vanished_database_are_given_up() -> None:
    assert "&targetServerType=primary&" in ha_user_data(HA)
    assert "&tcpKeepAlive=true" in ha_user_data(HA)
    settings = re.findall(r"--sysctl net\.ipv4\.(\w+)=(\d+)", (BOOT / "marquez.service").read_text())
    limit = {name: int(value) for name, value in settings}
    assert limit["tcp_retries2"] < 8  # each more doubles the time; 15 is Linux's default
    assert limit["tcp_keepalive_time"] + limit["tcp_keepalive_intvl"] * limit["tcp_keepalive_probes"] <= 30


# marquez.yml


def configuration() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((BOOT / "marquez.yml").read_text())
    return loaded


def test_marquez_notices_a_restarted_database_at_once() -> None:
    database = configuration()["db"]
    assert database["checkConnectionOnBorrow"] is True
    assert database["validationInterval"] == "1s"


def test_marquez_waits_for_a_database_that_is_away_at_its_start() -> None:
    assert configuration()["flyway"]["connectRetries"] > 0


def test_marquez_does_not_look_for_a_search_cluster() -> None:
    assert configuration()["search"]["enabled"] is False


def test_marquez_keeps_lineage_as_long_as_the_log_does() -> None:
    match = re.search(r"^LINEAGE_RETENTION_DAYS=(.*)$", ec2_user_data(EC2), re.M)
    assert match is not None
    assert match[1] == "90"
    assert configuration()["dbRetention"]["retentionDays"].startswith("${LINEAGE_RETENTION_DAYS:-")
    assert "--env LINEAGE_RETENTION_DAYS " in (BOOT / "marquez.service").read_text()


def test_the_ports_are_those_that_the_services_publish() -> None:
    server = configuration()["server"]
    ports = [server[kind][0]["port"] for kind in ("applicationConnectors", "adminConnectors")]
    unit = (BOOT / "marquez.service").read_text()
    assert [f":{port}:{port}" in unit for port in ports] == [True, True]


@pytest.mark.parametrize("password", ["plain", "a: b#c", "{x}", "*&!|>%`", "back\\slash", "[?]", "~-,"])
def test_a_generated_password_is_read_as_it_is(password: str) -> None:
    text = (BOOT / "marquez.yml").read_text().replace("${POSTGRES_PASSWORD}", password)
    assert yaml.safe_load(text)["db"]["password"] == password


def test_only_variables_that_are_set_are_named() -> None:
    """Marquez takes another one for what it says, dollar sign and all."""
    named = set(re.findall(r"\$\{(\w+)", (BOOT / "marquez.yml").read_text()))
    service = (BOOT / "marquez.service").read_text()
    assert named == {"POSTGRES_PASSWORD", *re.findall(r"--env ((?:POSTGRES|LINEAGE)_\w+)", service)}
