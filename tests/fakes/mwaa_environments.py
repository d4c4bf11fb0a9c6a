"""MWAA's API with scripted answers, as the provider plugin uses it."""

from __future__ import annotations

from typing import Any


class MwaaEnvironments:
    """Answers with one environment after the other."""

    def __init__(self, *environments: dict[str, Any]) -> None:
        self.environments = list(environments)
        self.created: list[dict[str, Any]] = []

    def get_environment(self, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        return {"Environment": self.environments.pop(0)}

    def create_environment(self, **arguments: Any) -> None:
        self.created.append(arguments)
