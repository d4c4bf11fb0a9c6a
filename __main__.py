"""Amazon MWAA with OpenLineage/Marquez: the whole architecture, top to bottom."""

import json

import pulumi

from components.airflow.adoption import held
from components.airflow.definition import deployed_bucket, planned
from components.airflow.gate_alarms import GateAlarms, GateAlarmsArgs
from components.airflow.lost_lineage import LostLineage, LostLineageArgs
from components.airflow.mwaa import Mwaa, MwaaArgs
from components.airflow.nightly_audit import NightlyAudit, NightlyAuditArgs
from components.config.settings import Settings
from components.existing import network_and_zones
from components.guard import environments_of, guard, previous_outputs
from components.key import key_of_the_stack
from components.left_alone import left_alone, refusal
from components.lineage_log import LineageLog, LineageLogArgs
from components.marquez.back_end import MarquezArgs
from components.marquez.of_the_stack import marquez_of_the_stack
from components.monitoring.monitoring import Monitoring, MonitoringArgs
from components.monitoring.topic import AlarmTopic, AlarmTopicArgs
from components.network import Network, NetworkArgs, check_way_out
from components.operator_policies import Operated, auditor, operator_policies
from components.ownership import INITIAL_OWNER, Names, Ownership, OwnershipArgs
from components.partition import Partition
from components.second_look import kept_with_work, second_look
from components.sizing import warn_of_small_sizes
from components.tagging import tag_everything
from components.traffic_logs import access_logs_of_the_stack, traffic_logs_of_the_stack

settings = Settings.load()
names = Names.of(settings)
tag_everything(settings.all_tags)

# The guard runs first: nothing is registered if that would take away the environment that owns the work.
previous = previous_outputs()
own, zones = network_and_zones(settings, previous)
existing = environments_of(previous)
plans = {colour: planned(settings, colour, names, zones, existing.get(colour)) for colour in settings.colours}
check_way_out(settings, zones, previous, plans)
alone = left_alone()
# An adopted environment that has no gate yet stays as it is.
untouched = held(settings, existing)
plans |= {
    colour: {**plans[colour], "deployed": existing[colour]["deployed"]}
    for colour in untouched & existing.keys()
}
# The engine keeps every resource of a side that it leaves alone, so what they stand on must stay, too: the
# bucket is the one in use, whatever the settings say. A preview shows what they ask for.
buckets = {colour: settings.environment(colour).dags_bucket for colour in settings.colours}
if not pulumi.runtime.is_dry_run():
    buckets |= {colour: deployed_bucket(existing[colour]) for colour in alone & existing.keys() - untouched}
judged = guard(settings, previous, plans, alone)
refusals = {colour: refusal(colour, settings.stack) for colour in alone}
refusals |= {
    colour: second_look(colour, previous, settings.stack) for colour in judged.idle & {*settings.colours}
}
warn_of_small_sizes(settings, previous)

key = key_of_the_stack(settings)
traffic_logs = traffic_logs_of_the_stack(settings)
access_logs = access_logs_of_the_stack(settings, traffic_logs)
access_log = None if access_logs is None else access_logs.of_buckets
network = Network(
    "network", NetworkArgs(settings=settings, availability_zones=zones, own=own, traffic_logs=traffic_logs)
)
lineage_log = LineageLog(
    "lineage-log",
    LineageLogArgs(name=settings.name, settings=settings, kms_key_arn=key, access_log=access_log),
)

topic = AlarmTopic("alarms", AlarmTopicArgs(settings=settings, ownership_parameter=names.ownership_parameter))

# Airflow and Marquez depend on the lineage log only, not on each other: they are created in parallel.
marquez = marquez_of_the_stack(
    MarquezArgs(
        name=settings.name,
        region=settings.region,
        settings=settings,
        vpc_id=network.vpc_id,
        vpc_cidrs=network.cidrs,
        private_subnet_ids=network.private_subnet_ids,
        availability_zones=zones,
        lineage_log=lineage_log,
        kms_key_arn=key,
        access_logs=access_logs,
        aurora_version_kept=previous.get("aurora_version") == settings.aurora_version,
        topics=topic.arns,
    )
)
airflow = {
    colour: Mwaa(
        f"mwaa-{colour}",
        MwaaArgs(
            settings=settings,
            colour=colour,
            names=names,
            plan=plans[colour],
            vpc_id=network.vpc_id,
            private_subnet_ids=network.private_subnet_ids,
            reached_through=network.endpoints,
            lineage_log=lineage_log,
            kms_key_arn=key,
            access_log=access_log,
            dags_bucket=buckets[colour],
            previous_life=existing.get(colour, {}).get("life"),
            updated=colour in judged.updated,
            refusal=refusals.get(colour),
            held=colour in untouched,
        ),
    )
    for colour in settings.colours
}
gate = GateAlarms(
    "gate",
    GateAlarmsArgs(
        settings=settings,
        task_logs={colour: environment.task_log for colour, environment in airflow.items()},
        topics=topic.arns,
    ),
)
lost = (
    LostLineage(
        "lineage-lost",
        LostLineageArgs(
            settings=settings,
            logs={
                f"{colour}-{role}": log
                for colour, environment in airflow.items()
                for role, log in (("tasks", environment.task_log), ("scheduler", environment.scheduler_log))
            },
            topics=topic.arns,
        ),
    )
    if settings.lineage != "none"
    else None
)
monitoring = (
    Monitoring(
        "monitoring",
        MonitoringArgs(
            settings=settings,
            topics=topic.arns,
            environments={colour: environment.outputs["name"] for colour, environment in airflow.items()},
            ungated=gate.ungated,
            reports=gate.reports,
            unproven=gate.unproven,
            lost=lost.events if lost else None,
            watched=marquez.watched if marquez else None,
            lineage_log_bucket=lineage_log.bucket,
        ),
    )
    if settings.enable_monitoring
    else None
)
ownership = Ownership(
    "ownership", OwnershipArgs(names=names, life=airflow[INITIAL_OWNER].life.value, lead=settings.lead)
)
partition = Partition.current()
operated = pulumi.Output.all(
    environments={colour: environment.outputs for colour, environment in airflow.items()},
    lineage_log_bucket=lineage_log.bucket,
    kms_key_arn=key,
).apply(
    lambda known: Operated(
        partition=partition,
        region=settings.region,
        ownership_parameter=names.ownership_parameter,
        active_environment_parameter=names.active_environment_parameter,
        **known,
    )
)

# The same keys in every mode; docs/outputs.md describes them.
outputs = {
    "mode": settings.mode,
    "region": settings.region,
    "project": settings.project,
    "stack": settings.stack,
    "name": settings.name,
    "vpc_id": network.vpc_id,
    "private_subnet_ids": network.private_subnet_ids,
    "nat": settings.nat if settings.vpc_id is None else "",
    "airflow_environments": kept_with_work(
        {colour: environment.outputs for colour, environment in airflow.items()},
        judged.idle - {*settings.colours},
        previous,
        settings.stack,
        after=[each.url for each in (marquez,) if each],
    ),
    "ownership_parameter": ownership.parameter,
    "active_environment_parameter": ownership.active_environment_parameter,
    "switch_lead_seconds": settings.switch_lead_seconds,
    "gate_probe_minutes": settings.gate_probe_minutes,
    "lineage": settings.lineage,
    "lineage_backend": marquez.backend if marquez else "",
    "aurora_version": settings.aurora_version if settings.enable_ha_marquez else "",
    "lineage_url": marquez.url if marquez else "",
    "lineage_intake_url": marquez.intake_url if marquez else "",
    "lineage_open_command": marquez.open_command if marquez else "",
    "lineage_sinks": [sink.name for sink in settings.sinks],
    "lineage_log_bucket": lineage_log.bucket,
    "dashboard_url": monitoring.dashboard_url if monitoring else "",
    "connections_prefix": names.connections_prefix,
    "variables_prefix": names.variables_prefix,
    "operator_policies": operated.apply(operator_policies),
    "execution_policies": {
        colour: environment.execution_policy.apply(json.loads) for colour, environment in airflow.items()
    },
}
for key, value in outputs.items():
    pulumi.export(key, value)

if settings.nightly_audit:
    NightlyAudit(
        "audit",
        NightlyAuditArgs(
            settings=settings,
            environments=airflow,
            lineage_log=lineage_log,
            stack={**outputs, "operator_policies": {}, "execution_policies": {}},  # these are for people
            permissions=operated.apply(auditor).apply(json.dumps),
            topics=topic.arns,
        ),
    )
