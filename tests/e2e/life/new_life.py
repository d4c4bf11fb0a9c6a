"""A new life of a side, replaced or added again: it makes its history, and then it owns the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.e2e.life.story import DRAINED, Story, due, findings
from tests.e2e.load.twins import Answer, wait_for


@dataclass(frozen=True)
class NewLife:
    story: Story
    colour: str
    created: datetime
    mirrors: int  # runs that it made at least of what it did not own
    audit: Answer  # while it stood by
    since: datetime  # it owned from then on
    after: Answer  # an audit

    def assert_it_executed_nothing_of_the_old_one(self) -> None:
        new = [x for x in self.story.lines() if x.colour == self.colour and x.at > self.created]
        assert [line for line in new if line.due < self.since] == []
        assert new, f"the new {self.colour} was to execute something after the switch"

    def assert_each_run_was_executed_once(self) -> None:
        counts = Counter((line.dag, line.due) for line in self.story.lines(what="done"))
        assert [key for key, count in counts.items() if count > 1] == []
        executed = {instant for dag, instant in counts if dag == "history"}
        first = self.story.origins["lives"] + timedelta(seconds=30)
        assert set(due(first, self.since, 30)) <= executed

    def assert_its_audits_say_nothing_false(self) -> None:
        for answer in (self.audit, self.after):
            assert findings(answer) == []
            assert answer.code == 0


def begin(
    story: Story,
    colour: str,
    dags: Collection[str],
    mirrored: Collection[str],
    expected: Callable[[], int],
    **settings: object,
) -> NewLife:
    """Deploy these settings, wait until `colour` has made its history, and switch to it.

    That is, more runs of `mirrored` than were `expected` when both sides had read `dags`.
    """
    created = datetime.now(UTC)
    done = story.deploy(**settings)
    assert done.code == 0, done.out + done.err
    story.push_waves()
    story.restart(colour)
    story.await_dags(*dags, seconds=90)
    count = expected()

    def caught_up() -> bool:
        runs = [run for dag in mirrored for run in story.runs(colour, dag)]
        return len(runs) > count and all(run["state"] in ("success", "failed") for run in runs)

    wait_for(caught_up, f"the new {colour} has made its history", 240)
    audit = story.audit("--since", "1h")
    switch = story.switch(colour, "--wait", "--timeout", f"{DRAINED:.0f}").answer(DRAINED + 60)
    assert switch.code == 0, switch.out + switch.err
    since = datetime.fromisoformat(switch.json["owns_from"])

    def works() -> bool:
        return {"history", "newest"} <= {line.dag for line in story.lines(what="done") if line.due > since}

    wait_for(works, "runs after the switch", 90)
    return NewLife(story, colour, created, count, audit, since, story.audit("--since", "1h"))
