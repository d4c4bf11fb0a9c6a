"""What can go wrong, each with the exit code that scripts may rely on.

| code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | a check failed, or the question was answered with no: nothing was written; `audit`: it found something |
| 2 | the command cannot be meant like that |
| 3 | another writer was first: its decision stands |
| 4 | Pulumi or AWS cannot be reached, or refused |
| 5 | only part was done, or it is not known whether: the message says how to go on |
| 6 | the stack or its ownership parameter is not usable as it is |
"""

from __future__ import annotations

from typing import ClassVar


class ControlError(Exception):
    """Something the operator can put right; the text says what, where and how."""

    exit_code: ClassVar[int] = 4


class CheckFailed(ControlError):  # noqa: N818 - reads as what happened
    exit_code = 1


class UsageError(ControlError):
    exit_code = 2


class LostRace(ControlError):  # noqa: N818
    exit_code = 3


class Unreachable(ControlError):  # noqa: N818
    exit_code = 4


class Unfinished(ControlError):  # noqa: N818
    exit_code = 5


class Unusable(ControlError):  # noqa: N818
    exit_code = 6
