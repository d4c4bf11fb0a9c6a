"""Amazon MWAA: its environments, and InvokeRestApi on what stands for their Airflows."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from bluegreen.proof import PROBE

from tests.fakes.airflow.model import AirflowModel
from tests.fakes.airflow.probe import FakeProbe
from tests.fakes.aws.errors import client_error
from tests.fakes.clock import START

# What a healthy Airflow answers, by path.
AIRFLOW: dict[str, Any] = {
    "/dags": {
        "dags": [{"dag_id": "daily", "is_paused": False}, {"dag_id": "hourly", "is_paused": True}],
        "total_entries": 2,
    },
    "/importErrors": {"import_errors": [], "total_entries": 0},
    "/dags/~/dagRuns": {"dag_runs": [], "total_entries": 0},
    "POST /dags/~/dagRuns/list": {"dag_runs": [], "total_entries": 0},
    "POST /dags/~/dagRuns/~/taskInstances/list": {"task_instances": [], "total_entries": 0},
    "/pools": {"pools": [{"name": "default_pool", "slots": 128}], "total_entries": 1},
    "/variables": {"variables": [], "total_entries": 0},
    "/connections": {"connections": [], "total_entries": 0},
    "/assets": {"assets": [], "total_entries": 0},
    "/providers": {
        "providers": [{"package_name": "apache-airflow-providers-openlineage", "version": "2.6.1"}],
        "total_entries": 1,
    },
}

HOST, TOKEN = "1a2b.c2.us-east-1.airflow.amazonaws.com", "the-token"
NO_PROBE = FakeProbe(now=lambda: START, shows=lambda due: "skipped", there=False)
BY_MODELS = ("/dags", "/assets")  # paths


@dataclass
class FakeMwaa:
    """Environments by name; their Airflows are answers by path in `airflow`, or models in `models`.

    A model answers what is below /dags and /assets, and everything where there are no other answers. Paths of
    GET stand alone, others after their method ("POST /dags/~/dagRuns/list"). An answer may be an exception or
    a function of the query or body. A probe answers for its DAG alone, unless the model has that DAG.
    """

    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    airflow: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: Mapping[str, AirflowModel] = field(default_factory=dict)
    probes: dict[str, FakeProbe] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # the names of other stacks' environments

    def get_environment(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if Name not in self.environments:
            raise client_error("ResourceNotFoundException", 404, "GetEnvironment")
        return {"Environment": deepcopy(self.environments[Name])}

    def create_web_login_token(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        return {"WebToken": TOKEN, "WebServerHostname": self.environments[Name].get("WebserverUrl", HOST)}

    def create_cli_token(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        return {"CliToken": TOKEN, "WebServerHostname": self.environments[Name].get("WebserverUrl", HOST)}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_environments"
        names = [*self.environments, *self.others]
        return SimpleNamespace(paginate=lambda: [{"Environments": names[:1]}, {"Environments": names[1:]}])

    def invoke_rest_api(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        name, method, path = request["Name"], request["Method"], request["Path"]
        query, body = request.get("QueryParameters", {}), request.get("Body", {})
        if (of_probe := self._of_probe(name, method, path, query, body)) is not None:
            answer = of_probe
        elif name in self.models and (path.startswith(BY_MODELS) or name not in self.airflow):
            answer = self.models[name].call(method, path, query, body)
        else:
            answer = self._answer(self.airflow[name], method, path)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(body if "Body" in request else query)
        return {"RestApiStatusCode": 200, "RestApiResponse": answer}

    def _of_probe(self, name: str, method: str, path: str, *content: dict[str, Any]) -> Any:
        if name in self.models and PROBE in self.models[name].dags:
            return None
        answer = self.probes.get(name, NO_PROBE).answer(method, path, *content)
        if answer is None:
            return None
        if name in self.models:
            self.models[name].before(method, path)
            return answer
        silent = self.airflow[name].get("/dags")
        return silent if isinstance(silent, Exception) else answer

    def silence(self, name: str) -> None:
        """Let that environment's Airflow stop answering."""
        error = client_error("InternalServerException", 500)
        self.airflow[name] = dict.fromkeys(self.airflow[name], error)

    def _answer(self, answers: dict[str, Any], method: str, path: str) -> Any:
        if method == "GET" and path.endswith("/tasks") and "/dags" in answers:
            answers = {path: {"tasks": []}} | answers  # a DAG of nothing special
        return answers[path if method == "GET" else f"{method} {path}"]
