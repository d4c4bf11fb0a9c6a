"""The setting `lineage`: what a stack makes without Marquez, and without lineage."""

from __future__ import annotations

import json
import re

import pytest

from components.config.settings import SettingsError
from tests.fakes.pulumi_mocks import Deployment, deploy, plain

OF_MARQUEZ = ("Instance", "Volume", "Zone", "InstanceProfile", "Secret", "Plan", "LoadBalancer", "Cluster")


@pytest.fixture(scope="module")
def log() -> Deployment:
    return deploy("bluegreen", {"lineage": "log", "nightly_audit": True})


@pytest.fixture(scope="module")
def none() -> Deployment:
    return deploy("bluegreen", {"lineage": "none", "nightly_audit": True})


def options(deployment: Deployment) -> dict[str, str]:
    inputs = deployment.resource("Environment", "mwaa-blue").inputs
    found: dict[str, str] = plain(inputs["airflowConfigurationOptions"])
    return found


def texts(deployment: Deployment) -> str:
    """All that is registered, but for names that both have."""
    return json.dumps([each.inputs for each in deployment.resources], default=str)


def test_neither_makes_anything_of_marquez(log: Deployment, none: Deployment) -> None:
    for deployment in (log, none):
        assert deployment.of_type("Marquez", *OF_MARQUEZ) == []
        assert not [each.urn for each in deployment.resources if "marquez" in each.urn.lower()]
        for output in ("lineage_url", "lineage_open_command", "lineage_backend", "aurora_version"):
            assert deployment.exports[output] == ""


def test_the_log_alone_is_written_to_as_it_is_with_marquez(log: Deployment) -> None:
    assert options(log) == options(deploy("bluegreen", {"nightly_audit": True}))
    assert log.of_type("LostLineage")
    assert "Lineage: events" in texts(log)


def test_without_lineage_airflow_emits_none_and_nothing_waits_for_it(none: Deployment) -> None:
    openlineage = {key: value for key, value in options(none).items() if key.startswith("openlineage.")}
    assert openlineage == {"openlineage.disabled": "True"}
    assert none.of_type("LostLineage") == []
    assert "Lineage: " not in json.dumps(none.resource("Dashboard", "monitoring").inputs)


def test_the_bucket_stays_for_what_is_no_lineage(none: Deployment) -> None:
    """The ownership's objects, pushes and the nightly audit lie in it as well."""
    assert options(none)["bluegreen.bucket"] == none.exports["lineage_log_bucket"]
    assert none.resource("Bucket", "lineage-log")
    assert [each.inputs["key"] for each in none.of_type("BucketObjectv2") if "deploy/" in each.inputs["key"]]


@pytest.mark.parametrize("lineage", ["log", "none"])
def test_what_needs_marquezs_nodes_contradicts_having_none(lineage: str) -> None:
    with pytest.raises(SettingsError, match="lineage_intake.*no nodes that run it"):
        deploy("bluegreen", {"lineage": lineage, "lineage_intake": True})
    with pytest.raises(SettingsError, match="enable_ha_marquez = True: must be false") as refusal:
        deploy("fullha", {"lineage": lineage})
    assert re.search("pulumi config rm enable_ha_marquez -s fullha", str(refusal.value))
