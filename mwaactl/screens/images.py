"""The container images on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from mwaactl.images import Image, Images


def show_images(console: Console, result: Images) -> None:
    for image in result.images:
        console.print(f"{escape(image.setting)}: {escape(image.tagged)}", highlight=False, soft_wrap=True)
        console.print(f"  {image.digest} ({_news(image)})", highlight=False, soft_wrap=True)
        if image.copied_to is not None:
            console.print(f"  copied to {escape(image.copied_to)}", highlight=False, soft_wrap=True)
    if any(image.digest != image.before for image in result.images):
        option = f" -s {result.stack}" if result.stack else ""
        console.print(f"Deploy it (new nodes replace the old ones): pulumi up{option}", highlight=False)


def _news(image: Image) -> str:
    if image.before is None:
        return "written into the stack's settings"
    return "as in the stack's settings" if image.before == image.digest else f"was {image.before}"
