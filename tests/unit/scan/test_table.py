"""The table of failing checks is held against what fails."""

from __future__ import annotations

from typing import get_type_hints

from components.config import allowed_values as types
from components.config.settings import Settings
from tests.scan.__main__ import COMPLETE, EVERY_SETTING, GUIDE
from tests.scan.scanner import Finding
from tests.scan.table import Row, problems, rows

LOGGING = Finding("standard", "CKV_AWS_18", "aws_s3_bucket.log", "Ensure logging")
ROW = Row("CKV_AWS_18", "aws_s3_bucket.*", (), "no need")
BY_SETTING = Row("CKV_AWS_18", "aws_s3_bucket.*", ("create_kms_key",), "costs")
ALL = {"all": {"create_kms_key": True}}


def test_a_row_can_name_several_resources_and_settings() -> None:
    row = "| `CKV_AWS_18` | `aws_s3_bucket.a`, `aws_s3_bucket.b` | `x` and `y` | because |"
    assert rows(f"# Title\n\n{row}\n") == [
        Row("CKV_AWS_18", f"aws_s3_bucket.{bucket}", ("x", "y"), "because") for bucket in "ab"
    ]


def test_what_fails_and_is_in_the_table_is_no_problem() -> None:
    assert list(problems([ROW], [LOGGING], ALL)) == []
    assert list(problems([BY_SETTING], [LOGGING], ALL)) == []


def test_what_fails_without_a_row_is_a_problem() -> None:
    other = Row("CKV_AWS_18", "aws_s3_bucket.other", (), "no need")
    elsewhere = Finding("standard", "CKV_AWS_18", "aws_s3_bucket.other")
    (problem,) = problems([other], [LOGGING, elsewhere], ALL)
    assert problem == (
        "CKV_AWS_18 fails in standard on aws_s3_bucket.log, and no row of the table says why: Ensure logging"
    )


def test_a_row_about_what_does_not_fail_is_a_problem() -> None:
    assert list(problems([ROW], [], ALL)) == [
        "CKV_AWS_18 is in the table for aws_s3_bucket.*, but it does not fail"
    ]


def test_a_setting_that_does_not_make_the_check_pass_is_a_problem() -> None:
    with_all = Finding("all", "CKV_AWS_18", "aws_s3_bucket.log")
    (problem,) = problems([BY_SETTING], [LOGGING, with_all], ALL)
    assert problem.endswith("although it has create_kms_key")
    assert list(problems([BY_SETTING, ROW], [LOGGING, with_all], ALL)) == []


def test_a_row_needs_a_reason_and_a_setting_that_is_scanned() -> None:
    row = Row("CKV_AWS_18", "aws_s3_bucket.*", ("vpc_cidr",), "")
    without, not_set = problems([row], [LOGGING], ALL)
    assert "without a reason" in without
    assert "names vpc_cidr, which the scan does not set" in not_set


def test_the_guide_has_rows_and_each_setting_in_them_exists() -> None:
    table = rows(GUIDE.read_text())
    assert len(table) > 20
    assert {setting for row in table for setting in row.settings} <= Settings.model_fields.keys()


def test_every_switch_is_turned_on_in_the_scan() -> None:
    hints = get_type_hints(Settings, include_extras=True)
    switches = {name for name in Settings.model_fields if hints[name] == types.Switch}
    for settings in COMPLETE.values():
        assert switches <= settings.keys()
    assert all(EVERY_SETTING.values())
