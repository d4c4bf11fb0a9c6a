"""What says that one Airflow environment is not well.

Metrics, dimensions and thresholds by Amazon's user guide: "Container, queue, and database metrics for Amazon
MWAA" (AWS/MWAA), "Apache Airflow environment metrics in CloudWatch" (AmazonMWAA) and CloudWatch's recommended
alarms.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.monitoring.alarm import Alarm, Metric

AIRFLOW, CONTAINERS = "AmazonMWAA", "AWS/MWAA"
CLUSTERS = ("Scheduler", "BaseWorker", "AdditionalWorker", "WebServer")
MEBIBYTE = 1024 * 1024
TOO_FULL = 95  # percent


def airflow_metric(
    environment: pulumi.Input[str], function: str, name: str, statistic: str = "Maximum"
) -> Metric:
    """A metric that Airflow itself reports."""
    return Metric(AIRFLOW, name, {"Function": function, "Environment": environment}, statistic)


def heartbeats(environment: pulumi.Input[str]) -> Metric:
    """Of all schedulers together."""
    return airflow_metric(environment, "Scheduler", "SchedulerHeartbeat", "Sum")


def failed_tasks(environment: pulumi.Input[str]) -> Metric:
    """Of all DAGs together."""
    return Metric(
        AIRFLOW,
        "TaskInstanceFailures",
        {"DAG": "All", "Task": "All", "Environment": environment},
        "Sum",
    )


def oldest_task(environment: pulumi.Input[str]) -> Metric:
    """How long the oldest task has waited in the queue, in seconds."""
    return queue_metric(environment, "ApproximateAgeOfOldestTask")


def container_metric(environment: pulumi.Input[str], cluster: str, name: str) -> Metric:
    return Metric(CONTAINERS, name, {"Cluster": cluster, "Environment": environment})


def queue_metric(environment: pulumi.Input[str], name: str) -> Metric:
    return Metric(CONTAINERS, name, {"Environment": environment})


def database_metric(environment: pulumi.Input[str], name: str, statistic: str = "Maximum") -> Metric:
    return Metric(CONTAINERS, name, {"DatabaseRole": "WRITER", "Environment": environment}, statistic)


def environment_alarms(environment: pulumi.Input[str]) -> Mapping[str, Alarm]:
    """The alarms of the environment of that name, by their role."""
    return {
        "heartbeat": Alarm(
            description="No scheduler has reported for 10 minutes: nothing is scheduled. See the "
            "environment's state and the scheduler's log; if it does not come back: mwaactl failover",
            metrics=[heartbeats(environment)],
            threshold=1,
            compared="LessThanThreshold",
            periods=2,
            missing="breaching",
        ),
        "queue-stuck": Alarm(
            description="Tasks have waited for 15 minutes and none runs. See the workers' log; if it does "
            "not recover: mwaactl switch",
            metrics=[queue_metric(environment, name) for name in ("QueuedTasks", "RunningTasks")],
            expression="IF(a > 0 AND b < 1, 1, 0)",
            threshold=0,
        ),
        "oldest-task": Alarm(
            description="A task has waited for more than 30 minutes for a worker. Raise max_workers, or the "
            "environment's class",
            metrics=[oldest_task(environment)],
            threshold=1800,
        ),
        "import-errors": Alarm(
            description="DAG files cannot be imported. See the errors in Airflow's web pages, mend the file, "
            "then: mwaactl dags push",
            metrics=[airflow_metric(environment, "DAG Processing", "ImportErrors")],
            threshold=0,
            periods=2,
        ),
        **{
            role: Alarm(
                description=f"Schedulers, workers or web servers have used more than {TOO_FULL} % of their "
                f"{what} for 15 minutes. Choose a larger environment_class",
                metrics=[container_metric(environment, cluster, name) for cluster in CLUSTERS],
                expression="MAX([a, b, c, d])",
                threshold=TOO_FULL,
            )
            for role, what, name in (
                ("cpu", "CPU", "CPUUtilization"),
                ("memory", "memory", "MemoryUtilization"),
            )
        },
        "database-cpu": Alarm(
            description=f"Airflow's database has used more than {TOO_FULL} % of its CPU for 15 minutes. "
            "Choose a larger environment_class, or read no Variables at the top of DAG files",
            metrics=[database_metric(environment, "CPUUtilization")],
            threshold=TOO_FULL,
        ),
        "database-memory": Alarm(
            description="Airflow's database has had less than 512 MiB of memory for 15 minutes. Choose a "
            "larger environment_class, or delete old runs: airflow db clean",
            metrics=[database_metric(environment, "FreeableMemory", "Minimum")],
            threshold=512 * MEBIBYTE,
            compared="LessThanThreshold",
        ),
    }
