"""The rules within the IAM policy documents that the settings add to the roles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.config.rules import Problem

DOCUMENTS = ("execution_policy", "marquez_policy", "snapshot_policy")
VERSIONS = ("2012-10-17", "2008-10-17")
# IAM allows all inline policies of a role 10,240 characters without blanks; the program's own take the rest.
LONGEST = 5120
SHOWN = 40
ELEMENTS = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")


def policy_rules(known: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems within the documents; `known` as in `environment_rules`."""
    for key in DOCUMENTS:
        text = known.get(key)
        if text is not None and (allowed := refusal(text)):
            yield Problem(key, text if len(text) <= SHOWN else f"{text[:SHOWN]}...", allowed)


def refusal(text: str) -> str | None:
    """What a document must be instead ("must be ..."), None if IAM takes it as a policy of a role."""
    try:
        document = json.loads(text)
    except ValueError as error:
        return f"an IAM policy document as JSON ({error})"
    if not isinstance(document, dict) or document.keys() - {"Version", "Id", "Statement"}:
        return "an object with Version and Statement"
    if document.get("Version") not in VERSIONS:
        return f'a document with "Version": "{VERSIONS[0]}"'
    if len(re.sub(r"\s", "", text)) > LONGEST:
        return f"{LONGEST} characters or fewer without blanks: attach a longer one by its ARN"
    statements = document.get("Statement")
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        return "a document with one Statement or more"
    for number, each in enumerate(statements, 1):
        if wrong := _wrong(each):
            return f"a document whose statement {number} has {wrong}"
    ids = [each["Sid"] for each in statements if "Sid" in each]
    return "a document whose statements differ in their Sid" if len(set(ids)) < len(ids) else None


def _wrong(statement: Any) -> str | None:
    """What a statement lacks, or has too much."""
    if not isinstance(statement, dict):
        return "Effect, Action and Resource"
    if statement.keys() & {"Principal", "NotPrincipal"}:
        return "no Principal: the role itself is it"
    if unknown := sorted(statement.keys() - set(ELEMENTS)):
        return f"no {unknown[0]}"
    if statement.get("Effect") not in ("Allow", "Deny"):
        return "Effect Allow or Deny"
    for element in ("Action", "Resource"):
        given = [key for key in (element, f"Not{element}") if key in statement]
        if len(given) != 1 or not _texts(statement[given[0]]):
            return f"either {element} or Not{element}, with texts"
    if not re.fullmatch("[A-Za-z0-9]*", str(statement.get("Sid", ""))):
        return "a Sid of letters and digits only"
    return None if isinstance(statement.get("Condition", {}), dict) else "an object as Condition"


def _texts(value: Any) -> bool:
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return bool(values) and all(isinstance(each, str) and each for each in values)
