"""The ownership timeline in a third of the characters, for a value that would be too long for SSM.

    {"base_version": 8, "since": {"1": 0, "7": 1763892005000000, "9": 1763892300000000},
     "owners": "b1 g7", "dags": {"etl_daily": "b7 g9"}}

An entry is its owner's first letter and its version; `since` has the instant of each version, in
microseconds since 1970. An entry that begins at another instant contains it: `g7@1763892005000000`. The
functions work on plain JSON values; `bluegreen.timeline` defines their meaning. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_OWNERS = {"b": "blue", "g": "green"}
_ENTRY = re.compile(r"([bg])([0-9]+)(?:@(-?[0-9]+))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT = timedelta(microseconds=1)


class MalformedError(ValueError):
    """A value that is not in this form; the message says where."""


def is_dense(value: Mapping[str, Any]) -> bool:
    """Whether a parsed value is in this form."""
    return isinstance(value.get("owners"), str)


def condense(value: Mapping[str, Any]) -> dict[str, Any]:
    """The dense form of a timeline's plain value."""
    since: dict[str, int] = {}

    def line(entries: list[dict[str, Any]]) -> str:
        words = []
        for entry in entries:
            moment = (datetime.fromisoformat(entry["since"]) - _EPOCH) // _UNIT
            own = "" if since.setdefault(str(entry["version"]), moment) == moment else f"@{moment}"
            words.append(f"{entry['owner'][0]}{entry['version']}{own}")
        return " ".join(words)

    owners = line(value["owners"])
    dags = {ids: line(entries) for ids, entries in value["dags"].items()}
    return {"base_version": value["base_version"], "since": since, "owners": owners, "dags": dags}


def expand(value: Mapping[str, Any]) -> dict[str, Any]:
    """The plain value of a dense one. Raises MalformedError."""
    since = value.get("since")
    if not isinstance(since, dict):
        raise MalformedError("since must be an object of version to microseconds")

    def entry(word: str) -> dict[str, Any]:
        match = _ENTRY.fullmatch(word)
        if match is None:
            raise MalformedError(f"{word!r:.60} is not an entry such as g7")
        letter, version, own = match.groups()
        moment = int(own) if own else since.get(version)
        if not isinstance(moment, int) or isinstance(moment, bool):
            raise MalformedError(f"since has no microseconds for version {version}")
        try:
            begin = (_EPOCH + moment * _UNIT).isoformat()
        except OverflowError as error:
            raise MalformedError(f"version {version} begins at an impossible time: {moment}") from error
        return {"owner": _OWNERS[letter], "since": begin, "version": int(version)}

    def line(text: object) -> list[dict[str, Any]]:
        if not isinstance(text, str):
            raise MalformedError(f"{text!r:.60} is not a line such as 'b1 g7'")
        return [entry(word) for word in text.split()]

    dags = value.get("dags", {})
    if not isinstance(dags, dict):
        raise MalformedError("dags must be an object of DAG ids to lines")
    return {**value, "owners": line(value["owners"]), "dags": {ids: line(text) for ids, text in dags.items()}}
