"""The check `same-plugins`: both sides must judge runs by the same gate, so the same plugins.zip."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mwaactl.aws import aws_errors
from mwaactl.checks.observation import Observation, Plugins
from mwaactl.checks.outcome import NO_OTHER, Outcome, PluginsComparison, Sides
from mwaactl.dags import packed
from mwaactl.errors import Unreachable
from mwaactl.stack import Environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def compare(s3: S3Client, *sides: tuple[Environment, Observation]) -> PluginsComparison:
    """Compare the plugins.zip that Amazon reports as deployed, not the newest in the buckets.

    Requirements are not compared: they differ between Airflow versions. Raises Unreachable.
    """
    deployed: list[tuple[str, Plugins]] = []
    for environment, observation in sides:
        if observation.plugins is None:
            raise Unreachable(observation.not_checked["status"])
        deployed.append((environment.bucket, observation.plugins))
    missing = tuple(
        observation.colour for _, observation in sides if observation.plugins in (None, Plugins())
    )
    return PluginsComparison(missing=missing, same=not missing and _equal(s3, deployed))


def _equal(s3: S3Client, deployed: list[tuple[str, Plugins]]) -> bool:
    with aws_errors("compare the plugins.zip of " + " and ".join(bucket for bucket, _ in deployed)):
        heads = [s3.head_object(**plugins.request(bucket)) for bucket, plugins in deployed]
        # An ETag is not a digest of the content if the bucket uses KMS.
        if len({(head["ContentLength"], head["ETag"]) for head in heads}) == 1:
            return True
        first, *others = [_content(s3, plugins.request(bucket)) for bucket, plugins in deployed]
        return all(other == first for other in others)


def _content(s3: S3Client, request: Mapping[str, Any]) -> object:
    """What Airflow loads of it: wheels are those of the side's own version of Airflow."""
    try:
        listed = packed.plugins(packed.opened(s3, request))
    except zipfile.BadZipFile:
        with s3.get_object(**request)["Body"] as body:
            return hashlib.sha256(body.read()).hexdigest()
    return {each.filename: (each.file_size, each.CRC) for each in listed}


def check(sides: Sides) -> Outcome:
    plugins = sides.evidence.plugins
    if sides.source is None:
        return "not checked", NO_OTHER
    if plugins is None:
        return "not checked", sides.evidence.why_not("plugins")
    if plugins.missing:
        return "fail", (
            f"{' and '.join(plugins.missing)} has no plugins.zip, and so no gate. Deploy it: pulumi up"
        )
    if not plugins.same:
        return "fail", (
            f"{sides.target.colour} and {sides.source.colour} have different ones, so their gates may judge "
            "the same run differently. Deploy the same to both: mwaactl rollout"
        )
    return "pass", f"the same plugins.zip is deployed on {sides.target.colour} and {sides.source.colour}"
