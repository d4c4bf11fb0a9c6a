"""Which modules are mutated, and which tests have to notice it."""

from __future__ import annotations

from typing import NamedTuple

# Tests that take more than a second, or are many: `--quick` leaves them to `--again`.
SLOW = (
    *("test_guard", "test_races", "test_every_dag_of_a_large_shop", "test_a_command_killed_at_any_call"),
    *("test_killed_at_any_call", "test_nothing_overlaps_itself", "test_retries_in_an_outage_do_not_add_up"),
    *("test_the_largest_environments", "test_throttling_delays_tasks", "test_timeline_model"),
)


class Target(NamedTuple):
    """A module, and the test files that say what it must do."""

    path: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2].removesuffix(".py")

    @property
    def module(self) -> str:
        return self.path.removeprefix("plugins/").removesuffix(".py").replace("/", ".")


def _target(path: str, *tests: str) -> Target:
    return Target(path, tuple(f"tests/unit/{test}.py" for test in tests))


TARGETS = (
    _target(
        "plugins/bluegreen/timeline.py",
        "plugins/test_timeline",
        "plugins/test_claims",
        "plugins/test_folding",
        "plugins/test_timeline_model",
        "plugins/test_lives_model",
        "plugins/test_document",
        "plugins/test_gate",
        "plugins/test_appearing_dags",
        "mwaactl/switching/test_books",
        "mwaactl/switching/test_single_dags",
        "mwaactl/switching/test_write",
        "mwaactl/ownership/test_races",
        "components/test_guard",
    ),
    _target(
        "plugins/bluegreen/document.py",
        "plugins/test_document",
        "plugins/test_lives_model",
        "plugins/test_store_objects",
        "plugins/test_store_requests",
        "mwaactl/switching/test_write",
        "mwaactl/ownership/test_races",
        "components/test_ownership",
    ),
    # not test_timeline_model: it takes a minute for each mutant
    _target(
        "plugins/bluegreen/store.py",
        "plugins/test_store",
        "plugins/test_store_hanging",
        "plugins/test_store_objects",
        "plugins/test_store_requests",
        "plugins/test_store_waiting",
        "plugins/test_aws",
        "plugins/test_gate",
        "plugins/test_routes",
    ),
    _target("plugins/bluegreen/gate.py", "plugins/test_gate", "plugins/test_appearing_dags"),
    _target(
        "mwaactl/switching/held_dags.py",
        "mwaactl/switching/test_held_dags",
        "mwaactl/switching/test_activity",
        "mwaactl/switching/test_together",
        "mwaactl/switching/test_past",
        "mwaactl/switching/test_books",
        "mwaactl/switching/test_drain",
        "mwaactl/switching/test_single_dags",
        "mwaactl/switching/test_write",
        "mwaactl/checks/test_serial",
    ),
    _target(
        "mwaactl/switching/drain.py",
        "mwaactl/switching/test_drain",
        "mwaactl/switching/test_drain_end",
        "mwaactl/switching/test_drain_mirrors",
        "mwaactl/switching/test_held_dags",
        "mwaactl/switching/test_books",
        "mwaactl/switching/test_known",
        "mwaactl/switching/test_mirrors",
        "mwaactl/switching/test_single_dags",
        "mwaactl/switching/test_past",
        "mwaactl/switching/test_together",
    ),
    _target(
        "mwaactl/switching/books.py",
        "mwaactl/switching/test_books",
        "mwaactl/switching/test_known",
        "mwaactl/switching/test_drain",
    ),
    _target(
        "mwaactl/recovery/audit.py",
        "mwaactl/recovery/test_audit",
        "mwaactl/recovery/test_audit_limits",
        "mwaactl/recovery/test_audit_evidence",
    ),
    _target(
        "mwaactl/recovery/verdict.py",
        "mwaactl/recovery/test_verdict",
        "mwaactl/recovery/test_audit",
        "mwaactl/recovery/test_audit_evidence",
    ),
)
