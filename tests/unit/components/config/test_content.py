"""`airflow_options` and `requirements`: what would not reach Airflow, or would defeat us, is refused."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.loaders import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import content
from tests.unit.components.config.test_settings import complaint, parse

HASH = f"--hash=sha256:{'a' * 64}"


def options(**blue: Any) -> dict[str, str]:
    return parse(blue).environment("blue").airflow_options


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("bluegreen.environment", "this program sets it"),
        ("secrets.backend", "this program sets it"),
        ("openlineage.transport", "this program sets it"),
        # what Amazon MWAA sets whatever the customer says
        ("api.secret_key", "Amazon MWAA sets it"),
        ("api_auth.jwt_secret", "Amazon MWAA sets it"),
        ("celery.celery_config_options", "Amazon MWAA sets it"),
        ("celery.worker_enable_remote_control", "Amazon MWAA sets it"),
        ("core.auth_manager", "Amazon MWAA sets it"),
        ("core.execution_api_server_url", "Amazon MWAA sets it"),
        ("core.multi_team", "Amazon MWAA sets it"),
        ("execution_api.jwt_expiration_time", "Amazon MWAA sets it"),
        ("fab.config_file", "Amazon MWAA sets it"),
        ("logging.colored_console_log", "Amazon MWAA sets it"),
        ("metrics.statsd_on", "Amazon MWAA sets it"),
        ("operators.default_queue", "Amazon MWAA sets it"),
        ("scheduler.standalone_dag_processor", "Amazon MWAA sets it"),
        ("triggerer.queues_enabled", "Amazon MWAA sets it"),
        # what would take connections, the gate or lineage away
        ("workers.secrets_backend", "would not load what this program deploys"),
        ("workers.secrets_backend_kwargs", "would not load what this program deploys"),
        ("core.plugins_folder", "would not load what this program deploys"),
        ("openlineage.disabled", "switch lineage off"),
        ("openlineage.selective_enable", "switch lineage off"),
        ("openlineage.emission_policy", "switch lineage off"),
        ("openlineage.config_path", "switch lineage off"),
        ("openlineage.config_conn_id", "switch lineage off"),
        ("openlineage.of_a_later_version", "switch lineage off"),
        # what the API refuses
        ("core.Parallelism", "section.option"),
        ("core.dag-concurrency", "section.option"),
        ("core.x.", "section.option"),
        ("parallelism", "section.option"),
        (".parallelism", "section.option"),
        ("", "section.option"),
        (f"core.{'x' * 60}", "section.option"),
    ],
)
def test_an_option_without_effect_or_with_a_bad_one_is_refused(option: str, reason: str) -> None:
    text = complaint(airflow_options={option: "x"})
    assert reason in text
    assert f"pulumi config rm --path 'airflow_options[\"{option}\"]' -s test" in text


@pytest.mark.parametrize("value", ["", "a\nb", "größe", "x" * 65537])
def test_a_value_that_the_api_refuses_is_refused(value: str) -> None:
    text = complaint(airflow_options={"core.x": value})
    assert "must be printable ASCII on one line, not empty" in text
    assert "pulumi config set --path 'airflow_options[\"core.x\"]' <value> -s test" in text


def test_options_of_one_environment_are_checked_as_well() -> None:
    text = complaint(green={"airflow_options": {"secrets.backend": "x"}})
    assert "pulumi config rm --path 'green.airflow_options[\"secrets.backend\"]' -s test" in text


def test_what_is_harmless_is_taken() -> None:
    harmless = {"core.parallelism": "64", "openlineage.extractors": "a.b", "secrets.use_cache": "True"}
    assert options(airflow_options=harmless) == harmless


def test_the_patterns_are_the_apis_own() -> None:
    shapes = Loader().load_service_model("mwaa", "service-2")["shapes"]
    key, value = shapes["ConfigKey"], shapes["ConfigValue"]
    assert (key["pattern"], key["max"]) == (content.OPTION_KEY, content.LONGEST_KEY)
    assert (value["pattern"], value["max"]) == (content.OPTION_VALUE, content.LONGEST_VALUE)


def test_numbers_and_booleans_are_taken_as_pulumi_stores_them() -> None:
    stored = {"core.parallelism": 64, "core.x": True, "scheduler.y": 0.5, "core.z": "007"}
    assert options(airflow_options=stored) == {
        "core.parallelism": "64",
        "core.x": "true",
        "core.z": "007",
        "scheduler.y": "0.5",
    }
    assert options(blue={"airflow_options": {"core.parallelism": 8}}) == {"core.parallelism": "8"}
    assert parse({"tags": {"cost": 7, "shared": False}}).tags == {"cost": "7", "shared": "false"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        # `pulumi config set --path airflow_options.core.parallelism 64`
        ({"airflow_options": {"core": {"parallelism": 64}}}, 'airflow_options["core"]'),
        ({"airflow_options": {"core.x": ["a"]}}, 'airflow_options["core.x"]'),
        # 1.10 is 1.1 by then
        ({"tags": {"version": 1.1}}, 'tags["version"]'),
    ],
)
def test_a_value_of_another_type_is_named_alone(changes: dict[str, Any], key: str) -> None:
    text = complaint(**changes)
    assert f"\n  {key} {'(value not shown)' if 'options' in key else '= '}" in text
    assert f"pulumi config rm --path '{key}' -s test" in text


@pytest.mark.parametrize(
    "line",
    [
        "pandas==2.3.3",
        "pandas >=1,<3 ; python_version > '3'  # why",
        "name @ https://example.com/name-1.0.tar.gz",
        "--constraint https://example.com/constraints.txt",
        "--extra-index-url https://example.com/simple",
        "# -c nothing",
    ],
)
def test_lines_that_pip_takes_are_taken(line: str) -> None:
    assert parse({"requirements": [line]}).requirements == (line,)


@pytest.mark.parametrize(
    "name",
    [
        "openlineage-python",
        "OpenLineage_Python",
        "openlineage.python",
        "openlineage--python[x]",
        "apache_airflow",
    ],
)
@pytest.mark.parametrize("form", ["{}==1.0", " {} ", "{} @ https://example.com/x-1.0-py3-none-any.whl"])
def test_what_we_pin_is_refused_in_each_spelling(name: str, form: str) -> None:
    assert "must be removed: this program names it" in complaint(requirements=[form.format(name)])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("https://example.com/openlineage_python-1.0-py3-none-any.whl", "this program names it"),
        ("-e git+https://example.com/fork#egg=openlineage-python", "this program names it"),
        ("https://example.com/fork-1.0.tar.gz", "name @ URL"),
        (f"pandas==2.3.3 {HASH}", "demand hashes of OpenLineage"),
        ("--require-hashes", "demand hashes of OpenLineage"),
        ("--require-h", "demand hashes of OpenLineage"),
        ("-r dags/more.txt", "cannot check what the file holds"),
        ("pandas=2.3.3", "pip can read (Invalid requirement"),
        ("--unheard-of", "pip can read (no such option"),
        ("pandas\npolars", "a single line"),
        ("pandas\\", "a single line"),
        (" ", "a single line"),
    ],
)
def test_a_line_that_breaks_the_installation_or_our_packages_is_refused(line: str, reason: str) -> None:
    text = complaint(requirements=["boto3", line])
    assert "\n  requirements[1] = " in text
    assert reason in text


def test_lines_are_removed_from_the_end_so_that_each_command_finds_its_line() -> None:
    text = complaint(requirements=["apache-airflow", "pandas", "openlineage-python"])
    assert text.index("rm --path 'requirements[2]'") < text.index("rm --path 'requirements[0]'")


@settings(deadline=None)  # the first line imports pip
@given(st.lists(st.sampled_from([*"abzAZ019._- =<>;[]@#/:\\\"'\n\t$!é"]), max_size=30).map("".join))
def test_any_line_gets_an_answer(line: str) -> None:
    reason = content.refusal_of_requirement(line)
    assert reason is None or reason
