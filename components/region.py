"""What the stack's region offers: zones, and the instance types in each. The provider asks EC2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components.config.settings import Settings
from components.refusals import commands

ARCHITECTURE = "x86_64"  # of the nodes' image
DEFAULT_WORKERS, WORKERS_QUOTA = 25, "Workers per environment"
LEAST_MIB = 2048  # Marquez's JVM takes 40 % of it; its web pages, the forwarder and PostgreSQL the rest


def choose_zones(
    settings: Settings, previous: Mapping[str, Any], of_subnets: Sequence[str] = ()
) -> tuple[str, str]:
    """The stack's two zones: from the settings, else from `previous` (its outputs), else from the region.

    `of_subnets`: the zones of subnets that exist, which leave no choice. The stack's own take precedence,
    because the region's list can change. Raises pulumi.RunError if a zone
    does not exist, or if the instance type does not fit.
    """
    offering = _check_instance_type(settings)
    zones: Sequence[str] = of_subnets or settings.availability_zones
    if not zones and previous.get("region") == settings.region:
        blue = previous.get("airflow_environments", {}).get("blue", {})
        zones = blue.get("identity", {}).get("availability_zones", ())
    if zones:
        _check_zones(settings, zones, offering)
    else:
        zones = [zone for zone in _zones() if zone in offering]
    if len(zones) < 2:
        raise pulumi.RunError(
            f"Region {settings.region} has fewer than two availability zones "
            f"with {settings.marquez_instance_type} ({', '.join(zones) or 'none'}). "
            "Choose another region, or another instance type:\n"
            f"  pulumi config set aws:region <region> -s {settings.stack}\n"
            f"  pulumi config set marquez_instance_type <type> -s {settings.stack}"
        )
    return zones[0], zones[1]


def check_workers(settings: Settings) -> None:
    """Where an environment may have more workers than Amazon's default quota allows, ask for the account's.

    Raises pulumi.RunError if it is lower.
    """
    wanted = {colour: settings.environment(colour).max_workers for colour in settings.colours}
    most = max(wanted, key=lambda colour: wanted[colour])
    if wanted[most] <= DEFAULT_WORKERS:
        return
    try:
        quota = aws.servicequotas.get_service_quota(service_code="airflow", quota_name=WORKERS_QUOTA).value
    except Exception as error:  # noqa: BLE001 - an invoke raises nothing narrower
        pulumi.warn(
            f"Whether this account may have {wanted[most]} workers in an environment is not known: {error}"
        )
        return
    if wanted[most] > quota:
        key = settings.path(most, "max_workers")
        raise pulumi.RunError(
            f"{most} may have {wanted[most]} workers (max_workers), and this account's quota is {quota:g}. "
            "Have it raised, or lower the setting:\n"
            f"  aws service-quotas list-service-quotas --service-code airflow --region {settings.region}\n"
            f"  pulumi config set {key} {quota:g} -s {settings.stack}"
        )


def _zones() -> list[str]:
    """Without local and wavelength zones, and those that an account must opt in to."""
    usual = aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])
    return sorted(aws.get_availability_zones(filters=[usual]).names)


def _check_zones(settings: Settings, zones: Sequence[str], offering: Sequence[str]) -> None:
    if settings.availability_zones:
        existing = _zones()
        missing = [zone for zone in zones if zone not in existing]
        if missing:
            raise _refusal(
                settings,
                [f"availability_zones[{zones.index(zone)}]" for zone in missing],
                f"{' and '.join(missing)} cannot be used: {settings.region} has {', '.join(existing)}.",
            )
    # The one node is in the first zone.
    without = [zone for zone in zones[: 2 if settings.enable_ha_marquez else 1] if zone not in offering]
    if without:
        raise _refusal(
            settings,
            ["marquez_instance_type"],
            f"EC2 has no {settings.marquez_instance_type} in {' and '.join(without)}, but in "
            f"{', '.join(offering)}.",
        )


def _check_instance_type(settings: Settings) -> Sequence[str]:
    """The zones that offer the type of the Marquez nodes."""
    name = settings.marquez_instance_type
    offered = aws.ec2.get_instance_type_offerings(
        location_type="availability-zone",
        filters=[aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="instance-type", values=[name])],
    )
    if not offered.locations:
        raise _refusal(settings, ["marquez_instance_type"], f"EC2 has no {name} in {settings.region}.")
    kind = aws.ec2.get_instance_type(instance_type=name)
    if ARCHITECTURE not in kind.supported_architectures:
        reason = f"{name} has no {ARCHITECTURE} processors, which the nodes' image needs."
        raise _refusal(settings, ["marquez_instance_type"], reason)
    if kind.memory_size < LEAST_MIB:
        reason = f"{name} has {kind.memory_size} MiB of memory; a Marquez node needs {LEAST_MIB} MiB or more."
        raise _refusal(settings, ["marquez_instance_type"], reason)
    return sorted(offered.locations)


def _refusal(settings: Settings, keys: Sequence[str], reason: str) -> pulumi.RunError:
    return pulumi.RunError(f"{reason}\n{commands(settings, *keys)}")
