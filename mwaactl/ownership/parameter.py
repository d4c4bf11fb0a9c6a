"""Reading and writing the ownership parameter.

The rules are those of `bluegreen.timeline`; this module adds what comes with AWS: versions, history, and puts
whose outcome is unknown. A put is sent once. It wins if SSM gives it the version just above the one it is
based on; otherwise its value is invalid for every reader, and the loser puts the standing value back on top
so that readers need no history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from bluegreen.document import Document, UnreadableError, latest_valid
from bluegreen.document import dump as dump
from bluegreen.timeline import Colour, Reading, Timeline, TimelineError

from mwaactl import clock
from mwaactl.aws import PUT_TIMEOUT, Clients, aws_errors, error_code, explain
from mwaactl.errors import LostRace, Unfinished, Unreachable, Unusable
from mwaactl.json_model import iso
from mwaactl.ownership.contents import Contents
from mwaactl.ownership.history import History, Version, describe_history, describe_version
from mwaactl.ownership.reading import named, newest_owner

# Seconds before each attempt: SSM may briefly return the previous value.
READ_BACK = (0.0, 0.1, 0.3, 0.6, 1.0)
# A value is sent within this time after its decision, or not at all: later, the decision's basis is stale.
SENT_WITHIN = timedelta(seconds=1)
# An answered write has arrived within this time after its decision.
ARRIVES_WITHIN = SENT_WITHIN + timedelta(seconds=2 * PUT_TIMEOUT)
REPAIRS = 3  # attempts to put the standing value back on top; after that, the next writer does it
DESCRIPTION_LIMIT = 1024  # characters, of SSM


@dataclass(frozen=True)
class Skew:
    """AWS's clock minus this machine's, between `least` and `most` (its Date header counts whole seconds)."""

    least: timedelta
    most: timedelta

    @property
    def sure(self) -> timedelta:
        """The part of the difference that is certain: zero if the two clocks may agree."""
        if self.least > timedelta(0):
            return self.least
        return min(self.most, timedelta(0))


@dataclass(frozen=True)
class Snapshot:
    """The ownership at one moment."""

    reading: Reading  # the newest valid version
    top: int  # the newest version; above reading.version if there are invalid values on top
    timeline: Timeline  # the reading as Airflow applies it
    skew: Skew | None  # None: the answer carried no time

    @property
    def covered(self) -> bool:
        """Whether there is an invalid value on top of the valid one."""
        return self.top != self.reading.version


class Ownership:
    """The parameter `name`, and the objects of `bucket` that its value may point to.

    `lives` are the stack's environments by colour. `lead` is the stack's switch_lead_seconds: what the next
    decision tells its readers to apply to late writes.
    """

    def __init__(
        self, clients: Clients, name: str, *, bucket: str, lives: Mapping[Colour, str], lead: timedelta
    ) -> None:
        self.clients, self.name, self.lives, self.lead = clients, name, lives, lead
        self._contents = Contents(clients, bucket)
        self.fetch = self._contents.fetch

    def read(self) -> Snapshot:
        """The newest valid timeline. Unusable if the parameter is missing or has no valid version."""
        sent = clock.now()
        with aws_errors(f"read the parameter {self.name}"):
            try:
                answer = self.clients.ssm.get_parameter(Name=self.name)
            except self.clients.ssm.exceptions.ParameterNotFound as error:
                raise Unusable(
                    f"the parameter {self.name} does not exist in {self.clients.region}, and Airflow's "
                    "tasks wait for it. Create it again: pulumi refresh, then pulumi up"
                ) from error
        skew = _skew(answer["ResponseMetadata"], sent, clock.now())
        current = answer["Parameter"]
        records = [(current["Value"], current["Version"], current["LastModifiedDate"])]
        try:
            reading = latest_valid(records, self.fetch)
        except UnreadableError as error:
            raise self._unusable(error) from error
        except TimelineError:
            # read later, so it may contain newer versions than the first answer
            records += [(version.value, version.number, version.modified) for version in self.versions()]
            reading = self._standing(records)
        top = max(number for _, number, _ in records)
        return Snapshot(reading, top, reading.effective().seen_with(self.lives), skew)

    def _standing(self, records: Iterable[tuple[str, int, datetime]]) -> Reading:
        try:
            return latest_valid(records, self.fetch)
        except TimelineError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: TimelineError) -> Unusable:
        return Unusable(f"the parameter {self.name} cannot be used: {error}")

    def history(self) -> History:
        """Who decided what, when and why. Raises Unreachable, or Unusable if the parameter is missing."""
        return describe_history(self.name, self.versions(), self.fetch)

    def versions(self) -> list[Version]:
        """All versions that SSM keeps (100), newest first."""
        with aws_errors(f"read the history of {self.name}"):
            pages = self.clients.ssm.get_paginator("get_parameter_history").paginate(Name=self.name)
            versions = [
                Version(
                    number=record["Version"],
                    value=record["Value"],
                    modified=record["LastModifiedDate"],
                    user=record.get("LastModifiedUser", ""),
                    description=record.get("Description", ""),
                )
                for page in pages
                for record in page["Parameters"]
            ]
        return sorted(versions, key=lambda version: version.number, reverse=True)

    def write(
        self, before: Snapshot, timeline: Timeline, description: str, since: datetime | None = None
    ) -> Snapshot:
        """Put `timeline` (derived from `before`, for version before.top + 1); return the new ownership.

        `since`: the begin of the decision, a lead after the observation that it is based on. If the put is
        not answered and has not arrived, its value is prevented from ever taking effect.

        Raises LostRace if another writer was first (its decision stands), Unfinished if it is unknown whether
        the value arrived or if it cannot be read back, Unreachable if it certainly has no effect.
        """
        document, expected = self.document(before, timeline), before.top + 1
        self._contents.store(document)
        if since is not None and aws_now(before, self.lead) > since - self.lead + SENT_WITHIN:
            raise Unreachable(
                f"{self.name} was not written: this command was held up just before the write (did the "
                "machine sleep?), so the busy DAGs may have changed. Repeat the command"
            )
        version = self._put(document.value, description)
        if version is None:
            version = self._look_for(before, document.value, expected)
        if version != expected:
            raise self._lost(expected)
        return self._read_back(version)

    def document(self, before: Snapshot, timeline: Timeline) -> Document:
        """What to write for `timeline`."""
        return dump(replace(timeline, lead=self.lead), aws_now(before, self.lead))

    def uncover(self, snapshot: Snapshot) -> Snapshot:
        """Put the standing value back on top of invalid ones; another writer may do so at the same time."""
        for _ in range(REPAIRS):
            if not snapshot.covered:
                break
            self._put_standing(snapshot)
            snapshot = self.read()
        return snapshot

    def seal(self, snapshot: Snapshot) -> Snapshot:
        """Put the standing value back on top, so that a put still under way can no longer take effect.

        This has succeeded if the returned `top` is above that of `snapshot`.
        """
        self._put_standing(snapshot)
        return self.uncover(self.read())

    def _put_standing(self, snapshot: Snapshot) -> int | None:
        standing = self.document(snapshot, replace(snapshot.timeline, base_version=snapshot.top))
        self._contents.store(standing)
        return self._put(standing.value, f"mwaactl: put version {snapshot.reading.version} back on top")

    def _put(self, value: str, description: str) -> int | None:
        """Put the value; return its version, None if it is unknown whether it arrived."""
        from botocore import exceptions as boto

        not_written = f"{self.name} was not written"
        try:
            answer = self.clients.ssm_writer.put_parameter(
                Name=self.name,
                Value=value,
                Type="String",
                Overwrite=True,
                Description=description[:DESCRIPTION_LIMIT],
            )
        except boto.ConnectionError as error:  # never left this machine
            raise Unreachable(f"{not_written}: {explain(error)}") from error
        except boto.HTTPClientError:  # sent, at least in part
            return None
        except boto.ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500:
                return None
            if error_code(error) == "TooManyUpdates":
                raise LostRace(
                    f"another writer is changing {self.name} right now; nothing was written. See "
                    "`mwaactl history`, then repeat the command if you still want it"
                ) from error
            raise Unreachable(f"{not_written}: {explain(error)}") from error
        except boto.BotoCoreError as error:  # no credentials, bad configuration: before sending
            raise Unreachable(f"{not_written}: {explain(error)}") from error
        return answer["Version"]

    def _look_for(self, before: Snapshot, value: str, expected: int) -> int:
        """Find the version under which an unanswered put arrived.

        If it has not arrived, the standing value is put in its place, so that it can no longer take effect.
        """
        unknown = (
            f"the put of {self.name} was not answered, so it is unknown whether it was written. If it "
            f"arrives late, it takes effect {self.lead.total_seconds():g} s after its arrival. See "
            "`mwaactl status`; repeating the command is safe: only one of the two takes effect"
        )
        try:
            for pause in READ_BACK:
                clock.sleep(pause)
                if (version := self._arrived(value, expected)) is not None:
                    return version
            try:
                sealed = self._put_standing(before)
            except LostRace:  # other writers are active
                sealed = None
            if sealed != expected and (version := self._arrived(value, expected)) is not None:
                return version
        except Unreachable as error:
            raise Unfinished(f"{unknown} (it could not be read back either: {error})") from error
        if sealed != expected:
            raise Unfinished(unknown)
        raise Unreachable(
            f"{self.name} was not written: the put was not answered, and the previous value was put in its "
            "place, so that it has no effect if it arrives late. Repeat the command"
        )

    def _arrived(self, value: str, expected: int) -> int | None:
        """The version under which `value` has arrived, None if not yet; LostRace if it cannot take effect."""
        newer = {version.number: version.value for version in self.versions() if version.number >= expected}
        arrived = [number for number, stored in newer.items() if stored == value]
        if not arrived and expected in newer:
            raise self._lost(expected)
        return min(arrived, default=None)

    def _lost(self, expected: int) -> LostRace:
        """The error that names the winner; first, the winner's value is put back on top of ours."""
        winner = next((v for v in self.versions() if v.number == expected), None)
        snapshot, tail = self._uncovered(self.read())
        who = "someone"
        if winner is not None:
            # With its decision: an earlier, unanswered put of our own may be the winner.
            decided = describe_version(winner, self.fetch)[1]
            who = f"{winner.user or 'an unknown user'} at {iso(winner.modified)} ({decided})"
        final = named(newest_owner(snapshot.timeline))
        return LostRace(
            f"lost the race: version {expected} was written first, by {who}. That decision stands: {final} "
            f"owns the work. This command changed nothing; see `mwaactl history`{tail}"
        )

    def _uncovered(self, snapshot: Snapshot) -> tuple[Snapshot, str]:
        """The ownership, put back on top if possible, and a hint for the operator if not."""
        try:
            return self.uncover(snapshot), ""
        except (Unreachable, LostRace) as error:
            return snapshot, (
                f" (could not put the standing value back on top: {error}; the next writer will)"
            )

    def _read_back(self, version: int) -> Snapshot:
        for pause in READ_BACK:
            clock.sleep(pause)
            try:
                snapshot = self.read()
            except Unreachable as error:
                raise Unfinished(
                    f"version {version} of {self.name} was written but could not be read back ({error}). "
                    "Repeat the command: it continues from there"
                ) from error
            if snapshot.top >= version:
                return self._uncovered(snapshot)[0]
        raise Unfinished(
            f"version {version} of {self.name} was written but SSM still returns an older one. "
            "Repeat the command in a minute: it continues from there"
        )


def aws_now(snapshot: Snapshot, lead: timedelta) -> datetime:
    """This machine's time, corrected to AWS's if the two certainly differ by more than half a lead."""
    now = clock.now()
    # The latest time that AWS's clock may show: a decision must not begin before it can be read.
    return now + snapshot.skew.most if snapshot.skew is not None and too_far(snapshot, lead) else now


def too_far(snapshot: Snapshot, lead: timedelta) -> bool:
    """Whether this machine's clock is certainly more than half a lead off AWS's."""
    return snapshot.skew is not None and abs(snapshot.skew.sure) > lead / 2


def _skew(metadata: Any, sent: datetime, answered: datetime) -> Skew | None:
    header = metadata.get("HTTPHeaders", {}).get("date")
    if not header:
        return None
    stamp = parsedate_to_datetime(header)
    return Skew(least=stamp - answered, most=stamp + timedelta(seconds=1) - sent)
