"""The forwarder's work: take the place, carry what is new in order, keep the place, over and over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from botocore.exceptions import BotoCoreError, ClientError

from forwarder import late_listing as sweep
from forwarder.metrics import Metrics
from lineage_log.checkpoint import BadPlaceError, LostPlaceError, Place, PlaceKeeper, Progress
from lineage_log.delivery import Courier, Patience, StoppedError, UnreachableError
from lineage_log.event import Event
from lineage_log.log import AFTER_ALL, Found, Log, hour_prefix, instant_of, key_at, seconds_of
from lineage_log.marquez_client import Marquez
from lineage_log.ordered_pool import Lanes
from lineage_log.read_ahead import read_ahead

log = logging.getLogger("forwarder")

Work = Lanes[tuple[Event, bool]]  # an event, and whether it may come after later ones of its run

PASS = 20_000  # new events; then the sweep has its turn
SWEEP_LOOKS = 20
REMEMBERED = 10_000  # late keys
TRYING = 5.0  # seconds in a round for suspects
CLOCKS_DIFFER = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """All in seconds.

    `settle`: how long after its time an event is carried, so that its neighbours arrive. `window`: how long
    after its time an object may appear and still be found at once (later ones: `late_listing`). `rest`:
    for how long a forwarder whose Marquez does not answer leaves the place to another one.
    """

    poll: float = 5
    settle: float = 2
    window: float = 120
    rest: float = 15
    patience: Patience = field(default_factory=Patience)


class Forwarder:
    """One of the nodes' forwarders. `posters`: how many events are posted at the same time."""

    def __init__(
        self,
        source: Log,
        keeper: PlaceKeeper,
        marquez: Marquez,
        timing: Timing,
        *,
        posters: int = 8,
        metrics: Metrics | None = None,
        stop: threading.Event | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log, self._keeper, self._marquez, self._timing = source, keeper, marquez, timing
        self._posters, self._metrics = posters, metrics
        self._stop = stop or threading.Event()
        self._now = now
        self._lost = threading.Event()  # the place: by what the keeper was told
        self._progress: Progress | None = None  # while the place is ours
        self._found_late: dict[str, None] = {}  # looks overlap a little; in order of finding
        self._courier = self._new_courier()

    def run(self) -> None:
        """Forward until told to stop. Raises BadPlaceError."""
        reporter = self._start_reporter()
        watch = min(self._timing.poll, self._keeper.lease / 5)
        while not self._stop.is_set():
            try:
                place = self._keeper.try_take(self._now())
                if place is None:
                    self._wait(watch)
                    continue
                with self._holding(place) as (progress, lanes):
                    while True:
                        carried, whole = self._round(progress, lanes)
                        if whole and not carried:
                            self._wait(self._timing.poll)
            except StoppedError:
                break
            except LostPlaceError as lost:
                log.warning("%s: standing by", lost)
            except UnreachableError as error:
                log.warning("%s: leaving the place to another forwarder, if there is one", error)
                self._stop.wait(self._timing.rest)
            except (ClientError, BotoCoreError) as error:
                log.warning("S3: %s: trying again in %g s", error, self._timing.poll)
                self._stop.wait(self._timing.poll)
        if reporter:
            reporter.join()

    def once(self, patience: float) -> int:
        """Forward what is there, then give the place up; returns how many were carried.

        Waits `patience` seconds for the place. Raises LostPlaceError when another forwarder has it, and
        UnreachableError.
        """
        tries = 0
        while (place := self._keeper.try_take(self._now())) is None:
            if tries >= patience:
                raise LostPlaceError("another forwarder is at work")
            self._wait(1)
            tries += 1
        carried = 0
        with self._holding(place) as (progress, lanes):
            whole, count = False, 0
            while count or not whole:
                count, whole = self._round(progress, lanes)
                carried += count
        return carried

    def seconds_behind(self) -> float | None:
        """Age of the oldest event that is not delivered; 0 without one; None while the place is not ours."""
        progress = self._progress
        if progress is None:
            return None
        oldest = instant_of(progress.oldest or "")
        return 0.0 if oldest is None else max(0.0, (self._time() - oldest).total_seconds())

    @contextmanager
    def _holding(self, place: Place) -> Iterator[tuple[Progress, Work]]:
        """While it lasts the place is kept, every third of the lease; in the end it is given up."""
        log.info("forwarding, from %s", place.frontier or "the log's start")
        if ahead := self._ahead():
            log.warning("this node's clock is %.0f s ahead of S3's: going by S3's", ahead.total_seconds())
        progress, ended = Progress(place), threading.Event()
        self._lost.clear()
        self._courier.begin()
        beat = threading.Thread(target=self._keep, args=(progress, ended), name="keeper", daemon=True)
        beat.start()

        lanes: Work = Lanes(lambda work: self._deliver(*work, progress), workers=self._posters)
        self._progress = progress
        try:
            yield progress, lanes
        except Exception:
            self._found_late.clear()  # some may not be delivered
            raise
        finally:
            self._progress = None
            lanes.close()
            self._marquez.close()
            ended.set()
            beat.join()
            self._leave(progress.place())
            if suspects := len(progress.place().suspects):
                log.warning("%d events are to be tried again later", suspects)

    def _deliver(self, event: Event, late: bool, progress: Progress) -> None:
        suspected = progress.suspected(event.key)
        refusal = self._courier.deliver(event, late=late, suspected=suspected)
        if refusal and not refusal.final and progress.suspect(event.key, self._time()):
            log.warning("to be tried again later: %s: %s", event.key, refusal.reason)
            return
        if refusal:
            before = ", as in the hour before" if suspected and not refusal.final else ""
            self._courier.put_aside(event.key, refusal.reason + before)
        progress.done(event.key)

    def _keep(self, progress: Progress, ended: threading.Event) -> None:
        """Keep the place. In a thread of its own: neither Marquez nor the log must ever hold it up."""
        pause = every = self._keeper.lease / 3
        try:
            while not ended.wait(pause):
                try:
                    self._keeper.save(progress.place())
                    pause = every
                except (ClientError, BotoCoreError) as error:
                    log.warning("the place could not be kept: %s", error)
                    pause = min(1.0, every)
        except (LostPlaceError, BadPlaceError):
            pass  # whoever gives the place up is told
        finally:
            if not ended.is_set():
                self._lost.set()  # whatever ended this: a place that nobody keeps is not ours

    def _leave(self, place: Place) -> None:
        try:
            self._keeper.give_up(place)
        except LostPlaceError:
            pass  # not ours to give
        except (ClientError, BotoCoreError) as error:
            log.warning("could not give the place up (it will be free when the lease ends): %s", error)

    def _round(self, progress: Progress, lanes: Work) -> tuple[int, bool]:
        """One pass over the log's end, and the looks for late objects that are due.

        Returns how many events came, and whether nothing is left to do at once.
        """
        self._check_place()
        carried, whole = self._pass(progress, lanes)
        late, all_looked = self._sweep(progress, lanes)
        self._try_again(progress, lanes)
        self._courier.settle()
        if carried or late:
            log.info("carried %d up to %s, and %d that came late", carried, progress.place().frontier, late)
        return carried + late, whole and all_looked

    def _pass(self, progress: Progress, lanes: Work) -> tuple[int, bool]:
        """Carry what is due and not yet carried; returns how many, and whether that was all."""
        start = self._time()
        until = key_at(start - timedelta(seconds=self._timing.settle))
        # What S3 took in time is visible a window after its event's time: below that, only the sweep looks.
        place = progress.begin_pass(key_at(start - timedelta(seconds=self._timing.window)))
        pages = self._log.pages(place.floor, until)
        new = (one for page in pages for one in page if one.key not in place.seen)
        some = (self._noted(one) for one in islice(new, PASS))
        carried = self._carry(self._begun(some, progress), progress, lanes, late_below=place.frontier)
        whole = next(new, None) is None
        progress.end_pass(whole)
        return carried, whole

    def _sweep(self, progress: Progress, lanes: Work) -> tuple[int, bool]:
        """Carry what came late in the hours below the floor whose looks are due.

        Returns how many, and whether no more looks are due.
        """
        carried, place = 0, progress.place()
        if place.swept is None or place.begun is None:
            raise ValueError("a place that was taken says when")
        due = islice(sweep.looks(place.swept, self._time(), place.begun), SWEEP_LOOKS)
        looks = list(takewhile(lambda look: key_at(look.hour + sweep.HOUR) <= place.floor, due))
        for hour in sorted({look.hour for look in looks}):
            since = min(look.since for look in looks if look.hour == hour)
            carried += self._carry(self._late(hour, since), progress, lanes, late_below=place.floor)
        if looks:
            progress.swept(looks[-1].due)
        return carried, len(looks) < SWEEP_LOOKS

    def _try_again(self, progress: Progress, lanes: Work) -> None:
        """Carry the suspects that are due, as late events; other events do not wait long for them."""
        until = time.monotonic() + TRYING
        for key in progress.due(self._time()):
            self._carry(iter((key,)), progress, lanes, late_below=AFTER_ALL)
            if time.monotonic() > until:
                break

    def _late(self, hour: datetime, since: datetime) -> Iterator[str]:
        """Keys of the hour that the passes may have missed, save those that were found late before."""
        for page in self._log.pages("", prefix=hour_prefix(hour)):
            for one in page:
                known = one.key in self._found_late
                if one.modified > since and self._is_late(one) and not known:
                    yield self._noted(one)

    def _is_late(self, one: Found) -> bool:
        return sweep.is_late(one.instant, one.modified, timedelta(seconds=self._timing.window))

    def _noted(self, one: Found) -> str:
        """The key. A look must not find again what is carried now."""
        if self._is_late(one):
            self._found_late[one.key] = None
            while len(self._found_late) > REMEMBERED:
                del self._found_late[next(iter(self._found_late))]
        return one.key

    def _carry(
        self,
        keys: Iterator[str],
        progress: Progress,
        lanes: Work,
        *,
        late_below: str,
    ) -> int:
        """Hand the events under `keys` to the lanes, in order, and wait until they are delivered."""
        carried = 0
        for key, event in read_ahead(self._log, keys):
            carried += 1
            if isinstance(event, Event):
                lanes.put(event.lane, (event, key < late_below), size=len(event.packed), at=seconds_of(key))
                continue
            if event is not None:
                self._courier.put_aside(key, str(event))
            progress.done(key)
        lanes.drain()
        return carried

    def _begun(self, keys: Iterator[str], progress: Progress) -> Iterator[str]:
        for key in keys:
            progress.begin(key)
            yield key

    def _new_courier(self) -> Courier:
        return Courier(
            self._log, self._marquez, self._timing.patience, stop=self._stop, may_post=self._check_place
        )

    def _time(self) -> datetime:
        """Now. By S3's clock if this node's is wrong: a place ahead of the log would pass events over."""
        return self._now() - self._ahead()

    def _ahead(self) -> timedelta:
        s3 = self._keeper.s3_time
        ahead = self._now() - s3 if s3 else timedelta(0)
        return ahead if abs(ahead) > CLOCKS_DIFFER else timedelta(0)

    def _check_place(self) -> None:
        """Two forwarders must not both post: wait while it is not certain that the place is ours."""
        while self._lost.is_set() or not self._keeper.ours:
            if self._lost.is_set():
                raise LostPlaceError("another forwarder has taken over")
            self._wait(0.05)

    def _start_reporter(self) -> threading.Thread | None:
        if self._metrics is None:
            return None
        watch, counts = self._metrics.watch, self._courier.counts
        made = threading.Thread(target=watch, args=(counts, self.seconds_behind, self._stop), daemon=True)
        made.start()
        return made

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError
