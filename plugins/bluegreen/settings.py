"""The gate's settings: the `bluegreen.*` options of Airflow's configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Final

from bluegreen.timeline import COLOURS

MAX_AGE: Final = timedelta(minutes=1)  # of a copy of the timeline
RECENT: Final = timedelta(seconds=5)  # the same, for what may change its owner: open books, cleared runs


class SettingsError(RuntimeError):
    """The `bluegreen.*` options are missing or invalid; retrying does not help."""


@dataclass(frozen=True)
class Settings:
    """The gate's options.

    `environment` is this one's colour, `life` the identifier that it was born with; `parameter` and `bucket`
    are where the ownership timeline stands. `max_age` limits the age of a copy of it; `wait` limits how long
    a task waits for a verdict; `hosts` is the greatest number of workers and schedulers, which share what the
    environment may ask of SSM.
    """

    environment: str
    life: str
    parameter: str
    bucket: str
    max_age: timedelta = MAX_AGE
    wait: timedelta = timedelta(minutes=1)
    hosts: int = 30  # the most that Amazon MWAA has


@cache
def load() -> Settings:
    """The settings of this process. Raises SettingsError naming the option and its allowed values."""
    environment = _option("environment")
    if environment not in COLOURS:
        problem = f"is {environment!r}, not blue or green" if environment else "is not set"
        raise SettingsError(
            f"bluegreen.environment (AIRFLOW__BLUEGREEN__ENVIRONMENT) {problem}: the gate cannot tell which "
            "runs are its own, so no task may run. The Pulumi program sets the bluegreen.* options; to run "
            "Airflow without it, remove airflow_local_settings.py and bluegreen* from the plugins folder"
        )
    default = Settings(
        environment,
        life=_needed("life", "it identifies this environment among those that had the same name"),
        parameter=_needed("parameter", "it names the SSM parameter that records who owns which runs"),
        bucket=_needed("bucket", "it names the S3 bucket that holds what the parameter has no room for"),
    )
    return replace(
        default,
        max_age=_seconds("max_age_seconds", default.max_age),
        wait=_seconds("wait_seconds", default.wait),
        hosts=_hosts(default.hosts),
    )


def _needed(name: str, meaning: str) -> str:
    if value := _option(name):
        return value
    raise SettingsError(
        f"bluegreen.{name} (AIRFLOW__BLUEGREEN__{name.upper()}) is not set: {meaning}. The Pulumi program "
        "sets the bluegreen.* options: pulumi up"
    )


def _option(name: str) -> str:
    value = os.environ.get(f"AIRFLOW__BLUEGREEN__{name.upper()}")
    if value is None:
        # airflow.cfg, if the options are not environment variables; only Airflow loads this package
        from airflow.configuration import conf

        value = conf.get("bluegreen", name, fallback="")
    return (value or "").strip()


def _seconds(name: str, default: timedelta) -> timedelta:
    text = _option(name)
    try:
        seconds = float(text) if text else default.total_seconds()
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise SettingsError(f"bluegreen.{name} must be a number of seconds from 0 to 86400, not {text!r}")
    return timedelta(seconds=seconds)


def _hosts(default: int) -> int:
    text = _option("hosts")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise SettingsError(f"bluegreen.hosts must be a whole number from 1 to 1000, not {text!r}")
    return int(text)
