"""Creating Airflow environments through MWAA's API."""

from __future__ import annotations

from typing import Any

import pytest

from local.provider.services import mwaa
from local.provider.values import ProviderError


class ScriptedMwaa:
    """Answers with one environment after the other."""

    def __init__(self, *environments: dict[str, Any]) -> None:
        self.environments = list(environments)
        self.created: list[dict[str, Any]] = []
        self.updated: list[dict[str, Any]] = []

    def get_environment(self, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        return {"Environment": self.environments.pop(0)}

    def create_environment(self, **arguments: Any) -> None:
        self.created.append(arguments)

    def update_environment(self, **arguments: Any) -> None:
        self.updated.append(arguments)


NETWORK = {"subnetIds": ["a", "b"], "securityGroupIds": ["c"]}


def environment(status: str, **more: Any) -> dict[str, Any]:
    return {"Name": "blue", "Arn": "arn", "Status": status, **more}


def test_a_failed_creation_is_reported_with_mwaas_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = {"Error": {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": "no such subnet"}}
    api = ScriptedMwaa(
        environment("DELETED"), environment("CREATING"), environment("CREATE_FAILED", LastUpdate=reason)
    )
    monkeypatch.setattr(mwaa, "client", lambda _: api)
    monkeypatch.setattr(mwaa, "EVERY_SECONDS", 0)
    with pytest.raises(ProviderError, match="CREATE_FAILED: INCORRECT_CONFIGURATION no such subnet"):
        mwaa.Environment().create({"name": "blue", "networkConfiguration": NETWORK})
    assert len(api.created) == 1


def test_an_environment_left_by_an_interrupted_run_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"NetworkConfiguration": {"SubnetIds": ["a", "b"], "SecurityGroupIds": ["c"]}}
    api = ScriptedMwaa(environment("CREATING", **same), environment("AVAILABLE", **same))
    monkeypatch.setattr(mwaa, "client", lambda _: api)
    name, outputs = mwaa.Environment().create({"name": "blue", "networkConfiguration": NETWORK})
    assert (name, outputs["status"]) == ("blue", "AVAILABLE")
    assert api.created == []


@pytest.mark.parametrize(
    ("last", "wanted", "sent"),
    [
        (None, "GRACEFUL", "GRACEFUL"),
        ("FORCED", "GRACEFUL", "GRACEFUL"),
        ("GRACEFUL", "GRACEFUL", None),
        ("GRACEFUL", "FORCED", "FORCED"),
        ("GRACEFUL", None, None),
    ],
)
def test_the_way_of_replacing_workers_is_sent_if_the_last_update_had_another(
    monkeypatch: pytest.MonkeyPatch, last: str | None, wanted: str | None, sent: str | None
) -> None:
    update = {"LastUpdate": {"WorkerReplacementStrategy": last} if last else {}}
    api = ScriptedMwaa(environment("AVAILABLE", **update), environment("AVAILABLE", **update))
    monkeypatch.setattr(mwaa, "client", lambda _: api)
    old, new = {"maxWorkers": 2}, {"maxWorkers": 3, "workerReplacementStrategy": wanted}
    outputs = mwaa.Environment().update("blue", old, new)
    assert outputs["workerReplacementStrategy"] == (last or "")
    assert [request.get("WorkerReplacementStrategy") for request in api.updated] == [sent]
