"""The configuration of an environment's Airflow: its options, and its log levels in CloudWatch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from bluegreen.timeline import Colour

from components.config.settings import EnvironmentSettings, Settings
from components.lineage_log import EVENTS
from components.ownership import Names

LOG_LEVELS = {
    "dag_processing": "WARNING",
    "scheduler": "INFO",
    "task": "INFO",
    "webserver": "WARNING",
    "worker": "WARNING",
}
SECRETS_BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"


def airflow_options(
    settings: Settings,
    colour: Colour,
    names: Names,
    *,
    lineage_bucket: pulumi.Input[str],
    life: pulumi.Input[str],
) -> dict[str, pulumi.Input[str]]:
    """Airflow's configuration options, complete from the first deployment on, in every mode.

    A later change would be an environment update of 20-30 minutes. `lineage_bucket`: the lineage log's, which
    also has what does not fit into the ownership parameter; `life`: the environment's.
    """
    secrets = {
        "connections_prefix": names.connections_prefix,
        "variables_prefix": names.variables_prefix,
        # dags/load_factory.py reads it at each parse: from Airflow's own database, which costs nothing
        "variables_lookup_pattern": "^(?!load_dags$).*$",
    }
    # Amazon's own default, which these options replace: its own connection costs no request. Where secrets
    # were before the stack, that connection may be one of them, and tasks would run with other credentials.
    if settings.connections_prefix is None:
        secrets["connections_lookup_pattern"] = "^(?!aws_default$).*$"
    own = settings.environment(colour)
    return {
        **own.airflow_options,
        "bluegreen.environment": colour,
        "bluegreen.life": life,
        "bluegreen.parameter": names.ownership_parameter,
        "bluegreen.bucket": lineage_bucket,
        "bluegreen.max_age_seconds": "60",
        "bluegreen.wait_seconds": "60",
        "bluegreen.hosts": str(own.max_workers + own.schedulers),
        **_openlineage(settings, colour, lineage_bucket),
        "secrets.backend": SECRETS_BACKEND,
        "secrets.backend_kwargs": json.dumps(secrets),
        # Their defaults differ between Airflow 2 and 3: an upgrade would shift the data intervals.
        "scheduler.create_cron_data_intervals": str(settings.create_cron_data_intervals),
        "scheduler.catchup_by_default": str(settings.catchup_by_default),
        # The same on both sides, or a new DAG would run on one and wait on the other.
        "core.dags_are_paused_at_creation": str(settings.is_paused_upon_creation),
    }


def airflow_logging(own: EnvironmentSettings) -> dict[str, dict[str, Any]]:
    """Every log of the environment, each at its level."""
    levels: dict[str, str] = LOG_LEVELS | dict(own.log_levels)
    return {f"{kind}_logs": {"enabled": True, "log_level": level} for kind, level in levels.items()}


def _openlineage(
    settings: Settings, colour: Colour, bucket: pulumi.Input[str]
) -> dict[str, pulumi.Input[str]]:
    if settings.lineage == "none":
        return {"openlineage.disabled": "True"}
    transport = {"type": "bluegreen.transport.LineageLogTransport", "bucket": bucket, "prefix": EVENTS}
    return {"openlineage.namespace": settings.namespace(colour), "openlineage.transport": _json(transport)}


def _json(value: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """Plain text, unless a part of it is not known yet."""
    if any(isinstance(part, pulumi.Output) for part in value.values()):
        return pulumi.Output.json_dumps(value)
    return json.dumps(value)
