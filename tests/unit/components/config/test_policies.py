"""IAM documents in the settings: what IAM takes, and what is said of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.policies import LONGEST, refusal
from tests.unit.components.config.test_settings import complaint, parse

GOOD = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}
ROLE = "arn:aws:iam::123456789012:role/org/airflow"
POLICY = "arn:aws:iam::123456789012:policy/more"


def document(*statements: Any, **elements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **elements})


@pytest.mark.parametrize(
    "text",
    [
        document(GOOD),
        document(Statement=GOOD),
        document(GOOD | {"Sid": "Read1"}, GOOD | {"Effect": "Deny", "Condition": {"Bool": {"x": "true"}}}),
        document({"Effect": "Deny", "NotAction": ["s3:*"], "NotResource": ["a", "b"]}, Id="x"),
    ],
)
def test_what_iam_takes_is_taken(text: str) -> None:
    assert refusal(text) is None
    assert parse({"execution_policy": text}).execution_policy == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "as JSON (Expecting property name"),
        ("[]", "an object with Version and Statement"),
        (document(GOOD, Statements=[]), "an object with Version and Statement"),
        (json.dumps({"Statement": [GOOD]}), '"Version": "2012-10-17"'),
        (document(), "one Statement or more"),
        (document(GOOD, "x"), "statement 2 has Effect, Action and Resource"),
        (document(GOOD | {"Principal": "*"}), "statement 1 has no Principal"),
        (document(GOOD | {"Actions": "x"}), "statement 1 has no Actions"),
        (document(GOOD | {"Effect": "allow"}), "statement 1 has Effect Allow or Deny"),
        (document(GOOD | {"NotAction": "x"}), "either Action or NotAction"),
        (document(GOOD | {"Resource": []}), "either Resource or NotResource"),
        (document(GOOD | {"Resource": [1]}), "either Resource or NotResource"),
        (document(GOOD | {"Sid": "a b"}), "a Sid of letters and digits only"),
        (document(GOOD | {"Condition": []}), "an object as Condition"),
        (document(GOOD | {"Sid": "a"}, GOOD | {"Sid": "a"}), "differ in their Sid"),
        (document(GOOD | {"Resource": "x" * LONGEST}), f"{LONGEST} characters or fewer"),
    ],
)
def test_what_iam_would_refuse_is_named(text: str, said: str) -> None:
    for key in ("execution_policy", "marquez_policy", "snapshot_policy"):
        message = complaint(**{key: text})
        assert said in message
        assert f"pulumi config set {key} <value> -s test" in message
    assert f"green.execution_policy {'= ' + repr(text) if len(text) <= 40 else '='}" in complaint(
        green={"execution_policy": text}
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | (
                st.dictionaries(
                    st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Sid"]), inner
                )
            )
        ),
    )
)
def test_any_json_is_taken_or_refused_and_never_an_exception(value: Any) -> None:
    for text in (json.dumps(value), json.dumps({"Version": "2012-10-17", "Statement": value})):
        assert refusal(text) is None or isinstance(refusal(text), str)


@pytest.mark.parametrize(
    "changes",
    [
        {"iam_path": "data/"},
        {"iam_path": "/data"},
        {"iam_path": ""},
        {"iam_path": f"/{'x' * 512}/"},
        {"permissions_boundary_arn": ROLE},
        {"execution_role_arn": POLICY},
        {"execution_policy_arns": [ROLE]},
        {"execution_policy_arns": [POLICY, POLICY]},
        {"marquez_policy_arns": [f"{POLICY}{number}" for number in range(20)]},
        {"snapshot_policy_arns": "x"},
    ],
)
def test_arns_and_paths_are_iams(changes: dict[str, Any]) -> None:
    (key,) = changes
    assert key in complaint(**changes)


def test_a_role_of_ones_own_has_its_permissions_already() -> None:
    text = complaint(execution_role_arn=ROLE, execution_policy=document(GOOD), execution_policy_arns=[POLICY])
    assert "2 invalid settings" in text
    assert "pulumi config rm execution_policy -s test" in text
    assert "pulumi config rm execution_policy_arns -s test" in text


def test_the_nightly_audit_adds_nothing_to_a_role_of_somebody_else() -> None:
    assert "nightly_audit = True: must be false with execution_role_arn" in complaint(
        nightly_audit=True, execution_role_arn=ROLE
    )
    parse({"nightly_audit": True, "green": {"execution_role_arn": ROLE}})


def test_two_environments_do_not_share_a_role_that_a_fence_would_close() -> None:
    both = {"enable_blue_green": True, "execution_role_arn": ROLE}
    assert "green.execution_role_arn" in complaint(**both)
    assert "another role than blue's" in complaint(**both, green={"max_workers": 9})
    parse({**both, "green": {"execution_role_arn": f"{ROLE}-green"}})
    parse({**both, "green": {"execution_role_arn": ""}})
    parse({**both, "enable_blue_green": False})
