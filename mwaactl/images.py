"""The container images of Marquez's nodes: their digests, and copies of them in a registry of the user's.

`docker buildx imagetools` asks the registries and copies between them; it needs no daemon. A copy has the
digest of its source, so a node that pulls by digest runs the same image from either.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaactl.aws import aws_errors, error_code
from mwaactl.errors import CheckFailed, Unreachable, UsageError
from mwaactl.json_model import Model
from mwaactl.stack import find_project, pulumi

KEYS = ("marquez_image", "marquez_web_image", "postgres_image")
REGISTRY = "marquez_image_registry"
ECR = re.compile(r"(?P<host>\d{12}\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?)(?:/|$)")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Image(Model):
    """One image. `tagged`: with its tag and without a digest; `before`: the digest that the stack had."""

    setting: str
    tagged: str
    digest: str
    before: str | None
    copied_to: str | None = None


class Images(Model):
    stack: str | None
    images: tuple[Image, ...]


@dataclass(frozen=True)
class StackConfig:
    """The settings of one stack, which need not be deployed. None: the selected one."""

    stack: str | None
    folder: Path

    @classmethod
    def of(cls, stack: str | None, cwd: Path | None) -> StackConfig:
        return cls(stack, find_project(cwd))

    def read(self) -> Mapping[str, str]:
        """`{key: value}` of this project's settings, defaults included. Raises as `mwaactl.stack.load`."""
        found = json.loads(pulumi(["config", "--json"], self.stack, self.folder))
        own = {key.partition(":")[2]: about.get("value", "") for key, about in found.items()}
        missing = [key for key in (*KEYS, REGISTRY) if key not in own]
        if missing:
            raise UsageError(
                f"Pulumi.yaml in {self.folder} has no {', '.join(missing)}: is it of this project?"
            )
        return own

    def of_marquez(self) -> Mapping[str, str]:
        """As `read`. Raises UsageError, too, for a stack without Marquez."""
        own = self.read()
        if (lineage := own.get("lineage", "marquez")) != "marquez":
            raise UsageError(f"the stack has no Marquez (lineage: {lineage}), and so none of its images")
        return own

    def write(self, key: str, value: str) -> None:
        pulumi(["config", "set", key, value], self.stack, self.folder)


def pin(config: StackConfig, *, renew: bool) -> Images:
    """Write the digest that each image's tag has now into the stack's settings.

    Raises CheckFailed if a tag no longer means the image that the stack has, unless `renew`.
    """
    settings = config.of_marquez()
    images = [_image(settings, key, keep=False) for key in KEYS]
    moved = [image for image in images if image.before not in (None, image.digest)]
    if moved and not renew:
        lines = [
            f"{each.tagged} is now {each.digest}, and {each.setting} has {each.before}" for each in moved
        ]
        raise CheckFailed("; ".join(lines) + ". If the new image is what you want: add --renew")
    return _written(config, images)


def mirror(config: StackConfig, profile: str | None, *, renew: bool) -> Images:
    """Copy each image into the registry of the stack's settings, and write its digest into them, too.

    The image is that of the digest in the settings, or with `renew` and without one that of the tag. In
    Amazon ECR, the repositories are created. Raises UsageError if no registry is set.
    """
    settings = config.of_marquez()
    registry = settings[REGISTRY]
    if not registry:
        option = f" -s {config.stack}" if config.stack else ""
        raise UsageError(
            "no registry is set that the images could be copied to: pulumi config set "
            f"{REGISTRY} <account>.dkr.ecr.<region>.amazonaws.com/<prefix>{option}"
        )
    images = [_image(settings, key, keep=not renew) for key in KEYS]
    if found := ECR.match(registry):
        _prepare(_ecr(found["region"], profile), found["host"], [_copy(registry, each) for each in images])
    copied = []
    for image in images:
        copy = _copy(registry, image)
        # An image of one platform only would get another digest without the option.
        arguments = ["create", "--prefer-index=false", "--tag", copy]
        _imagetools(*arguments, f"{image.tagged.rpartition(':')[0]}@{image.digest}")
        if (arrived := digest_of(copy)) != image.digest:
            raise Unreachable(f"{copy} has the digest {arrived} instead of {image.digest}: copy it again")
        copied.append(image.model_copy(update={"copied_to": copy}))
    return _written(config, copied)


def digest_of(tagged: str) -> str:
    """The digest that a tag means now, of the whole image with all its platforms."""
    answer = _imagetools("inspect", "--format", "{{.Manifest.Digest}}", tagged).strip()
    if not DIGEST.fullmatch(answer):
        raise Unreachable(f"`docker buildx imagetools inspect {tagged}` gave no digest: {answer!r}")
    return answer


def _image(settings: Mapping[str, str], key: str, *, keep: bool) -> Image:
    """The image of a setting. `keep`: with the digest that it has, if any."""
    tagged, _, before = settings[key].partition("@")
    digest = before if before and keep else digest_of(tagged)
    return Image(setting=key, tagged=tagged, digest=digest, before=before or None)


def _written(config: StackConfig, images: list[Image]) -> Images:
    for image in images:
        if image.digest != image.before:
            config.write(image.setting, f"{image.tagged}@{image.digest}")
    return Images(stack=config.stack, images=tuple(images))


def _copy(registry: str, image: Image) -> str:
    """`registry/marquez:0.51.1`, where the nodes look for it."""
    return f"{registry}/{image.tagged.rpartition('/')[2]}"


def _ecr(region: str, profile: str | None) -> Any:
    import boto3

    with aws_errors("create a client for ecr"):
        return boto3.Session(region_name=region, profile_name=profile).client("ecr")


def _prepare(ecr: Any, host: str, copies: list[str]) -> None:
    """Create the repositories that do not exist yet, and let docker log in."""
    from botocore.exceptions import ClientError

    for copy in copies:
        name = copy.removeprefix(f"{host}/").rpartition(":")[0]
        with aws_errors(f"create the repository {name} in Amazon ECR"):
            try:
                ecr.create_repository(repositoryName=name, imageScanningConfiguration={"scanOnPush": True})
            except ClientError as error:
                if error_code(error) != "RepositoryAlreadyExistsException":
                    raise
    with aws_errors("get a login for Amazon ECR"):
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    _docker("login", "--username", user, "--password-stdin", host, stdin=password)


def _imagetools(*arguments: str) -> str:
    return _docker("buildx", "imagetools", *arguments)


def _docker(*arguments: str, stdin: str = "") -> str:
    """What a docker command prints. Raises Unreachable."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            ["docker", *arguments],  # noqa: S607 - the operator's own
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unreachable(
            "the docker command is not on PATH: install Docker with its buildx plugin"
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise Unreachable(f"`docker {' '.join(arguments)}`: {reason}")
    return done.stdout
