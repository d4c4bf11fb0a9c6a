"""What one executed run of each DAG of the zoo leaves in the ledger: (task, map index, try, what)."""

from __future__ import annotations

Line = tuple[str | None, int | None, int | None, str]


def _lines(*marks: str) -> list[Line]:
    """Each mark is `task what`, or `task[map index] what`; the try is the first."""
    found: list[Line] = []
    for mark in marks:
        name, what = mark.split(" ", 1)
        task, _, index = name.rstrip("]").partition("[")
        found.append((task, int(index or -1), 1, what))
    return found


def _deferred(task: str) -> list[str]:
    return [f"{task} execute", f"{task} triggered", f"{task} resume"]


EXPECTED: dict[str, list[Line]] = {
    "zoo_rules": [
        *_lines(
            *(f"first {what}" for what in ("before", "execute", "after")),
            *(f"{task} execute" for task in ("always", "all_done", "none_failed", "outer.inner.leaf")),
        ),
        (None, None, None, "dag success"),
    ],
    "zoo_mapped": _lines(
        "make execute",
        *(f"{task}[{i}] execute" for task in ("twice", "literal", "each.leaf") for i in (0, 1)),
        "reduce execute",
    ),
    "zoo_branch": _lines("choose execute", "left execute", "join execute", "circuit execute"),
    "zoo_sensors": _lines(*2 * ["poke poke"], *2 * ["reschedule poke"]),
    "zoo_deferrable": _lines(
        "deferring execute",
        "deferring resume",
        "from_trigger execute",
        "from_trigger resume",
        "from_trigger_mapped[0] execute",
        "from_trigger_mapped[0] resume",
    ),
    "zoo_teardown": _lines("lay execute", "dine execute", "clear execute"),
    "zoo_empty": [(None, None, None, "dag success")],
    "zoo_after_empty": _lines("consume execute"),
    "zoo_producer": _lines("produce execute"),
    "zoo_consumer": _lines("consume execute"),
    "zoo_callbacks": [
        *_lines("flaky execute", "flaky on_retry", "fails execute", "fails on_failure"),
        ("flaky", -1, 2, "execute"),
        *_lines(
            "shorts on_execute", "shorts execute", "shorts on_success", "skips execute", "skips on_skipped"
        ),
        (None, None, None, "dag failure"),
    ],
    "zoo_catchup": _lines("always execute"),
    "zoo_parent": _lines("trigger before"),
    "zoo_child": _lines("only execute"),
    "zoo_templates": _lines("rendered rendered", "rendered execute"),
    "zoo_past": _lines("one execute", "two execute"),
    "zoo_own_ids": [
        *_lines("fails execute"),
        *((None, None, None, what) for what in ("dag failure", "dag paged")),
    ],
    "zoo_partitions": [
        *_lines("only execute"),
        *((None, None, None, what) for what in ("dag success", "dag paged")),
    ],
    "zoo_late": _lines("one execute", "mapped[0] execute", "mapped[1] execute"),
}
"""Runs of these end failed, on purpose."""
FAILING = ("zoo_callbacks", "zoo_own_ids", "zoo_templates")
