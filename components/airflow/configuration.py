"""The configuration of an environment's Airflow: its options, and its log levels in CloudWatch."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_aws as aws
from bluegreen.timeline import Colour

from components.config.settings import Settings
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
    settings: Settings, colour: Colour, names: Names, lineage_bucket: pulumi.Input[str]
) -> dict[str, pulumi.Input[str]]:
    """Airflow's configuration options, complete from the first deployment on, in every mode.

    A later change would be an environment update of 20-30 minutes.
    """
    transport = {
        "type": "bluegreen.transport.LineageLogTransport",
        "bucket": lineage_bucket,
        "prefix": EVENTS,
    }
    secrets = {
        "connections_prefix": names.connections_prefix,
        "variables_prefix": names.variables_prefix,
        # Amazon's own default, which these options replace: its own connection costs no request
        "connections_lookup_pattern": "^(?!aws_default$).*$",
        # dags/load_factory.py reads it at each parse: from Airflow's own database, which costs nothing
        "variables_lookup_pattern": "^(?!load_dags$).*$",
        "config_prefix": None,
    }
    return {
        **settings.environment(colour).airflow_options,
        "bluegreen.environment": colour,
        "bluegreen.parameter": names.ownership_parameter,
        "bluegreen.lead_seconds": f"{settings.switch_lead_seconds:g}",
        "bluegreen.max_age_seconds": "300",
        "bluegreen.wait_seconds": "60",
        "openlineage.namespace": settings.namespace(colour),
        "openlineage.transport": pulumi.Output.json_dumps(transport),
        "secrets.backend": SECRETS_BACKEND,
        "secrets.backend_kwargs": json.dumps(secrets),
        # Their defaults differ between Airflow 2 and 3: an upgrade would shift the data intervals.
        "scheduler.create_cron_data_intervals": "True",
        "scheduler.catchup_by_default": "False",
    }


def airflow_logging() -> aws.mwaa.EnvironmentLoggingConfigurationArgs:
    """Every log of the environment, each at its level."""
    types = {
        "dag_processing": aws.mwaa.EnvironmentLoggingConfigurationDagProcessingLogsArgs,
        "scheduler": aws.mwaa.EnvironmentLoggingConfigurationSchedulerLogsArgs,
        "task": aws.mwaa.EnvironmentLoggingConfigurationTaskLogsArgs,
        "webserver": aws.mwaa.EnvironmentLoggingConfigurationWebserverLogsArgs,
        "worker": aws.mwaa.EnvironmentLoggingConfigurationWorkerLogsArgs,
    }
    logs: dict[str, Any] = {
        f"{kind}_logs": log_type(enabled=True, log_level=LOG_LEVELS[kind]) for kind, log_type in types.items()
    }
    return aws.mwaa.EnvironmentLoggingConfigurationArgs(**logs)
