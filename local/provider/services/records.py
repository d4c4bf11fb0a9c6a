"""Parameters, secrets and log groups in the emulated AWS."""

from __future__ import annotations

import uuid
from typing import Any

from botocore.exceptions import ClientError

from local.provider.services.service import Service, as_provider_error, client, error_code
from local.provider.values import Props, ProviderError

SMALLEST_ADVANCED = 4097  # characters: a Standard parameter holds 4,096


class Parameter:
    """SSM. An existing parameter is an error, as in AWS, unless the program sets `overwrite`."""

    def create(self, inputs: Props) -> tuple[str, Props]:
        version = self._put(inputs, overwrite=bool(inputs.get("overwrite")))
        return inputs["name"], {"version": version}

    def read(self, identifier: str, state: Props) -> Props | None:
        try:
            parameter = client("ssm").get_parameter(Name=identifier, WithDecryption=True)["Parameter"]
        except ClientError as error:
            if error_code(error) == "ParameterNotFound":
                return None
            raise as_provider_error(f"reading the parameter {identifier}", error) from error
        value = "insecureValue" if state.get("insecureValue") is not None else "value"
        return {"type": parameter["Type"], "version": parameter["Version"], value: parameter["Value"]}

    def update(self, _identifier: str, old: Props, new: Props) -> Props:
        if {**old, "tags": None} == {**new, "tags": None}:
            return {}
        return {"version": self._put(new, overwrite=True)}

    def delete(self, identifier: str, _state: Props) -> None:
        try:
            client("ssm").delete_parameter(Name=identifier)
        except ClientError as error:
            if error_code(error) != "ParameterNotFound":
                raise as_provider_error(f"deleting the parameter {identifier}", error) from error

    @staticmethod
    def _put(inputs: Props, *, overwrite: bool) -> int:
        value = inputs.get("value") if inputs.get("value") is not None else inputs.get("insecureValue")
        options: dict[str, Any] = {
            name: inputs[key]
            for key, name in {"description": "Description", "allowedPattern": "AllowedPattern"}.items()
            if inputs.get(key)
        }
        # The emulation accepts any length.
        tier = inputs.get("tier") or "Standard"
        if tier == "Standard" and len(str(value)) >= SMALLEST_ADVANCED:
            raise ProviderError(f"{inputs['name']}: a Standard parameter holds 4096 characters at most")
        try:
            answer = client("ssm").put_parameter(
                Name=inputs["name"], Value=value, Type=inputs["type"], Overwrite=overwrite, **options
            )
        except ClientError as error:
            raise as_provider_error(f"writing the parameter {inputs['name']}", error) from error
        return int(answer["Version"])


class Secret:
    def create(self, inputs: Props) -> tuple[str, Props]:
        given = {"description": "Description", "kmsKeyId": "KmsKeyId"}
        options = {name: inputs[key] for key, name in given.items() if inputs.get(key)}
        try:
            arn = client("secretsmanager").create_secret(Name=inputs["name"], **options)["ARN"]
        except ClientError as error:
            raise as_provider_error(f"creating the secret {inputs['name']}", error) from error
        return arn, {"arn": arn}

    def read(self, identifier: str, _state: Props) -> Props | None:
        try:
            secret = client("secretsmanager").describe_secret(SecretId=identifier)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise as_provider_error(f"reading the secret {identifier}", error) from error
        return None if secret.get("DeletedDate") else {"arn": secret["ARN"]}

    def update(self, identifier: str, _old: Props, new: Props) -> Props:
        client("secretsmanager").update_secret(SecretId=identifier, Description=new.get("description") or "")
        return {}

    def delete(self, identifier: str, state: Props) -> None:
        days = state.get("recoveryWindowInDays", 30)
        how = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        try:
            client("secretsmanager").delete_secret(SecretId=identifier, **how)
        except ClientError as error:
            if error_code(error) not in ("ResourceNotFoundException", "InvalidRequestException"):
                raise as_provider_error(f"deleting the secret {identifier}", error) from error


class SecretVersion:
    def create(self, inputs: Props) -> tuple[str, Props]:
        version = str(uuid.uuid4())
        try:
            client("secretsmanager").put_secret_value(
                SecretId=inputs["secretId"], SecretString=inputs["secretString"], ClientRequestToken=version
            )
        except ClientError as error:
            raise as_provider_error(f"writing a value of the secret {inputs['secretId']}", error) from error
        arn = inputs["secretId"]
        return f"{arn}|{version}", {"arn": arn, "versionId": version, "versionStages": ["AWSCURRENT"]}

    def read(self, _identifier: str, state: Props) -> Props | None:
        try:
            answer = client("secretsmanager").get_secret_value(
                SecretId=state["secretId"], VersionId=state["versionId"]
            )
        except ClientError as error:
            if error_code(error) in ("ResourceNotFoundException", "InvalidRequestException"):
                return None
            raise as_provider_error(f"reading a value of the secret {state['secretId']}", error) from error
        return {"secretString": answer["SecretString"]}

    def update(self, _identifier: str, _old: Props, _new: Props) -> Props:
        return {}

    def delete(self, _identifier: str, _state: Props) -> None:
        """A version is deleted with its secret."""


class LogGroup:
    def create(self, inputs: Props) -> tuple[str, Props]:
        try:
            client("logs").create_log_group(logGroupName=inputs["name"])
        except ClientError as error:
            raise as_provider_error(f"creating the log group {inputs['name']}", error) from error
        self._retain(inputs)
        return inputs["name"], {}

    def read(self, identifier: str, _state: Props) -> Props | None:
        groups = client("logs").describe_log_groups(logGroupNamePrefix=identifier)["logGroups"]
        group = next((g for g in groups if g["logGroupName"] == identifier), None)
        return None if group is None else {"retentionInDays": group.get("retentionInDays", 0)}

    def update(self, _identifier: str, _old: Props, new: Props) -> Props:
        self._retain(new)
        return {}

    def delete(self, identifier: str, _state: Props) -> None:
        try:
            client("logs").delete_log_group(logGroupName=identifier)
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":
                raise as_provider_error(f"deleting the log group {identifier}", error) from error

    @staticmethod
    def _retain(inputs: Props) -> None:
        days = inputs.get("retentionInDays")
        if days:
            client("logs").put_retention_policy(logGroupName=inputs["name"], retentionInDays=days)


SERVICES: dict[str, Service] = {
    "aws:ssm/parameter:Parameter": Parameter(),
    "aws:secretsmanager/secret:Secret": Secret(),
    "aws:secretsmanager/secretVersion:SecretVersion": SecretVersion(),
    "aws:cloudwatch/logGroup:LogGroup": LogGroup(),
}
