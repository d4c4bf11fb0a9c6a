"""The statements of all roles of a running cloud, and the calls that they allowed (`local/aws/door.py`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.aws import callers, ministack
from local.home import Home
from local.up import role_of_the_nodes

if TYPE_CHECKING:
    from tests.e2e.conftest import FullHaCloud

EXECUTION, NODE, OPERATOR = "execution role", "Marquez node", "operator on call"
Statement = tuple[str, str]  # kind of role, Sid
ROW = re.compile(r"^\| (execution role|Marquez node|operator on call) \| `(\w+)` \| (.+) \|$", re.MULTILINE)


def reasons(guide: str) -> dict[Statement, str]:
    """Why there is a statement that no call uses: the table of the guide."""
    return {(kind, sid): why for kind, sid, why in ROW.findall(guide)}


@dataclass(frozen=True)
class Roles:
    """`kinds`: by the caller's name; `documents`: by kind; `calls`: the record."""

    endpoint: str
    kinds: dict[str, str]
    keys: dict[str, str]
    documents: dict[str, list[dict[str, Any]]]
    calls: list[dict[str, Any]]

    @classmethod
    def of(cls, cloud: FullHaCloud) -> Roles:
        home = Home(cloud.home)
        outputs = json.loads(cloud.pulumi("stack", "output", "--json").stdout)
        state = json.loads(cloud.pulumi("stack", "export").stdout)["deployment"]["resources"]
        environments = outputs["airflow_environments"].values()
        arns = {each["execution_role_arn"]: EXECUTION for each in environments}
        arns |= {role_of_the_nodes(state): NODE}
        names = {arn.rpartition("/")[2]: arn for arn in arns}
        iam = callers.deployer(home, "iam")
        documents = {OPERATOR: list(outputs["operator_policies"]["on_call"]["Statement"])}
        for name, arn in names.items():
            documents[arns[arn]] = [
                each
                for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
                for each in iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"][
                    "Statement"
                ]
            ]
        keys = {name: callers.of_role(home, arn)["AWS_ACCESS_KEY_ID"] for name, arn in names.items()}
        keys[callers.OPERATOR] = callers.of_operator(home)["AWS_ACCESS_KEY_ID"]
        return cls(
            endpoint=ministack.environ(home)["AWS_ENDPOINT_URL"],
            kinds={name: arns[arn] for name, arn in names.items()} | {callers.OPERATOR: OPERATOR},
            keys=keys,
            documents=documents,
            calls=[json.loads(line) for line in home.door_record.read_text().splitlines()],
        )

    def denied(self) -> list[dict[str, Any]]:
        return [call for call in self.calls if not call["allowed"]]

    def unused(self) -> set[Statement]:
        used = {(self.kinds[call["caller"]], call["sid"]) for call in self.calls}
        return {
            (kind, str(each["Sid"])) for kind, document in self.documents.items() for each in document
        } - used

    def not_needed_by_their_calls(self) -> list[Statement]:
        """Statements that allowed calls which the others allow as well."""
        needed = {
            (self.kinds[call["caller"]], call["sid"])
            for call in self._allowed()
            if callers.judge(self.endpoint, self.keys[call["caller"]], [call], without=call["sid"]).denied[0]
        }
        return sorted({(self.kinds[call["caller"]], call["sid"]) for call in self._allowed()} - needed)

    def _allowed(self) -> Iterator[dict[str, Any]]:
        return (call for call in self.calls if call["allowed"])
