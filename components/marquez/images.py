"""The container images of a node: where it pulls them from, and what it needs to be allowed for that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from components.config.settings import Settings

# A private registry of Amazon ECR: account, region, domain, repository.
ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)")


@dataclass(frozen=True, kw_only=True)
class Images:
    """The references that a node pulls: by digest where the setting has one, else by tag."""

    marquez: str
    web: str
    postgres: str

    @classmethod
    def of(cls, settings: Settings) -> Images:
        registry = settings.marquez_image_registry
        return cls(
            marquez=pulled(settings.marquez_image, registry),
            web=pulled(settings.marquez_web_image, registry),
            postgres=pulled(settings.postgres_image, registry),
        )

    def repositories(self, partition: str) -> Iterator[str]:
        """The ARNs of those that lie in Amazon ECR."""
        for image in (self.marquez, self.web, self.postgres):
            if found := ECR.match(image):
                account, region, repository = found.groups()
                yield f"arn:{partition}:ecr:{region}:{account}:repository/{repository}"


def pulled(image: str, registry: str | None) -> str:
    """`docker.io/marquezproject/marquez:0.51.1` with the registry `r/mirror`: `r/mirror/marquez:0.51.1`.

    A digest goes before the tag: with both, what the tag means would not matter.
    """
    name, _, digest = image.partition("@")
    repository, _, tag = name.rpartition(":")
    if registry is not None:
        repository = f"{registry}/{repository.rpartition('/')[2]}"
    return f"{repository}@{digest}" if digest else f"{repository}:{tag}"


def without_digest(settings: Settings) -> list[str]:
    """The settings of images that name none, and so may mean another image tomorrow."""
    keys = ["marquez_image", "marquez_web_image"]
    if not settings.enable_ha_marquez:
        keys.append("postgres_image")
    return [key for key in keys if "@" not in getattr(settings, key)]
