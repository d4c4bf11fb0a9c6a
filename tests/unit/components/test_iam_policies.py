"""IAM documents: every one of the program linted, and who may do what."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.fakes.pulumi_mocks import ACCOUNT, MODES, REGION, ROOT, Deployment, deploy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own: files left open, old escapes, pkg_resources
    import parliament  # type: ignore[import-untyped]

KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012"

EXPORTED = ("mwaa-blue", "mwaa-green")  # what these roles need is an output
# How the row of a role, or of what is added to it, begins in docs/configuration.md.
ROWS = {
    **dict.fromkeys(EXPORTED, "execution role"),
    **dict.fromkeys(("audit-blue", "audit-green"), "the same with `nightly_audit`"),
    "marquez-node": "Marquez nodes",
    "marquez-nodes": "Marquez nodes",
    "marquez-snapshots": "snapshots",
}


def documents(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """Every IAM document as (where, JSON)."""
    for each in deployment.resources:
        for key, value in each.inputs.items():
            if key.lower().endswith("policy") and isinstance(value, str) and value.startswith("{"):
                yield f"{each.urn} {key}", value
    for name, policy in deployment.exports["operator_policies"].items():
        yield f"operator_policies {name}", json.dumps(policy)


@pytest.mark.parametrize(
    "changes",
    [{}, {"kms_key_arn": KEY}, {"create_kms_key": True, "iam_path": "/data/"}],
    ids=["Amazon's key", "customer's key", "the stack's key"],
)
@pytest.mark.parametrize("mode", MODES)
def test_no_document_has_a_finding(mode: str, changes: dict[str, Any]) -> None:
    checked = 0
    for where, text in documents(deploy(mode, changes)):
        # A trust policy has no resource, and in a key's policy `*` is the key. Both have tests of their own.
        if "assumeRolePolicy" not in where and "aws:kms/key:Key" not in where:
            findings = parliament.analyze_policy_string(text).findings
            assert [str(finding) for finding in findings] == [], where
            checked += 1
    assert checked >= 7


def test_the_documentation_tells_what_a_boundary_must_allow_each_role() -> None:
    mirror = {"marquez_image_registry": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mirror"}
    sinks = {
        "catalog": {"datazone_domain": "dzd_4kq9"},
        "open": {
            "url": "https://open.example.com",
            "header_arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:open-AbCdEf",
        },
    }
    everything = {"kms_key_arn": KEY, "nightly_audit": True, "lineage_sinks": sinks, "lineage_intake": True}
    rows: dict[str, set[str]] = {}
    for mode in ("fullha", "hamarquez", "standard"):
        deployment = deploy(mode, {**everything, **mirror})
        assert {each.name for each in deployment.of_type("Role")} <= ROWS.keys()
        for each in deployment.of_type("RolePolicy"):
            if each.name in EXPORTED:
                continue
            used = [
                action for part in json.loads(each.inputs["policy"])["Statement"] for action in part["Action"]
            ]
            rows.setdefault(ROWS[each.name], set()).update(used)
        for each in deployment.of_type("RolePolicyAttachment"):
            name = each.inputs["policyArn"].rpartition("/")[2]
            rows.setdefault(ROWS[each.inputs["role"].rpartition("-")[0]], set()).add(name)
    lines = (ROOT / "docs" / "configuration.md").read_text().split("\nA boundary gives nothing")[1]
    for row, needed in rows.items():
        (line,) = [each for each in lines.splitlines() if each.startswith(f"| {row}")]
        told = set(re.findall(r"`([a-z0-9-]+:[A-Za-z]+|A[A-Za-z]{9,})`", line))
        assert told == needed, row


def test_roles_trust_one_amazon_service_each_and_airflow_its_two(in_each_mode: Deployment) -> None:
    for each in in_each_mode.of_type("Role"):
        (trust,) = json.loads(each.inputs["assumeRolePolicy"])["Statement"]
        assert trust["Action"] == "sts:AssumeRole"
        services = trust["Principal"]["Service"]
        if each.name.startswith("mwaa-"):
            assert services == ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]
        else:
            assert len(services) == 1
            assert services[0].endswith(".amazonaws.com")


def statements(deployment: Deployment, name: str) -> dict[str, dict[str, Any]]:
    policy = json.loads(deployment.resource("RolePolicy", name).inputs["policy"])
    return {each["Sid"]: each for each in policy["Statement"]}


def test_nobody_may_do_everything(in_each_mode: Deployment) -> None:
    for _, text in documents(in_each_mode):
        for each in json.loads(text)["Statement"]:
            if each["Effect"] == "Allow":
                actions = each["Action"] if isinstance(each["Action"], list) else [each["Action"]]
                assert not [action for action in actions if action == "*" or action.endswith(":*")]


def test_airflow_reads_the_timeline_but_cannot_write_it(deployed: Any) -> None:
    own = statements(deployed("fullha"), "mwaa-green")["OwnershipTimeline"]
    assert own["Action"] == ["ssm:GetParameter", "ssm:GetParameterHistory"]
    assert own["Resource"] == [f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/mwaa-openlineage/fullha/ownership"]


def allowed(policy: Iterable[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether any statement allows it, as IAM matches: `*` stands for any text."""
    return any(
        any(fnmatchcase(action.lower(), pattern.lower()) for pattern in each["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in each.get("Resource", ["*"]))
        for each in policy
    )


def test_airflow_writes_events_and_reads_what_the_timeline_points_to_and_no_more(deployed: Any) -> None:
    own = statements(deployed("fullha"), "mwaa-blue").values()
    log = "arn:aws:s3:::lineage-log-1234567"
    may = {
        (action, folder)
        for action in (
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:PutObjectTagging",
            "s3:RestoreObject",
        )
        for folder in ("events", "ownership", "forwarder", "set-aside", "deploy")
        if allowed(own, action, f"{log}/{folder}/x")
    }
    assert may == {("s3:PutObject", "events"), ("s3:GetObject", "ownership")}
    assert not allowed(own, "s3:ListBucket", log)
    assert not allowed(own, "s3:PutLifecycleConfiguration", log)


def test_blue_cannot_touch_greens_bucket_or_logs(deployed: Any) -> None:
    assert "green" not in json.dumps(statements(deployed("fullha"), "mwaa-blue"))


def test_both_sides_read_the_same_secrets(deployed: Any) -> None:
    fullha = deployed("fullha")
    blue, green = (statements(fullha, f"mwaa-{colour}") for colour in ("blue", "green"))
    assert blue["ConnectionsAndVariables"] == green["ConnectionsAndVariables"]
    assert blue["ConnectionsAndVariables"]["Resource"] == [
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:mwaa-openlineage/fullha/{kind}/*"
        for kind in ("connections", "variables")
    ]


def test_without_a_customer_key_no_key_of_this_account_is_opened(deployed: Any) -> None:
    own = statements(deployed("standard"), "mwaa-blue")["AmazonsKeyOfTheQueues"]
    assert own["NotResource"] == [f"arn:aws:kms:*:{ACCOUNT}:key/*"]


def test_the_documents_for_operators_name_everything_of_the_stack(in_each_mode: Deployment) -> None:
    exports = in_each_mode.exports
    tiers = {name: exports["operator_policies"][name] for name in ("read", "switch", "on_call")}
    logins = {f"login_{role}" for role in ("viewer", "user", "op", "admin")}
    assert exports["operator_policies"].keys() == tiers.keys() | logins | {"airflow_cli"}
    cli = exports["operator_policies"]["airflow_cli"]
    for policy in tiers.values():
        for environment in exports["airflow_environments"].values():
            name, bucket = environment["name"], environment["bucket"]
            for each, expected in ((cli, True), (policy, False)):
                allowed_there = allowed(each["Statement"], "airflow:CreateCliToken", environment["arn"])
                assert allowed_there == expected
            assert allowed(policy["Statement"], "airflow:GetEnvironment", environment["arn"])
            assert allowed(policy["Statement"], "iam:GetRolePolicy", environment["execution_role_arn"])
            role = "Viewer" if policy is tiers["read"] else "Op"
            airflow = f"arn:aws:airflow:{REGION}:{ACCOUNT}:role/{name}/{role}"
            assert allowed(policy["Statement"], "airflow:InvokeRestApi", airflow)
            assert allowed(policy["Statement"], "s3:GetObject", f"arn:aws:s3:::{bucket}/dags/x.py")
        key = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{exports['ownership_parameter']}"
        assert allowed(policy["Statement"], "ssm:GetParameter", key)


def test_who_reads_decides_nothing_and_only_who_is_on_call_fences(deployed: Any) -> None:
    exports = deployed("fullha").exports
    log, role = exports["lineage_log_bucket"], exports["airflow_environments"]["blue"]["execution_role_arn"]
    ownership = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{exports['ownership_parameter']}"
    may = {
        name: [
            allowed(policy["Statement"], action, resource)
            for action, resource in (
                ("ssm:PutParameter", ownership),
                ("s3:PutObject", f"arn:aws:s3:::{log}/ownership/x"),
                ("iam:PutRolePolicy", role),
                ("s3:DeleteObject", f"arn:aws:s3:::{log}/set-aside/x"),
                ("s3:PutObject", f"arn:aws:s3:::{log}/events/x"),
                ("s3:DeleteObject", f"arn:aws:s3:::{log}/ownership/x"),
                ("iam:PutRolePolicy", role + "-of-another"),
            )
        ]
        for name, policy in exports["operator_policies"].items()
    }
    nothing = [False] * 3
    assert may == {
        "read": [False] * 4 + nothing,
        "switch": [True, True, False, False, *nothing],
        "on_call": [True] * 4 + nothing,
        "airflow_cli": [False] * 4 + nothing,
        **{f"login_{role}": [False] * 4 + nothing for role in ("viewer", "user", "op", "admin")},
    }


def test_each_role_in_airflow_has_a_document_that_allows_to_log_in_as_it_and_nothing_else(
    deployed: Any,
) -> None:
    exports = deployed("fullha").exports
    names = [each["name"] for each in exports["airflow_environments"].values()]
    for role in ("Viewer", "User", "Op", "Admin"):
        (statement,) = exports["operator_policies"][f"login_{role.lower()}"]["Statement"]
        assert statement["Action"] == ["airflow:CreateWebLoginToken"]
        assert set(statement["Resource"]) == {
            f"arn:aws:airflow:{REGION}:{ACCOUNT}:role/{name}/{role}" for name in names
        }


def test_what_an_execution_role_must_allow_is_exported_as_the_role_has_it(deployed: Any) -> None:
    deployment = deployed("fullha")
    for colour in ("blue", "green"):
        own = json.loads(deployment.resource("RolePolicy", f"mwaa-{colour}").inputs["policy"])
        assert deployment.exports["execution_policies"][colour] == own


def test_operators_use_the_stacks_key_through_s3_only() -> None:
    policies = deploy("fullha", {"kms_key_arn": KEY}).exports["operator_policies"]
    for policy in (policies[name] for name in ("read", "switch", "on_call")):
        (use,) = [each for each in policy["Statement"] if each["Sid"] == "UseKey"]
        assert use["Resource"] == [KEY]
        assert use["Condition"] == {"StringEquals": {"kms:ViaService": [f"s3.{REGION}.amazonaws.com"]}}
