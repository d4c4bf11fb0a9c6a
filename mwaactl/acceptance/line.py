"""One line of the doctor: what was looked at, what it shows, and the command that mends it."""

from __future__ import annotations

from typing import Literal

from mwaactl.json_model import Model

# "unknown": nothing showed whether it is well; it is never taken for "pass".
Result = Literal["pass", "warn", "fail", "unknown"]


class Line(Model):
    """`of`: the environment's colour; "" if it is about the stack. `mend`: what to type; "" if nothing."""

    name: str
    of: str = ""
    result: Result
    detail: str
    mend: str = ""
