"""The rules between settings, and the messages that report a problem with the command that fixes it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.config.airflow_versions import at_least

SMALLEST_CLASS = "mw1.micro"
# UTC; on different days, so that Amazon never maintains both at once.
MAINTENANCE = {"blue": "TUE:02:00", "green": "THU:02:00"}
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
WEEK, APART = 7 * 24 * 60, 24 * 60  # minutes
USERINFO = re.compile(r"(?<=://)(?:[^\s/]*|[^\s/@:]+:(?!\d+/)[^\s'\"]*)@")  # in the address of an index


@dataclass(frozen=True)
class Problem:
    """One invalid setting.

    `key` is a path as `pulumi config set --path` takes it; `allowed` completes "must be". It is mended by
    another value, by none (`remove`), or by an override that is an empty text (`empty`).
    """

    key: str
    value: Any
    allowed: str
    remove: bool = False
    empty: bool = False

    def of(self, colour: str, *, inherited: bool) -> Problem:
        """The same of one environment. `inherited`: without an override, the stack's own value counts."""
        key = f"{colour}.{self.key}"
        if not (self.remove and inherited):
            return replace(self, key=key)
        return replace(
            self, key=key, allowed=self.allowed.replace("removed", "empty", 1), remove=False, empty=True
        )

    def text(self, stack: str) -> str:
        """The problem, and below it the commands that fix it; masked, since a value may be a line for pip."""
        if self.key == "project":
            return f"  name = {self.value!r} in Pulumi.yaml: must be {self.allowed}\n      edit Pulumi.yaml"
        shown = "(not set)" if self.value is None else f"= {self.value!r}"
        if "airflow_options[" in self.key:  # any of them may be a password
            shown = "(value not shown)"
        commands = [f"      pulumi config {each} -s {stack}" for each in self._commands()]
        return masked("\n".join([f"  {self.key} {shown}: must be {self.allowed}", *commands]))

    def _commands(self) -> Iterator[str]:
        """In this order. Pulumi sets lists and objects part by part only."""
        path = "--path " if re.search(r"[.\[]", self.key) else ""
        whole = isinstance(self.value, list | tuple | Mapping)
        if self.empty:
            yield f"set {path}{shlex.quote(self.key)} ''"
            return
        if self.remove or whole:
            yield f"rm {path}{shlex.quote(self.key)}"
        else:
            yield f"set {path}{shlex.quote(self.key)} <value>"
        if isinstance(self.value, list | tuple) and not self.remove:
            yield from (f"set --path {shlex.quote(f'{self.key}[{index}]')} <value>" for index in range(2))


def masked(text: str) -> str:
    """The text without the users and passwords of its addresses."""
    return USERINFO.sub("****@", text)


def quoted(key: str) -> str:
    """A key as a path of Pulumi's configuration takes it."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


def environment_rules(known: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems between the settings of one environment.

    `known` has the values that are valid on their own; a rule is skipped if one of its values is missing.
    """
    size, version = known.get("environment_class"), known.get("airflow_version")
    for key in ("min_workers", "max_workers", "schedulers", "min_webservers", "max_webservers"):
        if known.get(key) is not None and size == SMALLEST_CLASS and known[key] != 1:
            yield Problem(key, known[key], f"1 with environment_class {SMALLEST_CLASS}, which does not scale")
    for key in ("schedulers", "min_webservers", "max_webservers"):
        if size not in (None, SMALLEST_CLASS) and known.get(key) == 1:
            yield Problem(key, 1, f"2 to 5 with environment_class {size}")
    for kind in ("workers", "webservers"):
        least, most = known.get(f"min_{kind}"), known.get(f"max_{kind}")
        if least is not None and most is not None and least > most:
            yield Problem(f"max_{kind}", most, f"min_{kind} ({least}) or more")
    if known.get("log_levels", {}).get("task", "INFO") not in ("INFO", "DEBUG"):
        allowed = "INFO or DEBUG: the alarms on the gate count lines of the tasks' log"
        yield Problem("log_levels.task", known["log_levels"]["task"], allowed)
    if known.get("execution_role_arn") is not None:
        for key in ("execution_policy", "execution_policy_arns"):
            if known.get(key):
                allowed = "removed: execution_role_arn brings its own permissions"
                yield Problem(key, known[key], allowed, remove=True)
    access = known.get("webserver_access")
    if access == "PUBLIC_AND_PRIVATE" and version is not None and not at_least(version, "3.2"):
        yield Problem(
            "webserver_access", access, f"PUBLIC_ONLY or PRIVATE_ONLY before Airflow 3.2 (this is {version})"
        )


def stack_rules(known: Mapping[str, Any], environments: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """The problems between the settings that both environments share, and between the two.

    `known` as in `environment_rules`; so are `environments`, the settings of each environment of the stack.
    """
    region = known.get("region")
    zones = known.get("availability_zones", ())
    if region is not None and any(zone[:-1] != region for zone in zones):
        yield Problem("availability_zones", list(zones), f"zones of the stack's region, {region}")
    for key in ("kms_key_arn", "marquez_certificate_arn", "alarm_topic_arn"):
        arn = known.get(key)
        if arn is not None and region is not None and arn.split(":")[3] != region:
            yield Problem(key, arn, f"in the stack's region, {region}")
    if known.get("kms_key_arn") is not None and known.get("create_kms_key") is True:
        yield Problem("kms_key_arn", known["kms_key_arn"], "removed, or create_kms_key false", remove=True)
    if known.get("create_kms_key") is True and not re.fullmatch(r"[a-z]{2}-[a-z]+-\d", region or "us-east-1"):
        yield Problem("create_kms_key", True, "false: Amazon MWAA's API takes no key of a region like this")
    if known.get("marquez_certificate_arn") is not None and known.get("enable_ha_marquez") is False:
        arn = known["marquez_certificate_arn"]
        allowed = "removed, or enable_ha_marquez true: the single node has no HTTPS"
        yield Problem("marquez_certificate_arn", arn, allowed, remove=True)
    if known.get("enable_ha_marquez") is True and known.get("lineage", "marquez") != "marquez":
        allowed = f"false, or lineage marquez: with lineage {known['lineage']} there is no Marquez"
        yield Problem("enable_ha_marquez", True, allowed, remove=True)
    if known.get("lineage_intake") is True and known.get("lineage", "marquez") != "marquez":
        allowed = f"false, or lineage marquez: with lineage {known['lineage']} there are no nodes that run it"
        yield Problem("lineage_intake", True, allowed, remove=True)
    if known.get("alarm_topic_arn") is not None and known.get("alarm_email") is not None:
        yield Problem("alarm_email", known["alarm_email"], "removed, or alarm_topic_arn", remove=True)
    if known.get("access_log_bucket") is not None and known.get("access_log_days"):
        allowed = "0, or access_log_bucket removed: that bucket's own rules say how long it keeps them"
        yield Problem("access_log_days", known["access_log_days"], allowed)
    yield from _network_rules(known)
    yield from _one_each_rules(environments)
    if known.get("nat") == "none" and known.get("vpc_id") is None:
        yield from _offline_rules(known, environments)
    yield from _maintenance_rules(environments)
    low, high = known.get("aurora_min_capacity"), known.get("aurora_max_capacity")
    if high is not None and high < 1:
        yield Problem("aurora_max_capacity", high, "1 or more")
    elif low is not None and high is not None and low > high:
        yield Problem("aurora_max_capacity", high, f"aurora_min_capacity ({low}) or more")
    if known.get("nightly_audit") is True:
        yield from _audit_rules(environments)
    yield from _tag_rules(known.get("tags", {}))


def _network_rules(known: Mapping[str, Any]) -> Iterator[Problem]:
    subnets = known.get("private_subnet_ids")
    if known.get("vpc_id") is None:
        if subnets and "vpc_id" in known:
            yield Problem("private_subnet_ids", list(subnets), "removed, or vpc_id set", remove=True)
        return
    if subnets == ():
        yield Problem("private_subnet_ids", [], "two subnets of vpc_id")
    for key, ours in {
        "availability_zones": (),
        "nat": "single",
        "vpc_endpoints": False,
        "flow_log_days": 0,
    }.items():
        if key in known and known[key] != ours:
            allowed = "removed: with vpc_id, the program makes no network"
            value = list(known[key]) if isinstance(known[key], tuple) else known[key]
            yield Problem(key, value, allowed, remove=True)


def _offline_rules(
    known: Mapping[str, Any], environments: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """What would be fetched from the internet must come another way."""
    for colour, own in environments.items():
        if "wheels_folder" in own and not own["wheels_folder"]:
            key = f"{colour}.wheels_folder" if "wheels_folder" in known.get(colour, {}) else "wheels_folder"
            allowed = (
                "set with nat none, which leads to no package index: mwaactl requirements package -o wheels"
            )
            yield Problem(key, None, allowed)
    if known.get("lineage", "marquez") != "marquez":
        return  # there are no nodes
    registry, region = known.get("marquez_image_registry"), known.get("region")
    ecr = rf"\d{{12}}\.dkr\.ecr\.{re.escape(region or '')}\.amazonaws\.com(?:\.cn)?(?:/.*)?"
    if "marquez_image_registry" in known and region and not re.fullmatch(ecr, registry or ""):
        allowed = (
            f"one of Amazon ECR in {region} with nat none, from which the nodes can reach no other: set it, "
            "then mwaactl images mirror"
        )
        yield Problem("marquez_image_registry", registry, allowed)
    if known.get("enable_ha_marquez") is True and known.get("aurora_authorities_file") is None:
        allowed = (
            "a file with nat none, since the nodes cannot fetch it: "
            "curl -o rds.pem https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
        )
        yield Problem("aurora_authorities_file", None, allowed)


# What the two environments must not share, and why.
ONE_EACH = {
    "execution_role_arn": (
        "another role than blue's: a fence closes the role of one side (mwaactl failover --fence)"
    ),
    "dags_bucket": "another bucket than blue's: what is tried on one side must not reach the other",
}


def _one_each_rules(environments: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    if len(environments) < 2:
        return
    for key, allowed in ONE_EACH.items():
        blue, green = (own.get(key) for own in environments.values())
        if blue is not None and blue == green:
            yield Problem(f"green.{key}", green, allowed)


def _maintenance_rules(environments: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    if len(environments) < 2 or any("maintenance_window" not in own for own in environments.values()):
        return
    windows = {
        colour: own["maintenance_window"] or MAINTENANCE[colour] for colour, own in environments.items()
    }
    begins = [_minutes(window) for window in windows.values()]
    apart = abs(begins[0] - begins[1])
    if min(apart, WEEK - apart) < APART:
        allowed = (
            f"{APART // 60} hours or more from blue's ({windows['blue']}), to move the work away in between"
        )
        yield Problem("green.maintenance_window", windows["green"], allowed)


def _minutes(window: str) -> int:
    """Since the begin of the week."""
    day, hour, minute = window.split(":")
    return (DAYS.index(day) * 24 + int(hour)) * 60 + int(minute)


def _audit_rules(environments: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """The audit runs with the Python packages of Airflow."""
    for own in environments.values():
        if own.get("execution_role_arn"):
            allowed = "false with execution_role_arn: the program would have to add permissions to the role"
            yield Problem("nightly_audit", True, allowed)
        version, lines = own.get("airflow_version"), own.get("requirements")
        if own.get("requirements_file"):
            continue  # its lines are not read here; of an audit that fails, an alarm tells
        if version is None or lines is None or at_least(version, "3.0"):
            continue
        if not any(re.match(r"pydantic(?![\w.-])", line) for line in lines):
            allowed = f"false, or pydantic in requirements: Airflow {version} does not have it"
            yield Problem("nightly_audit", True, allowed)


def _tag_rules(tags: Mapping[str, str]) -> Iterator[Problem]:
    if len(tags) > 40:
        yield Problem("tags", f"{len(tags)} tags", "40 tags or fewer")
    folded = Counter(tag.lower() for tag in tags)
    for tag, value in tags.items():
        key = f"tags{quoted(tag)}"
        if tag.lower().startswith("aws:"):
            yield Problem(key, value, "removed: aws: is Amazon's own prefix", remove=True)
        elif tag.lower() == "name":
            yield Problem(key, value, "removed: this program names each resource", remove=True)
        elif folded[tag.lower()] > 1:
            yield Problem(key, value, "removed: IAM takes keys that differ in case for the same", remove=True)
        elif not re.fullmatch(r"[\w .:/=+@-]{1,128}", tag) or not re.fullmatch(r"[\w .:/=+@-]{1,256}", value):
            yield Problem(
                key,
                value,
                "a key of 1-128 and a value of 1-256 letters, digits, spaces and _.:/=+@-",
                remove=True,
            )
