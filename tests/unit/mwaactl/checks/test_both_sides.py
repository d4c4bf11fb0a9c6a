"""The checks of what must be the same on both sides: files, pools, variables, connections."""

from __future__ import annotations

import io
import json
import os
import zipfile

import pytest

from mwaactl.switching.status import status
from tests.fakes.aws.clients import BLUE, GREEN, FakeClients, deployment
from tests.fakes.aws.errors import client_error
from tests.fakes.mwaactl.checks import dag_answer, outcome, set_dags

BUCKETS = (f"{BLUE}-dags", f"{GREEN}-dags")


# --- the files ---


def put(aws: FakeClients, bucket: str, name: str, content: bytes, etag: str = "", **metadata: str) -> None:
    aws.s3.buckets[bucket].put(f"dags/{name}", content, metadata, etag or None)


def test_equal_files_are_known_by_their_etags(aws: FakeClients) -> None:
    for bucket in BUCKETS:
        put(aws, bucket, "etl.py", b"one")
        aws.s3.buckets[bucket].put("plugins.zip", bucket.encode())
    assert outcome(aws, "same-files") == ("pass", "1 file with the same content in both buckets")
    assert aws.s3.read == []


def test_files_that_differ_or_lie_in_one_bucket_only_fail_with_their_names(aws: FakeClients) -> None:
    blue, green = BUCKETS
    for name, here, there in (("a.py", b"one", b"two"), ("b.py", b"one", b"more"), ("c.py", b"x", b"x")):
        put(aws, blue, name, here)
        put(aws, green, name, there)
    put(aws, blue, "sub/new.py", b"x")
    put(aws, green, "old.py", b"x")
    assert outcome(aws, "same-files") == (
        "fail",
        "different: a.py, b.py; only in green's bucket: old.py; only in blue's bucket: sub/new.py. "
        "Upload the same directory to both: mwaactl dags push --delete",
    )


def test_files_that_came_in_parts_are_compared_by_their_content(aws: FakeClients) -> None:
    blue, green = BUCKETS
    put(aws, blue, "etl.py", b"same", etag="1-2")
    put(aws, green, "etl.py", b"same", etag="9-1")
    assert outcome(aws, "same-files")[0] == "pass"
    put(aws, green, "etl.py", b"else", etag="1-3")
    assert outcome(aws, "same-files")[0] == "fail"


def test_the_digest_that_dags_push_notes_spares_reading_a_file(aws: FakeClients) -> None:
    for bucket, digest in zip(BUCKETS, ("d", "d"), strict=True):
        put(aws, bucket, "etl.py", b"same", etag=bucket, sha256=digest)
    assert outcome(aws, "same-files")[0] == "pass"
    aws.s3.buckets[BUCKETS[0]].metadata["dags/etl.py"] = {"sha256": "other"}
    assert outcome(aws, "same-files")[0] == "fail"
    assert aws.s3.read == []


def test_what_python_leaves_beside_the_files_does_not_count(aws: FakeClients) -> None:
    put(aws, BUCKETS[0], "__pycache__/etl.cpython-312.pyc", b"x")
    assert outcome(aws, "same-files")[0] == "pass"


def test_what_the_program_writes_for_each_side_does_not_count(aws: FakeClients) -> None:
    """The probe names the side's requirements, so it differs while `mwaactl rollout` changes them."""
    for bucket in BUCKETS:
        put(aws, bucket, "bluegreen_probe.py", bucket.encode())
    put(aws, BUCKETS[0], "bluegreen_audit.py", b"x")
    set_dags(aws, BLUE, dag_answer("etl"), dag_answer("bluegreen_audit"))
    set_dags(aws, GREEN, dag_answer("etl"))
    assert outcome(aws, "same-files")[0] == "pass"
    assert outcome(aws, "same-dags")[0] == "pass"


def test_buckets_that_cannot_be_read_are_not_checked(aws: FakeClients) -> None:
    aws.s3.error = client_error("AccessDenied", 403)
    result, detail = outcome(aws, "same-files")
    assert (result, "access denied" in detail) == ("not checked", True)


# --- plugins.zip ---


def deployed(aws: FakeClients, name: str, version: str, content: bytes, etag: str | None = None) -> None:
    """The plugins.zip that Amazon loaded into an environment; the newest one in its bucket is another."""
    bucket = aws.s3.buckets[f"{name}-dags"]
    bucket.put("plugins.zip", b"not deployed")
    bucket.versions["plugins.zip", version] = content
    if etag is not None:
        bucket.etags[f"plugins.zip?{version}"] = etag
    aws.mwaa.environments[name]["PluginsS3ObjectVersion"] = version


def test_the_plugins_that_are_deployed_must_be_the_same(aws: FakeClients) -> None:
    deployed(aws, BLUE, "old", b"gate 1")
    deployed(aws, GREEN, "new", b"gate 1")
    assert outcome(aws, "same-plugins") == ("pass", "the same plugins.zip is deployed on green and blue")
    assert aws.s3.read == [], "equal by their ETags"
    for other in (b"gate 2", b"a longer gate"):
        deployed(aws, GREEN, "new", other)
        result, detail = outcome(aws, "same-plugins")
        assert (result, "mwaactl rollout" in detail) == ("fail", True)


def test_plugins_are_compared_by_content_where_etags_are_no_digests(aws: FakeClients) -> None:
    deployed(aws, BLUE, "old", b"gate 1", etag="kms-1")
    deployed(aws, GREEN, "new", b"gate 1", etag="kms-2")
    assert outcome(aws, "same-plugins")[0] == "pass"
    deployed(aws, GREEN, "new", b"gate 2", etag="kms-3")
    assert outcome(aws, "same-plugins")[0] == "fail"


def archive(gate: bytes, **wheels: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as whole:
        whole.writestr("bluegreen/gate.py", gate)
        for name, content in wheels.items():
            whole.writestr(f"{name}-1-py3-none-any.whl", content)
            whole.writestr("constraints.txt", f"{name}==1")
    return packed.getvalue()


def test_each_side_may_have_wheels_of_its_own_and_no_other_gate(aws: FakeClients) -> None:
    wheel = os.urandom(2_000_000)
    deployed(aws, BLUE, "old", archive(b"gate 1"))
    deployed(aws, GREEN, "new", archive(b"gate 1", provider=wheel))
    assert outcome(aws, "same-plugins")[0] == "pass"
    assert len(aws.s3.read) < 8, "of each the list of its files, in a few parts"
    deployed(aws, BLUE, "old", archive(b"gate 1", provider=wheel[::-1]))
    assert outcome(aws, "same-plugins")[0] == "pass"
    deployed(aws, BLUE, "old", archive(b"gate 2", provider=wheel))
    assert outcome(aws, "same-plugins")[0] == "fail"


def test_an_environment_without_plugins_fails_by_name(aws: FakeClients) -> None:
    for field in ("PluginsS3Path", "PluginsS3ObjectVersion"):
        del aws.mwaa.environments[GREEN][field]
    result, detail = outcome(aws, "same-plugins")
    assert (result, detail.startswith("green has no plugins.zip")) == ("fail", True)


def test_plugins_of_no_version_are_the_newest(aws: FakeClients) -> None:
    deployed(aws, GREEN, "new", b"gate 1")
    deployed(aws, BLUE, "old", b"gate 1")
    del aws.mwaa.environments[BLUE]["PluginsS3ObjectVersion"]
    assert outcome(aws, "same-plugins")[0] == "fail"
    aws.s3.buckets[BUCKETS[0]].put("plugins.zip", b"gate 1")
    assert outcome(aws, "same-plugins")[0] == "pass"


def test_plugins_that_are_gone_or_an_environment_that_is_not_reported_are_not_checked(
    aws: FakeClients,
) -> None:
    aws.mwaa.environments[GREEN]["PluginsS3ObjectVersion"] = "expired"
    assert outcome(aws, "same-plugins")[0] == "not checked"
    del aws.mwaa.environments[GREEN]
    result, detail = outcome(aws, "same-plugins")
    assert (result, GREEN in detail or "same reason" in detail) == ("not checked", True)


# --- pools, variables, connections ---


def pools(aws: FakeClients, name: str, **slots: int) -> None:
    answers = [{"name": pool, "slots": count} for pool, count in slots.items()]
    aws.mwaa.airflow[name]["/pools"] = {"pools": answers, "total_entries": len(answers)}


def test_pools_that_the_target_lacks_or_has_in_another_size_fail_and_name_sync(aws: FakeClients) -> None:
    pools(aws, BLUE, default_pool=128, etl=4, api=2)
    pools(aws, GREEN, default_pool=64, etl=4, own=1)
    assert outcome(aws, "pools") == (
        "fail",
        "not on green: api; different size: default_pool. Add --sync to copy blue's pools",
    )


def test_pools_that_only_the_target_has_do_not_matter(aws: FakeClients) -> None:
    pools(aws, GREEN, default_pool=128, own=1)
    assert outcome(aws, "pools") == ("pass", "green has blue's 1 pool")


def variables(aws: FakeClients, name: str, **values: str) -> None:
    answers = [{"key": key, "value": value} for key, value in values.items()]
    aws.mwaa.airflow[name]["/variables"] = {"variables": answers, "total_entries": len(answers)}


def test_variables_that_differ_fail_by_name_and_never_show_a_value(aws: FakeClients) -> None:
    variables(aws, BLUE, mark="s3cret-1", here="s3cret-2", same="s3cret-3")
    variables(aws, GREEN, mark="s3cret-4", there="s3cret-5", same="s3cret-3")
    result, detail = outcome(aws, "variables")
    assert result == "fail"
    assert "with different values: mark; only on green: there; only on blue: here." in detail
    report = status(deployment(aws))
    for shown in (json.dumps(report.model_dump(mode="json")), repr(report), str(report)):
        assert "mark" in shown
        assert "s3cret" not in shown


def test_variables_that_are_equal_now_warn(aws: FakeClients) -> None:
    for name in (BLUE, GREEN):
        variables(aws, name, mark="7", token="***")
    result, detail = outcome(aws, "variables")
    assert result == "warn"
    assert "equal on both sides now: mark, token." in detail
    assert "Airflow hides the values of token" in detail


def test_no_variables_outside_the_shared_backend_pass(aws: FakeClients) -> None:
    assert outcome(aws, "variables")[0] == "pass"


def connections(aws: FakeClients, name: str, *ids: str) -> None:
    answers = [{"connection_id": connection_id} for connection_id in ids]
    aws.mwaa.airflow[name]["/connections"] = {"connections": answers, "total_entries": len(answers)}


@pytest.mark.parametrize(
    ("blue", "green", "result", "named"),
    [
        ([], [], "pass", "none"),
        (["warehouse"], [], "fail", "only on blue: warehouse"),
        (["warehouse"], ["warehouse"], "warn", "on both sides: warehouse"),
        (["aws_default", "airflow_db"], [], "pass", "none"),  # Airflow 2 makes its own
    ],
)
def test_connections_are_compared_by_id(
    aws: FakeClients, blue: list[str], green: list[str], result: str, named: str
) -> None:
    connections(aws, BLUE, *blue)
    connections(aws, GREEN, *green)
    actual, detail = outcome(aws, "connections")
    assert (actual, named in detail) == (result, True)


@pytest.mark.parametrize("name", ["pools", "variables", "connections"])
@pytest.mark.parametrize("side", [BLUE, GREEN])
def test_what_one_side_does_not_report_is_not_checked(aws: FakeClients, name: str, side: str) -> None:
    aws.mwaa.airflow[side][f"/{name}"] = client_error("InternalServerException", 500)
    result, detail = outcome(aws, name)
    assert (result, side in detail) == ("not checked", True)
