"""IAM roles in the emulated AWS, so that what `mwaactl failover --fence` does to one can be seen.

The policies that the program gives them are only recorded: nothing here is denied by them.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from local.provider.services import Service, client, error_code, said
from local.provider.values import Props


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
            raise said(f"creating the role {name}", error) from error
        return name, {}

    def read(self, identifier: str, _state: Props) -> Props | None:
        try:
            client("iam").get_role(RoleName=identifier)
        except ClientError as error:
            if error_code(error) in ("NoSuchEntity", "NoSuchEntityException"):
                return None
            raise said(f"reading the role {identifier}", error) from error
        return {}

    def update(self, _identifier: str, _old: Props, _new: Props) -> Props:
        return {}

    def delete(self, identifier: str, state: Props) -> None:
        iam = client("iam")
        try:
            strangers = iam.list_role_policies(RoleName=identifier)["PolicyNames"]
            if strangers and not state.get("forceDetachPolicies"):
                # as AWS says it; the emulation deletes a role with whatever it has
                why = f"DeleteConflict: Cannot delete entity, must delete policies first: {strangers}"
                raise said(f"deleting the role {identifier}", ValueError(why))
            for policy in strangers:
                iam.delete_role_policy(RoleName=identifier, PolicyName=policy)
            iam.delete_role(RoleName=identifier)
        except ClientError as error:
            if error_code(error) not in ("NoSuchEntity", "NoSuchEntityException"):
                raise said(f"deleting the role {identifier}", error) from error


SERVICES: dict[str, Service] = {"aws:iam/role:Role": Role()}
