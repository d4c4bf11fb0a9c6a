"""The entries of the table of resource types.

In templates `{name}` is the resource's own input of that name, `{id}` its identifier, `{hexN}` N random
hexadecimal digits, `{digits}` ten decimal ones; `{region}` and `{account}` are what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """One resource type. Dotted paths name properties inside nested blocks."""

    replaces: tuple[str, ...] = ()
    """Inputs whose change replaces the resource."""
    also_replaces: Callable[[Inputs, Inputs], Sequence[str]] = field(
        default=lambda _old, _new: (), kw_only=True
    )
    """Returns further inputs whose change replaces the resource, given the old and the new inputs."""
    id: str = "{hex16}"
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Computed outputs, as templates; an input of the same name wins."""
    name: str | None = "name"
    """The input that Pulumi fills with `<logical name>-<random>` when the program leaves it out."""
    given_back: tuple[str, ...] = ()
    """Inputs that the provider compares with what AWS gave back, not with what the program passed before.
    To leave one out is no change (Optional and Computed)."""
    longest_name: int = 128
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that the provider sets when the program does not."""
    renewed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Outputs that an update computes anew, and the inputs whose change causes it (none: any)."""


NAMED = ("name", "namePrefix")
BUCKET = ("bucket", "expectedBucketOwner")
MANAGED = {"description": "Managed by Pulumi"}


def ec2(resource: str, prefix: str, *replaces: str, **outputs: Any) -> Kind:
    """A resource of EC2's API: no name, an identifier like `vpc-0123456789abcdef0`."""
    arn = f"arn:aws:ec2:{{region}}:{{account}}:{resource}/{{id}}"
    return Kind(replaces, f"{prefix}-0{{hex16}}", {"arn": arn, **outputs}, name=None)


def iam(resource: str, **outputs: Any) -> Kind:
    return Kind(
        (*NAMED, "path"),
        "{name}",
        {
            "arn": f"arn:aws:iam::{{account}}:{resource}{{path}}{{name}}",
            "uniqueId": "A{hex20}",
            "createDate": "2026-01-01T00:00:00Z",
            **outputs,
        },
        longest_name=64,
        defaults={"path": "/"},
    )
