"""All twelve ways from one mode to another, in place: no Airflow environment that stays is touched."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.engine.deployment import ENVIRONMENT, MODES, LocalCloud, Project

# A round trip over all ordered pairs, so that each transition begins where the one before ended.
ROUND = ["standard", "bluegreen", "standard", "hamarquez", "standard", "fullha", "bluegreen"]
ROUND += ["hamarquez", "bluegreen", "fullha", "hamarquez", "fullha", "standard"]
TRANSITIONS = list(pairwise(ROUND))


@pytest.fixture(scope="module")
def project(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project.of_checkout(cloud, tmp_path_factory.mktemp("transitions"), "moving")
    project.set(**{"aws:region": "us-east-1"})
    yield project
    assert project.destroy().ok


def test_the_round_has_every_transition_once() -> None:
    assert len(set(TRANSITIONS)) == len(TRANSITIONS) == len(MODES) * (len(MODES) - 1)


@pytest.mark.parametrize(("before", "after"), TRANSITIONS)
def test_a_transition_touches_no_environment_that_stays(project: Project, before: str, after: str) -> None:
    if not project.resources() or project.outputs()["mode"] != before:
        project.enter(before)
    old = project.outputs()
    mwaa = project.cloud.client("mwaa")
    environments = old["airflow_environments"]
    was = {name: mwaa.get_environment(Name=e["name"])["Environment"] for name, e in environments.items()}

    result = project.enter(after)

    new = project.outputs()
    assert new["mode"] == after
    staying = environments.keys() & new["airflow_environments"].keys()
    assert "blue" in staying
    changes = [(op, name) for op, kind, name in result.changes if kind == ENVIRONMENT]
    assert not [change for change in changes if change[1].removeprefix("mwaa-") in staying]
    come_or_gone = environments.keys() ^ new["airflow_environments"].keys()
    assert {name.removeprefix("mwaa-") for _, name in changes} == come_or_gone
    for name in staying:
        assert new["airflow_environments"][name] == environments[name]
        assert mwaa.get_environment(Name=environments[name]["name"])["Environment"] == was[name]
    assert new["lineage_url"] == old["lineage_url"]
    assert new["private_subnet_ids"] == old["private_subnet_ids"]
    assert new["lineage_log_bucket"] == old["lineage_log_bucket"]
