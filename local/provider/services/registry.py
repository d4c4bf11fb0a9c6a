"""The resource types that are created for real, with their services; all others are only recorded."""

from __future__ import annotations

from local.provider.services import iam, mwaa, records, storage
from local.provider.services.service import Service

SERVICES: dict[str, Service] = {**storage.SERVICES, **records.SERVICES, **iam.SERVICES, **mwaa.SERVICES}
