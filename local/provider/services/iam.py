"""IAM roles in the emulated AWS, so that the effect of `mwaactl failover --fence` can be seen.

The policies that the program gives them are only recorded: they deny nothing here.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from local.provider.services.service import Service, as_provider_error, client, error_code
from local.provider.values import Props, ProviderError


class Role:
    def create(self, inputs: Props) -> tuple[str, Props]:
        name = inputs["name"]
        try:
            client("iam").create_role(
                RoleName=name,
                AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
                Description=inputs.get("description") or "",
            )
        except ClientError as error:
            raise as_provider_error(f"creating the role {name}", error) from error
        return name, {}

    def read(self, identifier: str, _state: Props) -> Props | None:
        try:
            client("iam").get_role(RoleName=identifier)
        except ClientError as error:
            if error_code(error) in ("NoSuchEntity", "NoSuchEntityException"):
                return None
            raise as_provider_error(f"reading the role {identifier}", error) from error
        return {}

    def update(self, _identifier: str, _old: Props, _new: Props) -> Props:
        return {}

    def delete(self, identifier: str, state: Props) -> None:
        iam = client("iam")
        try:
            policies = iam.list_role_policies(RoleName=identifier)["PolicyNames"]
            if policies and not state.get("forceDetachPolicies"):
                # AWS's message; the emulation would delete the role with its policies.
                reason = f"DeleteConflict: Cannot delete entity, must delete policies first: {policies}"
                raise ProviderError(f"deleting the role {identifier}: {reason}")
            for policy in policies:
                iam.delete_role_policy(RoleName=identifier, PolicyName=policy)
            iam.delete_role(RoleName=identifier)
        except ClientError as error:
            if error_code(error) not in ("NoSuchEntity", "NoSuchEntityException"):
                raise as_provider_error(f"deleting the role {identifier}", error) from error


SERVICES: dict[str, Service] = {"aws:iam/role:Role": Role()}
