"""The errors, each with an exit code that scripts may rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ControlError(Exception):
    """An error that the operator can fix; the message says what, where and how.

    `beside`: what `--json` has beside the message.
    """

    exit_code: ClassVar[int] = 4
    meaning: ClassVar[str] = ""

    def __init__(self, message: str = "", *, beside: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.beside = dict(beside or {})


class CheckFailed(ControlError):  # noqa: N818 - reads as what happened
    exit_code = 1
    meaning = (
        "a check failed, or you answered no: nothing was written (`audit`: there are open findings; "
        "`rehearse`: a proof failed, too; `doctor`: something is wrong)"
    )


class UsageError(ControlError):
    exit_code = 2
    meaning = "the command is invalid: a wrong option, or it does not apply to this stack"


class LostRace(ControlError):  # noqa: N818
    exit_code = 3
    meaning = "another writer was first: that decision stands"


class Unreachable(ControlError):  # noqa: N818
    exit_code = 4
    meaning = "Pulumi or AWS is unreachable, or refused the call"


class Unfinished(ControlError):  # noqa: N818
    exit_code = 5
    meaning = "only part is done, or the outcome is unknown: the message says how to continue"


class Unusable(ControlError):  # noqa: N818
    exit_code = 6
    meaning = "the stack or its ownership parameter cannot be used as it is"


EXIT_CODES: dict[int, str] = {0: "done, or nothing to do"} | {
    error.exit_code: error.meaning
    for error in (CheckFailed, UsageError, LostRace, Unreachable, Unfinished, Unusable)
}


def exit_code_table() -> str:
    """The exit codes as docs/switching.md has them."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["| code | meaning |", "| -- | -- |", *rows])
