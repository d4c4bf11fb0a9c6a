"""`lineage_sinks`: where the log is carried to beside Marquez, and the rules within it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.config.rules import Problem

MOST = 5  # a forwarder of 60 MB each, on a node of 4 GB
NAME = r"[a-z][a-z0-9-]{0,19}"
# HTTPS, since the header is a secret; on 443, which alone the nodes' security group lets out.
URL = r"https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:443)?(/[A-Za-z0-9._~/%+=-]*)?"
DOMAIN = r"dzd[-_][a-zA-Z0-9_-]{1,36}"
# With the six characters that Secrets Manager adds to a name: IAM's policy of the nodes names a whole ARN.
SECRET = r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}"  # noqa: S105
HEADER, AUTHORIZATION = r"[A-Za-z][A-Za-z0-9-]{0,63}", "Authorization"
OURS = ("connection", "content-length", "content-type", "host", "transfer-encoding", "user-agent")
ALLOWED = {
    "url": (URL, "an https:// URL without port and query, as the endpoint takes events"),
    "header": (HEADER, "the name of an HTTP header"),
    "header_arn": (
        SECRET,
        "the whole ARN of a secret in Secrets Manager, whose text is the header's value; it ends with a "
        "hyphen and six characters: aws secretsmanager describe-secret --query ARN --output text --secret-id",
    ),
    "datazone_domain": (DOMAIN, "the id of a domain of DataZone or SageMaker, like dzd_4kq9abc"),
}


@dataclass(frozen=True, kw_only=True)
class Sink:
    """One sink: an endpoint (`url`, and if it has one, a header whose value is in a secret), or a domain."""

    name: str
    url: str = ""
    header: str = AUTHORIZATION
    header_arn: str = ""
    datazone_domain: str = ""

    @property
    def options(self) -> str:
        """Of the forwarder's command; no value has blanks."""
        if self.datazone_domain:
            return f"--datazone {self.datazone_domain}"
        header = f" --header {self.header} --secret {self.header_arn}" if self.header_arn else ""
        return f"--to {self.url}{header}"


def sinks_of(setting: Mapping[str, Mapping[str, str]]) -> tuple[Sink, ...]:
    """The sinks of a valid setting, by name."""
    return tuple(Sink(name=name, **fields) for name, fields in sorted(setting.items()))


def sink_rules(known: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems within `lineage_sinks`, and with other settings; `known` as in `environment_rules`."""
    sinks = known.get("lineage_sinks") or {}
    if len(sinks) > MOST:
        yield Problem("lineage_sinks", f"{len(sinks)} sinks", f"{MOST} sinks or fewer", remove=True)
    lineage = known.get("lineage", "marquez")
    if sinks and lineage != "marquez":
        allowed = f"removed, or lineage marquez (it is {lineage}): Marquez's nodes carry the log to sinks"
        yield Problem("lineage_sinks", sorted(sinks), allowed, remove=True)
    for name, fields in sinks.items():
        key = f"lineage_sinks.{name}" if re.fullmatch(NAME, name) else f'lineage_sinks["{name}"]'
        if not re.fullmatch(NAME, name):
            allowed = "named with a small letter, then up to 19 small letters, digits and hyphens"
            yield Problem(key, dict(fields), allowed, remove=True)
            continue
        yield from _fields(key, fields, known.get("region"))


def _fields(key: str, fields: Mapping[str, str], region: str | None) -> Iterator[Problem]:
    for field, value in fields.items():
        if field not in ALLOWED:
            yield Problem(f"{key}.{field}", value, f"one of {', '.join(ALLOWED)}", remove=True)
        elif not re.fullmatch(ALLOWED[field][0], value):
            name = f" {_secret_of(value)}" if field == "header_arn" else ""
            yield Problem(f"{key}.{field}", value, ALLOWED[field][1] + name)
        elif field == "header" and value.lower() in OURS:
            yield Problem(f"{key}.{field}", value, "a header that HTTP itself does not need")
        elif field == "header_arn" and region is not None and value.split(":")[3] != region:
            yield Problem(f"{key}.{field}", value, f"in the stack's region, {region}")
    kinds = [field for field in ("url", "datazone_domain") if field in fields]
    if not kinds:
        yield Problem(f"{key}.url", None, "set, or datazone_domain")
    elif len(kinds) == 2:
        yield Problem(f"{key}.datazone_domain", fields["datazone_domain"], "removed, or url", remove=True)
    if "datazone_domain" in fields:
        for field in ("header", "header_arn"):
            if field in fields:
                allowed = "removed: DataZone is called with the nodes' own role"
                yield Problem(f"{key}.{field}", fields[field], allowed, remove=True)
    elif "header" in fields and "header_arn" not in fields:
        yield Problem(f"{key}.header_arn", None, "set: the header's value")


def _secret_of(value: str) -> str:
    """The name of a secret, as far as an ARN or a name has it."""
    name = value.rpartition(":secret:")[2]
    return name if re.fullmatch(r"[A-Za-z0-9/_+=.@-]+", name) else "<name>"
