"""The commands for the container images of Marquez's nodes. They work before the stack is deployed."""

from __future__ import annotations

from typing import Annotated

import typer

from mwaactl.cli.finish import finish
from mwaactl.cli.options import CwdOption, JsonOption, StackOption
from mwaactl.cli.session import aws_profile, busy, session

images_app = typer.Typer(help="The container images of Marquez's nodes.", no_args_is_help=True)

RenewOption = Annotated[
    bool, typer.Option("--renew", help="Take what the tags mean now, also where it is another image.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `mwaactl`."""
    app.add_typer(images_app, name="images")


@images_app.command(short_help="Write the images' digests into the stack's settings.")
def pin(
    stack: StackOption = None,
    cwd: CwdOption = None,
    renew: RenewOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the digest of each image into the stack's settings, or verify that its tag still has it."""
    from mwaactl.images import StackConfig
    from mwaactl.images import pin as pin_all
    from mwaactl.screens.images import show_images

    with session(as_json):
        with busy("Asking the registries", as_json):
            result = pin_all(StackConfig.of(stack, cwd), renew=renew)
        finish(result, show_images, as_json=as_json)


@images_app.command(short_help="Copy the images to the registry of the stack's settings.")
def mirror(
    stack: StackOption = None,
    cwd: CwdOption = None,
    renew: RenewOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the images to `marquez_image_registry`, and write their digests into the stack's settings.

    In Amazon ECR, it creates the repositories and logs in. For another registry, log in with docker first.
    """
    from mwaactl.images import StackConfig
    from mwaactl.images import mirror as mirror_all
    from mwaactl.screens.images import show_images

    with session(as_json):
        with busy("Copying the images", as_json):
            result = mirror_all(StackConfig.of(stack, cwd), aws_profile.get(), renew=renew)
        finish(result, show_images, as_json=as_json)
