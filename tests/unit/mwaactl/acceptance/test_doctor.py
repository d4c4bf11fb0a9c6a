"""The doctor: each thing that breaks turns its own line red, and what cannot be known is never green."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bluegreen.proof import PROBE
from botocore.exceptions import NoCredentialsError

from mwaactl.acceptance.doctor import Diagnosis, examine
from mwaactl.acceptance.identity import principal
from mwaactl.acceptance.line import Line
from mwaactl.acceptance.rehearsal import rehearse
from tests.fakes.airflow.probe import reported
from tests.fakes.airflow.probed import as_owned, side
from tests.fakes.aws.account import ACCOUNT, CALLER
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment, fresh_clients, outputs
from tests.fakes.aws.errors import client_error
from tests.fakes.aws.s3 import LINEAGE_LOG
from tests.fakes.aws.ssm import ACTIVE, OWNERSHIP
from tests.fakes.clock import minutes, stop_time
from tests.fakes.lineage.events import run_id, write_ungated
from tests.fakes.lineage.marquez import FakeMarquez
from tests.fakes.mwaactl.commands import commands, output
from tests.fakes.mwaactl.switches import switched
from tests.fakes.mwaactl.well import all_well, carried, drop, log_probe

EXECUTION_ROLE = outputs()["airflow_environments"]["blue"]["execution_role_arn"].rpartition("/")[2]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, marquez: FakeMarquez) -> FakeClients:
    """A stack in which all is well: the probe's lineage has arrived in Marquez, and IAM allows everything."""
    aws = all_well(monkeypatch, marquez)
    aws.iam.allows = lambda action: True
    return aws


def examined(aws: FakeClients, marquez: FakeMarquez | None = None, mode: str = "fullha") -> Diagnosis:
    return examine(deployment(aws, mode), to=marquez.url if marquez is not None else None)


def line(diagnosis: Diagnosis, name: str, of: str = "") -> Line:
    [found] = [each for each in diagnosis.lines if (each.name, each.of) == (name, of)]
    return found


def not_well(diagnosis: Diagnosis) -> dict[tuple[str, str], str]:
    return {(each.of, each.name): each.result for each in diagnosis.lines if each.result != "pass"}


STANDBY = {("green", "requirements"): "unknown", ("green", "secrets"): "unknown"}


def test_of_a_stack_that_is_well_only_what_the_standby_has_not_executed_is_unknown(
    aws: FakeClients, marquez: FakeMarquez
) -> None:
    done = examined(aws, marquez)
    assert not_well(done) == STANDBY
    assert line(done, "requirements", "green").mend == "mwaactl rehearse -s fullha"
    assert line(done, "credentials").detail == CALLER
    assert "quoted names in paths" in line(done, "rest-api", "green").detail
    assert "2.6.1, by its web server" in line(done, "openlineage", "green").detail
    assert "apache-airflow 3.0.6" in line(done, "openlineage", "blue").detail


def test_after_a_rehearsal_nothing_is_unknown(aws: FakeClients, marquez: FakeMarquez) -> None:
    assert rehearse(deployment(aws)).ok
    aws.ssm.clock.forward(5)
    log_probe(aws, 20)
    carried(aws, marquez)
    done = examined(aws, marquez)
    assert not_well(done) == {}
    assert "all 3 are installed" in line(done, "requirements", "green").detail


def test_one_environment_has_its_own_lines_only(
    marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = fresh_clients("standard")
    stop_time(monkeypatch, aws.ssm.clock)
    aws.iam.allows = lambda action: True
    done = examine(deployment(aws, "standard", lineage_log_bucket=LINEAGE_LOG), to=marquez.url)
    assert not_well(done) == {
        ("", "forwarder"): "fail",
        ("", "lineage-log"): "unknown",
        ("", "marquez"): "unknown",
    }
    assert {each.of for each in done.lines} == {"", "blue"}


# --- each thing that breaks ---

Break = Callable[[FakeClients, FakeMarquez], None]


def shows(colour: str, **changes: Any) -> Break:
    """The probe of that side reports so."""

    def change(aws: FakeClients, _: FakeMarquez) -> None:
        model = side(aws, colour)
        for run in model.runs:
            run.tasks["report", -1].rendered = {}
        model.runs.clear()
        model.dags[PROBE].next_due = minutes(5)
        model.shows = lambda due: reported(**changes)
        aws.ssm.clock.forward(10)

    return change


def environment(name: str, **changes: Any) -> Break:
    return lambda aws, _: aws.mwaa.environments[name].update(changes)


def denies(action: str) -> Break:
    def change(aws: FakeClients, _: FakeMarquez) -> None:
        aws.iam.allows = lambda each: each != action

    return change


def setting(target: str, attribute: str, value: Any) -> Break:
    return lambda aws, _: setattr(getattr(aws, target), attribute, value)


def rest(name: str, path: str, answer: Any) -> Break:
    return lambda aws, _: aws.mwaa.airflow[name].__setitem__(path, answer)


def no_event(aws: FakeClients, _: FakeMarquez) -> None:
    drop(aws, "events/")


def another_job(aws: FakeClients, marquez: FakeMarquez) -> None:
    no_event(aws, marquez)
    log_probe(aws, job={"namespace": GREEN, "name": f"{PROBE}.report"})


def without_proof(aws: FakeClients, marquez: FakeMarquez) -> None:
    no_event(aws, marquez)
    log_probe(aws, run={"runId": run_id(PROBE, minutes(10)), "facets": {}})


def forwarder_died(aws: FakeClients, _: FakeMarquez) -> None:
    aws.ssm.clock.forward(90)


def no_forwarder(aws: FakeClients, _: FakeMarquez) -> None:
    drop(aws, "forwarder/")


def refused_events(aws: FakeClients, _: FakeMarquez) -> None:
    aws.s3.lineage.put("set-aside/x.json.gz", b"")


def forgotten(_: FakeClients, marquez: FakeMarquez) -> None:
    marquez.run_status = 404


def fenced(aws: FakeClients, _: FakeMarquez) -> None:
    aws.iam.policies[EXECUTION_ROLE, "mwaactl-fence"] = "{}"


def ungated(aws: FakeClients, _: FakeMarquez) -> None:
    write_ungated(aws.s3, aws.ssm.clock.now - timedelta(hours=1))


def stale_top(aws: FakeClients, _: FakeMarquez) -> None:
    aws.ssm.store({"Name": OWNERSHIP, "Value": aws.ssm.values()[0]})


def other_active(aws: FakeClients, _: FakeMarquez) -> None:
    aws.ssm.store({"Name": ACTIVE, "Value": "green"})


def no_parameter(aws: FakeClients, _: FakeMarquez) -> None:
    del aws.ssm.stored[OWNERSHIP]


def half_switched(aws: FakeClients, _: FakeMarquez) -> None:
    switched(aws, "green", "daily")


def crowded(aws: FakeClients, _: FakeMarquez) -> None:
    aws.mwaa.others = [f"other-{number}" for number in range(7)]


IMPORT = {"import_errors": [{"filename": "x.py", "stack_trace": "no"}], "total_entries": 1}
UNHEALTHY = {"scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": None}}
NO_PROVIDER: dict[str, Any] = {"providers": [], "total_entries": 0}
MISSING = {"checked": 3, "failed": 1, "first": ["pandas==9: not installed"]}

BROKEN: dict[str, tuple[Break, str, str, str, str, str]] = {
    # what breaks: how, whose line, its name, what it becomes, what it says, what mends it
    "no credentials": (
        setting("sts", "error", NoCredentialsError()),
        "",
        "credentials",
        "fail",
        "no usable AWS credentials",
        "aws sts get-caller-identity",
    ),
    "another account": (
        setting("sts", "arn", "arn:aws:iam::999999999999:user/eve"),
        "",
        "credentials",
        "fail",
        f"is not of account {ACCOUNT}",
        "mwaactl --profile NAME doctor",
    ),
    "a reader's permission": (
        denies("ssm:GetParameter"),
        "",
        "permissions-read",
        "fail",
        "not allowed: ssm:GetParameter",
        "pulumi stack output operator_policies --json -s fullha",
    ),
    "a writer's permission": (
        denies("ssm:PutParameter"),
        "",
        "permissions-switch",
        "warn",
        "not allowed: ssm:PutParameter. Needed for rehearse, switch",
        "pulumi stack output operator_policies",
    ),
    "the on-call's permission": (
        denies("iam:PutRolePolicy"),
        "",
        "permissions-on-call",
        "warn",
        "not allowed: iam:PutRolePolicy",
        "pulumi stack output operator_policies",
    ),
    "an update": (
        environment(GREEN, Status="UPDATING"),
        "green",
        "environment",
        "fail",
        "is UPDATING",
        f"aws mwaa get-environment --name {GREEN}",
    ),
    "an upgrade by hand": (
        environment(BLUE, AirflowVersion="3.2.1"),
        "blue",
        "version",
        "warn",
        "runs Airflow 3.2.1, and the stack's outputs say 3.0.6",
        "pulumi refresh -s fullha",
    ),
    "the REST API": (
        lambda aws, _: (side(aws, "green").silence(), aws.mwaa.silence(GREEN))[0],  # type: ignore[func-returns-value]
        "green",
        "rest-api",
        "fail",
        "Airflow's REST API on",
        "pulumi stack output operator_policies",
    ),
    "the scheduler": (
        rest(BLUE, "/monitor/health", UNHEALTHY),
        "blue",
        "rest-api",
        "fail",
        "its scheduler as unhealthy",
        f"aws logs tail airflow-{BLUE}-Scheduler",
    ),
    "a DAG file": (
        rest(GREEN, "/importErrors", IMPORT),
        "green",
        "import-errors",
        "fail",
        "the first in x.py",
        "mwaactl dags push",
    ),
    "the gate of the standby": (
        shows("green"),
        "green",
        "gate",
        "pass",
        "executed by",
        "",
    ),
    "an ungated probe": (
        shows("green", layer=None, layers=[]),
        "green",
        "gate",
        "fail",
        "the gate did not judge it",
        f"aws logs tail airflow-{GREEN}-Task",
    ),
    "a layer of the gate": (
        shows("blue", layers=["dag_policy"]),
        "blue",
        "gate",
        "warn",
        "task_policy does not live",
        f"aws logs tail airflow-{BLUE}-Task",
    ),
    "a requirement": (
        shows("blue", requirements=MISSING),
        "blue",
        "requirements",
        "fail",
        "1 of 3 are not fulfilled: pandas==9: not installed",
        f"aws logs tail airflow-{BLUE}-WebServer",
    ),
    "OpenLineage on the owner": (
        shows("blue", installed={"openlineage-python": None}),
        "blue",
        "openlineage",
        "fail",
        "not installed: openlineage-python",
        "pulumi up -s fullha",
    ),
    "OpenLineage on the standby": (
        rest(GREEN, "/providers", NO_PROVIDER),
        "green",
        "openlineage",
        "fail",
        "no apache-airflow-providers-openlineage",
        "pulumi up -s fullha",
    ),
    "secrets": (
        shows("blue", secrets="https://secretsmanager: 400 AccessDeniedException"),
        "blue",
        "secrets",
        "fail",
        "cannot read connections and variables",
        "pulumi up -s fullha",
    ),
    "an update since the report": (
        environment(BLUE, LastUpdate={"CreatedAt": minutes(11)}),
        "blue",
        "requirements",
        "unknown",
        "since the update of",
        "mwaactl rehearse -s fullha",
    ),
    "a fence": (fenced, "blue", "fence", "fail", "denied all access", "mwaactl unfence blue"),
    "IAM's answer about a fence": (
        setting("iam", "refuses", True),
        "green",
        "fence",
        "unknown",
        "access denied",
        "",
    ),
    "the parameter": (no_parameter, "", "ownership", "fail", "does not exist", "pulumi refresh -s fullha"),
    "a stale value on top": (stale_top, "", "ownership", "warn", "without effect", "mwaactl switch blue"),
    "the plain parameter": (
        other_active,
        "",
        "active-environment",
        "fail",
        "names green, and blue owns the work",
        "mwaactl switch blue -s fullha",
    ),
    "open books": (
        half_switched,
        "",
        "books",
        "warn",
        "of blue are open",
        "mwaactl switch green --dag daily",
    ),
    "an execution without a gate": (ungated, "", "ungated", "fail", "without the gate", "mwaactl audit"),
    "no lineage": (
        lambda aws, marquez: (no_event(aws, marquez), aws.ssm.clock.forward(60))[0],  # type: ignore[func-returns-value]
        "",
        "lineage-log",
        "fail",
        "OpenLineage emits none there, or cannot write",
        f"aws logs tail airflow-{BLUE}-Task",
    ),
    "lineage of another side": (another_job, "", "lineage-log", "fail", "no event of the probe", "aws logs"),
    "lineage without the proof": (without_proof, "", "lineage-log", "warn", "without the gate's facet", ""),
    "the forwarder": (
        forwarder_died,
        "",
        "forwarder",
        "fail",
        "none is at work",
        "mwaactl lineage status -s fullha",
    ),
    "no forwarder ever": (no_forwarder, "", "forwarder", "fail", "is its node up", "mwaactl lineage status"),
    "refused events": (refused_events, "", "set-aside", "warn", "1 events", "mwaactl lineage set-aside list"),
    "Marquez's memory": (
        forgotten,
        "",
        "marquez",
        "fail",
        "does not know the probe's run",
        "mwaactl lineage",
    ),
    "the quota": (crowded, "", "quotas", "warn", "9 of 10 MWAA environments", "aws service-quotas"),
    "the permission for quotas": (
        setting("service_quotas", "error", client_error("AccessDeniedException", 400)),
        "",
        "quotas",
        "unknown",
        "servicequotas:ListServiceQuotas",
        "",
    ),
    "the name of the quota": (
        setting("service_quotas", "environments", None),
        "",
        "quotas",
        "unknown",
        "lists no quota of environments",
        "",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_turns_its_line(what: str, aws: FakeClients, marquez: FakeMarquez) -> None:
    breaks, of, name, result, detail, mend = BROKEN[what]
    before = {(each.of, each.name): each.result for each in examined(aws, marquez).lines}
    assert before.get((of, name), "pass") in ("pass", STANDBY.get((of, name)))
    breaks(aws, marquez)
    found = line(examined(aws, marquez), name, of)
    assert found.result == result, found
    assert detail in found.detail
    assert found.mend.startswith(mend)
    assert bool(found.mend) is bool(mend)


def test_without_the_permission_to_simulate_permissions_are_unknown_with_the_command_that_allows_it(
    aws: FakeClients, marquez: FakeMarquez
) -> None:
    aws.iam.allows = None
    done = examined(aws, marquez)
    for tier in ("read", "switch", "on-call"):
        found = line(done, f"permissions-{tier}")
        assert found.result == "unknown"
        assert found.mend.startswith(
            "aws iam put-role-policy --role-name operator --policy-name simulate-itself"
        )
        assert f'"Resource":"arn:aws:iam::{ACCOUNT}:role/operator"' in found.mend


def test_a_condition_that_only_a_real_call_fulfils_is_unknown(aws: FakeClients, marquez: FakeMarquez) -> None:
    aws.iam.needs = ("aws:MultiFactorAuthPresent",)
    found = line(examined(aws, marquez), "permissions-read")
    assert (found.result, "aws:MultiFactorAuthPresent" in found.detail) == ("unknown", True)


def test_a_role_that_iam_does_not_find_is_unknown(aws: FakeClients, marquez: FakeMarquez) -> None:
    aws.sts.arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/unknown/alice"
    assert line(examined(aws, marquez), "permissions-read").result == "unknown"


def test_the_simulation_passes_what_the_conditions_ask_for(aws: FakeClients, marquez: FakeMarquez) -> None:
    examined(aws, marquez)
    [of_key] = [each for each in aws.iam.simulated if each["ActionNames"] == ["kms:Decrypt"]]
    assert of_key["ContextEntries"] == [
        {
            "ContextKeyName": "kms:ViaService",
            "ContextKeyValues": ["s3.us-east-1.amazonaws.com"],
            "ContextKeyType": "string",
        }
    ]


def test_the_root_user_is_not_simulated(aws: FakeClients, marquez: FakeMarquez) -> None:
    aws.sts.arn = f"arn:aws:iam::{ACCOUNT}:root"
    done = examined(aws, marquez)
    assert line(done, "credentials").result == "pass"
    assert line(done, "permissions-switch").result == "unknown"
    assert aws.iam.simulated == []


def test_a_first_run_that_was_due_before_the_environment_was_there_counts(
    aws: FakeClients, marquez: FakeMarquez
) -> None:
    aws.mwaa.environments[BLUE]["LastUpdate"] = {"CreatedAt": minutes(10) + timedelta(milliseconds=500)}
    assert line(examined(aws, marquez), "requirements", "blue").result == "pass"


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("arn:aws:iam::1:user/team/alice", "arn:aws:iam::1:user/team/alice"),
        ("arn:aws-cn:sts::1:assumed-role/ops/alice", "arn:aws-cn:iam::1:role/ops"),
        ("arn:aws:iam::1:root", "arn:aws:iam::1:root"),
    ],
)
def test_the_policies_are_those_of_the_user_or_of_the_role(caller: str, expected: str) -> None:
    assert principal(caller) == expected


def test_a_marquez_that_cannot_be_reached_from_here_is_unknown(aws: FakeClients) -> None:
    found = line(examined(aws), "marquez")
    assert found.result == "unknown"
    assert found.mend == "pulumi stack output lineage_open_command -s fullha"


def test_a_private_web_server_is_unknown_and_not_wrong(aws: FakeClients, marquez: FakeMarquez) -> None:
    aws.mwaa.environments[GREEN]["WebserverAccessMode"] = "PRIVATE_ONLY"
    side(aws, "green").silence()
    aws.mwaa.silence(GREEN)
    assert line(examined(aws, marquez), "rest-api", "green").result == "unknown"


def test_an_environment_without_a_web_server_is_told_of_by_its_state(
    aws: FakeClients, marquez: FakeMarquez
) -> None:
    aws.mwaa.environments[GREEN]["Status"] = "CREATING"
    done = examined(aws, marquez)
    assert {each.result for each in done.lines if each.of == "green"} == {"fail", "unknown", "pass"}
    assert line(done, "environment", "green").result == "fail"
    assert line(done, "fence", "green").result == "pass"


# --- the command ---


def test_the_command_shows_a_line_each_and_what_mends_it(
    aws: FakeClients, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands(monkeypatch, aws)
    done = run("doctor", "--to", marquez.url)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["✓", "credentials", CALLER]
    assert lines[-1].endswith("0 wrong, 0 to look at, 2 unknown")
    fenced(aws, marquez)
    done = run("doctor", "--to", marquez.url)
    assert done.exit_code == 1
    wrong = done.stdout.splitlines()
    [index] = [number for number, text in enumerate(wrong) if text.startswith("✗ blue")]
    assert wrong[index + 1].strip() == "mwaactl unfence blue"


def test_the_command_prints_one_json_object(
    aws: FakeClients, marquez: FakeMarquez, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = output(commands(monkeypatch, aws)("doctor", "--to", marquez.url, "--json"))
    assert value["mode"] == "fullha"
    assert value["lines"][0] == {
        "name": "credentials",
        "of": "",
        "result": "pass",
        "detail": CALLER,
        "mend": "",
    }


def test_no_secret_is_read(aws: FakeClients, marquez: FakeMarquez) -> None:
    """The operator's credentials do not touch Secrets Manager, and the doctor changes nothing."""
    examined(aws, marquez)
    methods = {(each["Method"], each["Path"].rpartition("/")[2]) for each in aws.mwaa.asked}
    assert {path for method, path in methods if method != "GET"} <= {"list"}
    assert as_owned(aws, "blue", minutes(10))
    assert len(aws.ssm.values()) == 1
