"""Roles and keys with their policies in the emulated AWS, which judges by them (`local.aws.door`).

Amazon's own policies that are attached are only recorded.
"""

from __future__ import annotations

import json

from botocore.exceptions import ClientError

from local.provider.services.service import Service, as_provider_error, client, error_code
from local.provider.values import Props, ProviderError

BOUNDARY = "permissionsBoundary"
LONGEST = 10_240  # characters of a role's inline policies, without whitespace


def _is_gone(error: ClientError) -> bool:
    return error_code(error) in ("NoSuchEntity", "NoSuchEntityException")


class Role:
    def create(self, inputs: Props) -> tuple[str, Props]:
        name = inputs["name"]
        try:
            client("iam").create_role(
                RoleName=name,
                AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
                Description=inputs.get("description") or "",
                Path=inputs.get("path") or "/",
                **({"PermissionsBoundary": inputs[BOUNDARY]} if inputs.get(BOUNDARY) else {}),
            )
        except ClientError as error:
            raise as_provider_error(f"creating the role {name}", error) from error
        return name, {}

    def read(self, identifier: str, _state: Props) -> Props | None:
        try:
            client("iam").get_role(RoleName=identifier)
        except ClientError as error:
            if _is_gone(error):
                return None
            raise as_provider_error(f"reading the role {identifier}", error) from error
        return {}

    def update(self, identifier: str, old: Props, new: Props) -> Props:
        iam, boundary = client("iam"), new.get(BOUNDARY)
        if old["assumeRolePolicy"] != new["assumeRolePolicy"]:
            iam.update_assume_role_policy(RoleName=identifier, PolicyDocument=new["assumeRolePolicy"])
        if boundary:
            iam.put_role_permissions_boundary(RoleName=identifier, PermissionsBoundary=boundary)
        elif old.get(BOUNDARY):
            iam.delete_role_permissions_boundary(RoleName=identifier)
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
            if not _is_gone(error):
                raise as_provider_error(f"deleting the role {identifier}", error) from error


class RolePolicy:
    """A policy inside a role."""

    def create(self, inputs: Props) -> tuple[str, Props]:
        self._put(inputs)
        return f"{inputs['role']}:{inputs['name']}", {}

    def read(self, _identifier: str, state: Props) -> Props | None:
        try:
            answer = client("iam").get_role_policy(RoleName=state["role"], PolicyName=state["name"])
        except ClientError as error:
            if _is_gone(error):
                return None
            raise as_provider_error(f"reading the policy of {state['role']}", error) from error
        document = answer["PolicyDocument"]
        same = document == json.loads(state["policy"])
        return {"policy": state["policy"] if same else json.dumps(document)}

    def update(self, _identifier: str, _old: Props, new: Props) -> Props:
        self._put(new)
        return {}

    def delete(self, _identifier: str, state: Props) -> None:
        try:
            client("iam").delete_role_policy(RoleName=state["role"], PolicyName=state["name"])
        except ClientError as error:
            if not _is_gone(error):
                raise as_provider_error(f"deleting the policy of {state['role']}", error) from error

    @staticmethod
    def _put(inputs: Props) -> None:
        if len("".join(inputs["policy"].split())) > LONGEST:
            raise ProviderError(f"the policy of {inputs['role']} is longer than {LONGEST} characters")
        try:
            client("iam").put_role_policy(
                RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
            )
        except ClientError as error:
            raise as_provider_error(f"putting the policy of {inputs['role']}", error) from error


class Attachment:
    """A managed policy on a role. Those of Amazon's are not all there, so none is asked for."""

    def create(self, inputs: Props) -> tuple[str, Props]:
        role, arn = inputs["role"], inputs["policyArn"]
        if not _is_amazons(arn):
            try:
                client("iam").attach_role_policy(RoleName=role, PolicyArn=arn)
            except ClientError as error:
                raise as_provider_error(f"attaching {arn} to the role {role}", error) from error
        return f"{role}/{arn}", {}

    def read(self, _identifier: str, state: Props) -> Props | None:
        if _is_amazons(state["policyArn"]):
            return {}
        try:
            attached = client("iam").list_attached_role_policies(RoleName=state["role"])["AttachedPolicies"]
        except ClientError as error:
            if _is_gone(error):
                return None
            raise as_provider_error(f"reading the policies of {state['role']}", error) from error
        return {} if any(each["PolicyArn"] == state["policyArn"] for each in attached) else None

    def update(self, _identifier: str, _old: Props, _new: Props) -> Props:
        return {}

    def delete(self, _identifier: str, state: Props) -> None:
        if _is_amazons(state["policyArn"]):
            return
        try:
            client("iam").detach_role_policy(RoleName=state["role"], PolicyArn=state["policyArn"])
        except ClientError as error:
            if not _is_gone(error):
                raise as_provider_error(f"detaching a policy of {state['role']}", error) from error


def _is_amazons(arn: str) -> bool:
    return arn.split(":")[4] == "aws"


class Key:
    """A customer managed key of KMS, with its policy."""

    def create(self, inputs: Props) -> tuple[str, Props]:
        options = {"Policy": inputs["policy"]} if inputs.get("policy") else {}
        try:
            key = client("kms").create_key(Description=inputs.get("description") or "", **options)
        except ClientError as error:
            raise as_provider_error("creating a key of KMS", error) from error
        identifier, arn = key["KeyMetadata"]["KeyId"], key["KeyMetadata"]["Arn"]
        return identifier, {"arn": arn, "keyId": identifier}

    def read(self, identifier: str, _state: Props) -> Props | None:
        try:
            key = client("kms").describe_key(KeyId=identifier)["KeyMetadata"]
        except ClientError as error:
            if error_code(error) == "NotFoundException":
                return None
            raise as_provider_error(f"reading the key {identifier}", error) from error
        return None if key["KeyState"] == "PendingDeletion" else {}

    def update(self, identifier: str, _old: Props, new: Props) -> Props:
        if new.get("policy"):
            client("kms").put_key_policy(KeyId=identifier, PolicyName="default", Policy=new["policy"])
        return {}

    def delete(self, identifier: str, state: Props) -> None:
        days = state.get("deletionWindowInDays") or 30
        try:
            client("kms").schedule_key_deletion(KeyId=identifier, PendingWindowInDays=days)
        except ClientError as error:
            if error_code(error) not in ("NotFoundException", "KMSInvalidStateException"):
                raise as_provider_error(f"deleting the key {identifier}", error) from error


SERVICES: dict[str, Service] = {
    "aws:iam/role:Role": Role(),
    "aws:iam/rolePolicy:RolePolicy": RolePolicy(),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Attachment(),
    "aws:kms/key:Key": Key(),
}
