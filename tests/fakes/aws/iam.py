"""IAM: inline policies of roles."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.aws.errors import client_error


@dataclass
class FakeIam:
    """`policies`: documents by role and policy name; `refuses`: the caller may neither put nor get them."""

    policies: dict[tuple[str, str], str] = field(default_factory=dict)
    refuses: bool = False

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
