"""The table of prices: USD per unit and region, each figure with its source and date."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mwaactl.errors import UsageError
from mwaactl.json_model import Model

SHIPPED = Path(__file__).with_name("prices.json")


class Source(Model):
    """Where figures were read; `date`: of what was read, year and month or day."""

    name: str
    date: str


class Price(Model):
    """`usd` per `unit`."""

    usd: float
    unit: str
    source: Source


class Table(Model):
    """`units`: of each item; `regions`: `{region: {source: {item: USD per unit}}}`."""

    units: Mapping[str, str]
    sources: Mapping[str, Source]
    regions: Mapping[str, Mapping[str, Mapping[str, float]]]

    def prices(self, region: str) -> dict[str, Price]:
        """The known prices of a region. An item that is not in it is unknown, and never estimated."""
        return {
            item: Price(usd=usd, unit=self.units[item], source=self.sources[source])
            for source, figures in self.regions.get(region, {}).items()
            for item, usd in figures.items()
        }


def updated_table() -> Path:
    """Where `mwaactl cost --update` writes."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "mwaactl" / "prices.json"


def load_table(file: Path | None = None) -> Table:
    """The table in `file`; else the one that was updated on this machine; else the shipped one."""
    if file is None:
        file = updated_table() if updated_table().is_file() else SHIPPED
    try:
        return TypeAdapter(Table).validate_json(file.read_text())
    except (OSError, ValidationError) as error:
        reason = (str(error).splitlines() or ["it cannot be read"])[0]
        raise UsageError(
            f"{file} is no table of prices ({reason}). Write it anew: mwaactl cost --update --prices {file}"
        ) from error


def save_table(table: Table, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(table.model_dump(mode="json"), indent=2) + "\n")
