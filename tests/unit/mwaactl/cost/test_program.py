"""The dry run of the real program in a process of its own, and the commands on top of it."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from components.network import ENDPOINT_SERVICES
from mwaactl.cli.app import app
from mwaactl.cost import comparison, dry_run, program
from mwaactl.cost.bill import bill
from mwaactl.cost.charges import Usage
from mwaactl.cost.comparison import Bills, Question
from mwaactl.cost.duration import Plans
from mwaactl.cost.engine import stack_config
from mwaactl.cost.levers import Lever, levers_of
from mwaactl.cost.plan import ENVIRONMENT, Plan, duration
from mwaactl.cost.price_list import ITEMS
from mwaactl.cost.prices import SHIPPED, load_table
from mwaactl.cost.program import PROJECT, Settings, overrides, registered
from mwaactl.cost.resources import Resource, resources_of
from mwaactl.errors import Unusable, UsageError
from mwaactl.screens.cost import NOT_INCLUDED, bills_csv, show_bills
from tests.fakes.pulumi_mocks import ROOT, Deployment
from tests.fakes.wheels import write_wheels


@cache
def dry_run_of(request: str) -> str:
    return json.dumps(dry_run.answer(ROOT, json.loads(request)))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program run in this process, and once for the same settings: each start takes seconds."""

    def dry_runs(folder: Path, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        assert folder == ROOT
        return [json.loads(dry_run_of(json.dumps(each, sort_keys=True))) for each in requests]

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(program, "_dry_runs", dry_runs)


@pytest.fixture
def run(here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # no table of this machine
    for key in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "HTTPS_PROXY"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")  # no pulumi
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [*arguments, "--cwd", str(ROOT)])


def test_a_dry_run_registers_what_the_program_does(deployed: Callable[[str], Deployment]) -> None:
    changes = {f"{PROJECT}:green.environment_class": "mw1.medium", f"{PROJECT}:nat": "single"}
    plain, changed = registered(ROOT, [Settings("fullha"), Settings("fullha", changes=changes)])
    expected = resources_of(deployed("fullha").resources)
    assert {(each.type, each.name) for each in plain} == {(each.type, each.name) for each in expected}
    classes = {each.name: each.inputs["environmentClass"] for each in changed if each.kind == "Environment"}
    assert classes == {"mwaa-blue": "mw1.small", "mwaa-green": "mw1.medium"}
    assert sum(each.kind == "NatGateway" for each in changed) == 1
    assert sum(each.kind == "NatGateway" for each in plain) == 2


def test_a_setting_that_the_program_refuses_is_an_error_in_its_words() -> None:
    with pytest.raises(UsageError, match=r"nat = 'x': must be 'single' or 'per_az' or 'none'"):
        registered(ROOT, [Settings("standard", changes={f"{PROJECT}:nat": "x"})])


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"environment_class": "mw1.small"}, r"\n +--set schedulers=<value>\Z"),
        ({"blue.environment_class": "mw1.small"}, r"\n +--set blue.schedulers=<value>\Z"),
        ({"nat.x": "1"}, r"`nat` has no parts: --set nat=VALUE\Z"),
        ({"min_workers.x": "1"}, r"`min_workers` has no parts: --set min_workers=VALUE\Z"),
    ],
)
def test_a_refusal_ends_with_the_option_that_helps(changes: dict[str, str], ends: str) -> None:
    with pytest.raises(UsageError, match=ends) as refusal:
        registered(
            ROOT, [Settings("standard", changes={f"{PROJECT}:{key}": text for key, text in changes.items()})]
        )
    assert "pulumi" not in str(refusal.value)
    assert "nothing was changed" not in str(refusal.value)


ADOPTED = {
    "adopted_environment": "team-airflow",
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": '["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]',
    "blue.execution_role_arn": "arn:aws:iam::123456789012:role/team",
    "environment_class": "mw1.medium",
    "min_workers": "3",
    "max_workers": "5",
    "schedulers": "2",
}


def options(settings: dict[str, str]) -> list[str]:
    return [word for key, text in settings.items() for word in ("--set", f"{key}={text}")]


@pytest.mark.parametrize("both", ["false", "true"])
def test_an_adopted_environment_costs_what_any_other_does(run: Callable[..., Result], both: str) -> None:
    def cost(settings: dict[str, str]) -> Bills:
        result = run("cost", "standard", *options({**settings, "enable_blue_green": both}), "--json")
        assert result.exit_code == 0, result.output
        return Bills.model_validate_json(result.stdout)

    own = {key: text for key, text in ADOPTED.items() if key != "adopted_environment"}
    adopted, made = cost(ADOPTED), cost(own)
    assert adopted.bills[-1].usd == pytest.approx(made.bills[-1].usd)
    assert [each.how for each in adopted.savings] == [each.how for each in made.savings]
    assert ("min_workers=1",) in [each.how for each in adopted.savings]


def test_an_adopted_environment_is_imported_and_not_created(run: Callable[..., Result]) -> None:
    def plan_of(settings: dict[str, str]) -> Plan:
        (found,) = Plans.model_validate_json(
            run("plan-time", "standard", *options(settings), "--json").stdout
        ).plans
        return found

    alone, both = plan_of(ADOPTED), plan_of({**ADOPTED, "enable_blue_green": "true"})
    assert ENVIRONMENT not in {step.type for step in alone.path if step.action != "import"}
    created = {step.resource for step in both.path if step.type == ENVIRONMENT}
    assert (alone.minutes < both.minutes, created) == (True, {"mwaa-green"})
    assert alone.minutes < duration("create", ENVIRONMENT)
    assert alone.replaced == both.replaced == ()


@pytest.mark.usefixtures("here")
def test_without_nat_there_is_neither_a_gateway_nor_a_route_out(tmp_path: Path) -> None:
    changes = {
        "nat": "none",
        "wheels_folder": write_wheels(tmp_path / "wheels"),
        "marquez_image_registry": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mirror",
    }
    wanted = Settings("standard", changes={f"{PROJECT}:{key}": text for key, text in changes.items()})
    plain, changed = registered(ROOT, [Settings("standard"), wanted])

    def count(kind: str, resources: Sequence[Resource]) -> int:
        return sum(each.kind == kind for each in resources)

    assert (count("NatGateway", plain), count("NatGateway", changed), count("Eip", changed)) == (1, 0, 0)
    assert count("Route", plain) - count("Route", changed) == 2
    assert count("VpcEndpoint", changed) - count("VpcEndpoint", plain) == len(ENDPOINT_SERVICES) + 2


def test_without_a_checkout_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"needs a checkout of the program"):
        registered(tmp_path, [Settings("standard")])


def test_a_program_that_does_not_run_is_named_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("import no_such_package")
    (tmp_path / "Pulumi.yaml").write_text("name: x\nconfig: {}")
    (tmp_path / "Pulumi.standard.yaml").write_text("config: {}")
    with pytest.raises(Unusable, match=r"No module named 'no_such_package'.*uv sync"):
        registered(tmp_path, [Settings("standard")])


def test_cost_shows_modes_side_by_side_and_its_assumptions(run: Callable[..., Result]) -> None:
    result = run("cost", "standard", "bluegreen", "--log-gb", "10")
    assert result.exit_code == 0, result.output
    shown = result.output
    assert "--hours 730" in shown
    assert "--log-gb 10" in shown
    assert "0.29 per hour" in shown
    assert "Amazon's pricing pages, 2026-08" in shown
    assert NOT_INCLUDED in shown
    assert NOT_INCLUDED in " ".join((ROOT / "docs" / "cost.md").read_text().split())


def test_cost_of_a_mode_as_json_and_csv_is_the_same_bill(run: Callable[..., Result]) -> None:
    result = Bills.model_validate_json(run("cost", "hamarquez", "--set", "nat=single", "--json").stdout)
    before, after = result.bills
    assert result.difference == pytest.approx(-730 * 0.05)
    assert after.usd - before.usd == pytest.approx(result.difference)
    rows = list(csv.DictReader(io.StringIO(bills_csv(result))))
    of_after = [float(row["usd"]) for row in rows if row["bill"] == after.name]
    assert sum(of_after) == pytest.approx(after.usd, abs=0.01)
    assert {row["region"] for row in rows} == {"us-east-1"}
    saved = {each.how: each.usd for each in result.savings}
    assert not saved.keys() & {("nat=single",), ("min_workers=1",), ("schedulers=2",)}, "it is so already"
    assert saved["enable_monitoring=false",] == pytest.approx(0.5 + 3 + (15 + 6 + 0) * 0.1)


def savings_of(*changes: str, mode: str = "bluegreen", region: str = "us-east-1") -> dict[str, float | None]:
    wanted = {f"{PROJECT}:{key}": value for key, value in (each.split("=", 1) for each in changes)}
    question = Question(ROOT, Usage(), load_table(SHIPPED), region, wanted)
    return {" ".join(each.how): each.usd for each in question.of_modes([mode]).savings}


@pytest.mark.usefixtures("here")
def test_a_lever_that_is_refused_or_saves_nothing_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    hows = ("nat=x", "nat=single", "nat=per_az", "enable_monitoring=false")
    monkeypatch.setattr(comparison, "levers_of", lambda *_: [Lever(how, (how,), "") for how in hows])
    assert list(savings_of(mode="standard")) == ["enable_monitoring=false"]


@pytest.mark.usefixtures("here")
def test_a_lever_on_the_class_reaches_an_environment_with_settings_of_its_own(
    deployed: Callable[[str], Deployment],
) -> None:
    both = "min_workers=1 max_workers=1 schedulers=1"
    smaller = 2 * 730 * (0.49 - 0.29)
    of_blue = savings_of("blue.schedulers=3")
    assert of_blue[f"environment_class=mw1.micro {both} blue.schedulers=1"] == pytest.approx(
        smaller + 730 * 0.055
    )
    own = {"blue": '{"environment_class": "mw1.small"}', "green.environment_class": "mw1.small"}
    settings = Settings("bluegreen", changes={f"{PROJECT}:{key}": text for key, text in own.items()})
    levers = levers_of(resources_of(deployed("bluegreen").resources), overrides(settings, ROOT))
    hows = [" ".join(each.how) for each in levers]
    assert f"blue.environment_class=mw1.micro green.environment_class=mw1.micro {both}" in hows


def test_a_figure_that_depends_on_an_unknown_price_is_unknown(run: Callable[..., Result]) -> None:
    result = run("cost", "hamarquez", "--region", "sa-east-1", "--set", "enable_ha_marquez=false")
    assert "The change: unknown a month" in result.output
    assert re.search(r"^ *unknown +one NAT gateway", result.output, re.M), "its address has no price there"
    notes = " ".join(result.output.split())
    assert "Read AWS's price list: mwaactl cost --update --region sa-east-1" in notes


@pytest.mark.usefixtures("here")
def test_the_page_says_from_where_on_endpoints_pay() -> None:
    page = (ROOT / "docs" / "cost.md").read_text()
    prices = load_table(SHIPPED).prices("us-east-1")
    runs = [Settings("standard"), Settings("standard", changes={f"{PROJECT}:vpc_endpoints": "true"})]
    without, endpoints = (bill("x", "us-east-1", each, Usage(), prices) for each in registered(ROOT, runs))
    a_month = endpoints.usd - without.usd
    from_gb = a_month / (prices["nat.data"].usd - prices["endpoint.data"].usd)
    assert f"{a_month:.2f} a month" in page
    assert f"{round(from_gb, -2):,.0f} GB" in page


def test_the_page_names_what_is_not_read_from_the_list() -> None:
    unread = set(load_table(SHIPPED).units) - {each.item for each in ITEMS}
    assert unread == {"dashboard", "zone"}
    page = " ".join((ROOT / "docs" / "cost.md").read_text().split())
    assert "`dashboard` and `zone` are not read from the list" in page


@pytest.mark.usefixtures("here")
def test_more_workers_and_schedulers_than_needed_are_levers() -> None:
    savings = savings_of("min_workers=3", "green.schedulers=4")
    assert savings["min_workers=1"] == pytest.approx(2 * 2 * 730 * 0.055)
    assert savings["schedulers=2 green.schedulers=2"] == pytest.approx(2 * 730 * 0.055)


def test_workers_that_a_class_does_not_have_are_said_and_not_charged(run: Callable[..., Result]) -> None:
    result = run("cost", "standard", "bluegreen", "--workers", "2")
    notes = [line for line in result.output.splitlines() if "--workers adds none" in line]
    (note,) = notes
    assert "standard: mw1.micro has one worker" in note


def test_csv_is_printed_alone(run: Callable[..., Result]) -> None:
    result = run("cost", "standard", "bluegreen", "--csv", "--region", "sa-east-1")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["bill"] for row in rows} == {"standard", "bluegreen"}
    by_item = {row["item"]: row for row in rows}
    assert by_item["mwaa.micro"]["unit_usd"] == "0.4986"
    assert by_item["ec2.t3.medium"]["usd"] == "unknown"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nomode",),
        ("standard", "-s", "x"),
        ("--set", "nat"),
        ("--hours", "-1"),
        ("--hours", "inf"),
        ("--log-gb", "nan"),
        ("--acu", "0.4"),
        ("--csv", "--json"),
        ("--prices", "/nowhere.json"),
    ],
)
def test_wrong_usage_of_cost_exits_2(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert run("cost", *arguments).exit_code == 2


PULUMI = f"""#!{sys.executable}
import json, sys
arguments = [each for each in sys.argv[1:] if each != "--non-interactive"]
if arguments == ["version"]:
    print("v3.259.0")
    sys.exit()
assert arguments[-2:] == ["--stack", "prod"], arguments
answers = json.load(open(__file__ + ".json"))
print(json.dumps(answers[" ".join(arguments[:-2])]))
"""


@pytest.fixture
def prod(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """A stack with one NAT gateway and green in mw1.medium, whose settings want two and mw1.small."""
    (before,) = registered(ROOT, [Settings("bluegreen", changes=OLD)])
    resources = [vars(each) for each in before]
    wanted = stack_config(ROOT, "bluegreen", {"aws:region": "us-east-1"})
    answers = {
        "config --json": {key: {"value": value, "secret": False} for key, value in wanted.items()}
        | {f"{PROJECT}:password": {"secret": True}},
        "stack export": {"version": 3, "deployment": {"resources": [STACK, *resources]}},
    }
    (tmp_path / "pulumi").write_text(PULUMI)
    (tmp_path / "pulumi").chmod(0o755)
    (tmp_path / "pulumi.json").write_text(json.dumps(answers))
    monkeypatch.setenv("PATH", str(tmp_path))
    return run


OLD = {f"{PROJECT}:nat": "single", f"{PROJECT}:green.environment_class": "mw1.medium"}
STACK = {"type": "pulumi:pulumi:Stack", "urn": "urn:pulumi:prod::x::pulumi:pulumi:Stack::x-prod"}


def test_the_cost_of_a_stack_is_that_of_its_state_and_of_its_settings(prod: Callable[..., Result]) -> None:
    result = Bills.model_validate_json(prod("cost", "-s", "prod", "--json").stdout)
    deployed, wanted = result.bills
    assert (deployed.name, wanted.name) == ("prod, deployed", "prod, settings")
    assert deployed.unknown == {}
    assert result.difference == pytest.approx(730 * 0.05 - 730 * (0.74 - 0.49))
    took = json.loads(prod("plan-time", "-s", "prod", "--json").stdout)["plans"][0]
    assert [each["resource"] for each in took["path"] if each["minutes"] > 1] == [
        "network-2",  # what needs the network waits for all of it
        "mwaa-green",
    ]
    assert took["slowest"]["action"] == "update"


def test_with_another_setting_the_pending_change_has_a_column_of_its_own(prod: Callable[..., Result]) -> None:
    one_gateway = -730 * 0.05
    result = Bills.model_validate_json(prod("cost", "-s", "prod", "--set", "nat=single", "--json").stdout)
    assert [each.name for each in result.bills] == ["prod, deployed", "prod, settings", "prod, changed"]
    pending = 730 * 0.05 - 730 * (0.74 - 0.49)
    assert result.steps == pytest.approx((pending, one_gateway))
    assert result.difference == pytest.approx(pending + one_gateway)
    text = io.StringIO()
    show_bills(Console(file=text, width=200), result)
    assert f"From 'prod, settings' to 'prod, changed': {one_gateway:+,.2f} a month" in text.getvalue()
