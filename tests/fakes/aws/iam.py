"""IAM: inline policies of roles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.aws.errors import client_error


@dataclass
class FakeIam:
    """`policies`: documents by role and policy name; `refuses`: the caller may neither put nor get them."""

    policies: dict[tuple[str, str], str] = field(default_factory=dict)
    refuses: bool = False
    allows: Callable[[str], bool] | None = None  # an action: what a simulation answers; None: it is refused
    needs: tuple[str, ...] = ()  # keys of a context that a simulation lacks
    simulated: list[dict[str, Any]] = field(default_factory=list)

    def simulate_principal_policy(self, **request: Any) -> dict[str, Any]:
        self.simulated.append(request)
        if self.allows is None:
            raise client_error("AccessDenied", 403, "SimulatePrincipalPolicy")
        if request["PolicySourceArn"].endswith("/unknown"):
            raise client_error("NoSuchEntity", 404, "SimulatePrincipalPolicy")
        decisions = {
            action: "allowed" if self.allows(action) else "implicitDeny" for action in request["ActionNames"]
        }
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": decision,
                    "MissingContextValues": list(self.needs),
                }
                for action, decision in decisions.items()
                for resource in request["ResourceArns"]
            ]
        }

    def put_role_policy(self, *, RoleName: str, PolicyName: str, PolicyDocument: str) -> None:  # noqa: N803
        if self.refuses:
            raise client_error("AccessDenied", 403, "PutRolePolicy")
        self.policies[RoleName, PolicyName] = PolicyDocument

    def delete_role_policy(self, *, RoleName: str, PolicyName: str) -> None:  # noqa: N803
        if self.policies.pop((RoleName, PolicyName), None) is None:
            raise client_error("NoSuchEntity", 404, "DeleteRolePolicy")

    def get_role_policy(self, *, RoleName: str, PolicyName: str) -> dict[str, str]:  # noqa: N803
        if self.refuses:
            raise client_error("AccessDenied", 403, "GetRolePolicy")
        if (RoleName, PolicyName) not in self.policies:
            raise client_error("NoSuchEntity", 404, "GetRolePolicy")
        return {"PolicyDocument": self.policies[RoleName, PolicyName]}
