"""What stands for the copying of final states to mirrors."""

from __future__ import annotations

from typing import Any

from mwaactl.switching.mirrors import MirrorResult


class FakeMirrorCopy:
    """Stands for `copy_final_states`: gives `answers` one by one, and then two copied runs."""

    def __init__(self, *answers: MirrorResult | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []

    def __call__(self, source: Any, target: Any, **asked: Any) -> MirrorResult:
        self.calls.append({"source": source.name, "target": target.name, **asked})
        asked["progress"](1, 2)
        answer = self.answers.pop(0) if self.answers else MirrorResult(copied=2, already=0, left=())
        if isinstance(answer, Exception):
            raise answer
        return answer
