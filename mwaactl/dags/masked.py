"""Requirements as they may be shown: the address of an index may have a password in it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

USERINFO = re.compile(r"(?<=://)(?:[^\s/]*|[^\s/@:]+:(?!\d+/)[^\s'\"]*)@")


def masked(text: str) -> str:
    """The text without the users and passwords of its addresses."""
    return USERINFO.sub("****@", text)


Masked = Annotated[str, AfterValidator(masked)]
