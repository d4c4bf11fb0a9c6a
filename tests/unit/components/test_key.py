"""The customer managed key: given or made, it encrypts all of the stack's data."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.loaders import Loader

from components.config.allowed_values import KEY_ARN
from components.config.settings import SettingsError
from tests.fakes.pulumi_mocks import ACCOUNT, MODES, REGION, Deployment, deploy
from tests.unit.components.config.test_settings import complaint, parse
from tests.unit.components.test_iam_policies import KEY, statements

KEY_ID = "12345678-1234-1234-1234-123456789012"
MADE = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/key-id"
# Of every type that this program registers and that can name a key: the argument.
ENCRYPTED = {
    "Cluster": "kmsKeyId",
    "Environment": "kmsKey",
    "LogGroup": "kmsKeyId",
    "Secret": "kmsKeyId",
    "Vault": "kmsKeyArn",
    "Volume": "kmsKeyId",
}


def keys(deployment: Deployment) -> set[Any]:
    """The key of each part that can have one."""
    named = {each.inputs.get(key) for type, key in ENCRYPTED.items() for each in deployment.of_type(type)}
    for each in deployment.of_type("BucketServerSideEncryptionConfiguration"):
        named.add(each.inputs["rules"][0]["applyServerSideEncryptionByDefault"].get("kmsMasterKeyId"))
    return named


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("changes", "arn"), [({"kms_key_arn": KEY}, KEY), ({"create_kms_key": True}, MADE), ({}, None)]
)
def test_one_key_encrypts_everything(mode: str, changes: dict[str, Any], arn: str | None) -> None:
    assert keys(deploy(mode, changes)) == {arn}


@pytest.mark.parametrize("production", [True, False])
def test_a_key_of_the_stacks_own_is_rotated_and_stays_as_long_as_the_data(production: bool) -> None:
    key = deploy("standard", {"create_kms_key": True, "production": production}).resource("Key", "key")
    assert key.inputs["enableKeyRotation"] is True
    assert key.request.retainOnDelete is production


def test_the_policy_of_the_key_lets_iam_decide_and_cloudwatch_encrypt_this_accounts_logs() -> None:
    policy = json.loads(deploy("standard", {"create_kms_key": True}).resource("Key", "key").inputs["policy"])
    iam, logs = policy["Statement"]
    assert (iam["Principal"], iam["Action"]) == ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, ["kms:*"])
    assert logs["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    assert logs["Condition"] == {
        "ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*"}
    }


@pytest.mark.parametrize("changes", [{"kms_key_arn": KEY}, {"create_kms_key": True}])
def test_airflow_uses_the_key_through_queues_buckets_and_secrets_only(changes: dict[str, Any]) -> None:
    own = statements(deploy("standard", changes), "mwaa-blue")
    services = [f"{service}.{REGION}.amazonaws.com" for service in ("sqs", "s3", "secretsmanager")]
    assert own["CustomerKey"]["Condition"] == {"StringLike": {"kms:ViaService": services}}
    assert own["CustomerKey"]["Resource"] == [KEY if "kms_key_arn" in changes else MADE]
    assert "AmazonsKeyOfTheQueues" not in own


def test_one_of_the_two_settings_is_enough() -> None:
    assert "pulumi config rm kms_key_arn -s test" in complaint(kms_key_arn=KEY, create_kms_key=True)


def test_no_key_is_made_where_the_api_would_not_take_its_arn() -> None:
    with pytest.raises(SettingsError, match="pulumi config set create_kms_key"):
        parse({"create_kms_key": True}, region="us-gov-west-1")


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        (KEY, "us-east-1"),
        (f"arn:aws-cn:kms:cn-north-1:{ACCOUNT}:key/{KEY_ID}", "cn-north-1"),
        (f"arn:aws:kms:us-east-1:{ACCOUNT}:key/mrk-{'a' * 32}", "us-east-1"),
        (f"arn:aws-us-gov:kms:us-gov-west-1:{ACCOUNT}:key/{KEY_ID}", "us-gov-west-1"),
        (f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY_ID[:-1]}", "us-east-1"),
        (f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{'-' * 36}", "us-east-1"),
        (f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY_ID}/x", "us-east-1"),
    ],
)
def test_an_arn_of_a_key_is_taken_exactly_if_the_api_of_mwaa_takes_it(arn: str, region: str) -> None:
    api = Loader().load_service_model("mwaa", "service-2")["shapes"]["KmsKey"]["pattern"]
    taken = re.fullmatch(api, arn) is not None
    assert (re.fullmatch(KEY_ARN, arn) is not None) == taken
    if taken:
        assert parse({"kms_key_arn": arn}, region=region).kms_key_arn == arn
    else:
        assert "must be the ARN of a KMS key" in complaint(kms_key_arn=arn)
