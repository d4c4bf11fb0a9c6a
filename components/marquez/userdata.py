"""The boot scripts of Marquez's nodes, as pure functions of their arguments.

A script writes the files of `boot/` to their places, writes everything that differs between
deployments to one file (`/etc/marquez/node.env`), and runs `node.sh` followed by `ec2.sh` or `ha.sh`. It
holds no secret: a node reads the database password from Secrets Manager, with its own role, whenever Marquez
starts.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.marquez.images import Images
from components.monitoring.marquez_alarms import METRICS_NAMESPACE

BOOT = Path(__file__).parent / "boot"
DATABASE = DATABASE_USER = "marquez"
LAUNCH_HOOK = "marquez-answers"

SERVICES = ("marquez", "marquez-web", "marquez-watchdog")
INTAKE_PORT = 5002
PROGRAMS = ("marquez-pull", "marquez-secret", "marquez-watchdog")


@dataclass(frozen=True, kw_only=True)
class NodeBoot:
    """The values that every node needs.

    `forwarder_checkpoint`: the key of the forwarder's checkpoint; `intake`: producers may post events here.
    """

    region: str
    images: Images
    database_secret_arn: str
    lineage_bucket: str
    forwarder_key: str
    forwarder_checkpoint: str
    retention_days: int
    intake: bool


@dataclass(frozen=True, kw_only=True)
class Ec2Boot(NodeBoot):
    data_volume_id: str


@dataclass(frozen=True, kw_only=True)
class HaBoot(NodeBoot):
    database_host: str
    group_name: str
    authorities_key: str  # of the database's certificate authorities in the bucket; empty: they are RDS's


def ec2_user_data(boot: Ec2Boot) -> str:
    """The script of the single node: all in containers; only the web pages (with /api/) are published."""
    values = {
        **_common(boot),
        "POSTGRES_URL": f"jdbc:postgresql://marquez-db:5432/{DATABASE}?connectTimeout=5",
        "POSTGRES_IMAGE": boot.images.postgres,
        "API_ADDRESS": "127.0.0.1",
        "WEB_PORT": "80",
        "DATABASE_HOST": "marquez-db",
        "DATA_VOLUME": boot.data_volume_id,
        "GIVE_UP": "reboot",  # nobody would launch another one
    }
    return _script(values, services=("marquez-db", *SERVICES, *_lineage(boot)), steps="ec2.sh")


def ha_user_data(boot: HaBoot) -> str:
    """The script of a node behind the load balancer, the only one that can reach the published ports."""
    # After a failover, DNS may still point to the former writer: accept a writable database only.
    options = (
        "sslmode=verify-full&sslrootcert=/etc/marquez/rds-ca.pem"
        "&targetServerType=primary&connectTimeout=5&socketTimeout=600&tcpKeepAlive=true"
    )
    values = {
        **_common(boot),
        "POSTGRES_URL": f"jdbc:postgresql://{boot.database_host}:5432/{DATABASE}?{options}",
        "API_ADDRESS": "0.0.0.0",  # noqa: S104 - the node's security group admits the load balancer only
        "WEB_PORT": "3000",
        "DATABASE_HOST": boot.database_host,
        "GROUP_NAME": boot.group_name,
        "AUTHORITIES_KEY": boot.authorities_key,
        "GIVE_UP": "poweroff --force",  # the group replaces whatever does not run
        "LAUNCH_HOOK": LAUNCH_HOOK,
    }
    return _script(values, services=(*SERVICES, *_lineage(boot)), steps="ha.sh")


def _common(boot: NodeBoot) -> dict[str, str]:
    return {
        "AWS_REGION": boot.region,
        "AWS_DEFAULT_REGION": boot.region,
        "MARQUEZ_IMAGE": boot.images.marquez,
        "MARQUEZ_WEB_IMAGE": boot.images.web,
        # After a failover the database has another address: do not cache the old one for Java's 30 s.
        "JAVA_OPTS": "-XX:MaxRAMPercentage=40 -XX:+ExitOnOutOfMemoryError -Dsun.net.inetaddr.ttl=5",
        "POSTGRES_USER": DATABASE_USER,
        "DATABASE_SECRET": boot.database_secret_arn,
        "LINEAGE_BUCKET": boot.lineage_bucket,
        "FORWARDER_KEY": boot.forwarder_key,
        "FORWARDER_CHECKPOINT": boot.forwarder_checkpoint,
        "METRICS_NAMESPACE": METRICS_NAMESPACE,
        "LINEAGE_RETENTION_DAYS": str(boot.retention_days),
        "LINEAGE_SERVICES": " ".join(_lineage(boot)),
        "INTAKE_PORT": str(INTAKE_PORT),
    }


def _lineage(boot: NodeBoot) -> tuple[str, ...]:
    return ("lineage-forwarder", "lineage-intake") if boot.intake else ("lineage-forwarder",)


def _script(values: Mapping[str, str], *, services: tuple[str, ...], steps: str) -> str:
    files = {"/etc/marquez/marquez.yml": _read("marquez.yml")}
    files |= {f"/usr/local/bin/{name}": _read(name) for name in PROGRAMS}
    files |= {f"/etc/systemd/system/{name}.service": _read(f"{name}.service") for name in services}
    files["/etc/marquez/node.env"] = "".join(f"{k}={shlex.quote(v)}\n" for k, v in values.items())
    here_documents = "".join(
        f"cat >{path} <<'END-OF-FILE'\n{text}END-OF-FILE\n" for path, text in files.items()
    )
    return (
        "#!/bin/bash\n"
        "# From components/marquez/userdata.py. Runs once, as root. Log: /var/log/cloud-init-output.log.\n"
        "set -euo pipefail\n"
        f"mkdir -p /etc/marquez\n{here_documents}"
        "set -a\n"
        "# shellcheck source=/dev/null\n"
        "source /etc/marquez/node.env\n"
        f"set +a\n\n{_read('node.sh')}\n{_read(steps)}"
    )


def _read(name: str) -> str:
    return (BOOT / name).read_text(encoding="utf-8")
