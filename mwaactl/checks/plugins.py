"""The check `same-plugins`: both sides must judge runs by the same gate, so the same plugins.zip."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mwaactl.aws import aws_errors
from mwaactl.checks.observation import Observation, Plugins
from mwaactl.checks.outcome import NO_OTHER, Outcome, PluginsComparison, Sides
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
        if len({head["ContentLength"] for head in heads}) > 1:
            return False
        # An ETag is not a digest of the content if the bucket uses KMS.
        if len({head["ETag"] for head in heads}) == 1:
            return True
        return len({_digest(s3, bucket, plugins) for bucket, plugins in deployed}) == 1


def _digest(s3: S3Client, bucket: str, plugins: Plugins) -> str:
    body = s3.get_object(**plugins.request(bucket))["Body"]
    try:
        return hashlib.sha256(body.read()).hexdigest()
    finally:
        body.close()


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
