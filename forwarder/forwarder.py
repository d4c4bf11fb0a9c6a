"""The forwarder: take the checkpoint, forward what is in the log, save the checkpoint, and repeat."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from forwarder.carrier import Carrier, Lease
from forwarder.checkpoint_keeper import CheckpointKeeper, LostCheckpointError
from forwarder.metrics import Metrics
from forwarder.rounds import Round, Rounds
from lineage_log.checkpoint import BadCheckpointError, Checkpoint, Progress
from lineage_log.doubts import Doubt, Recent
from lineage_log.log import Log, instant_of
from lineage_log.patient_client import Patience, StoppedError, UnreachableError

log = logging.getLogger("forwarder")

CLOCKS_DIFFER = timedelta(seconds=5)
UNSEEN = timedelta(seconds=60)  # without a look for new events: there may be some


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times in seconds.

    `settle`: the delay from an event's time to its forwarding, so that earlier events can arrive. `window`:
    how late an object may appear and still be forwarded at once (for later ones, see `late_listing`). `rest`:
    how long a forwarder whose Marquez does not answer leaves the checkpoint to another one.
    """

    poll: float = 5
    settle: float = 2
    window: float = 120
    rest: float = 15
    patience: Patience = field(default_factory=Patience)


class Forwarder:
    """The forwarder of one node. `posters`: the number of events posted in parallel."""

    def __init__(
        self,
        source: Log,
        keeper: CheckpointKeeper,
        carrier: Carrier,
        timing: Timing,
        *,
        posters: int = 12,
        metrics: Metrics | None = None,
        stop: threading.Event | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log, self._keeper, self._carrier, self._timing = source, keeper, carrier, timing
        self._posters, self._metrics = posters, metrics
        self._stop = stop or threading.Event()
        self._now = now
        self._save_now = threading.Event()
        self._lost = threading.Event()  # set when the saving thread can no longer save the checkpoint
        self._progress: Progress | None = None  # while the checkpoint is ours
        self._delivery = carrier.delivery(
            source,
            timing.patience,
            Lease(self._stop, self._check_lease, self._wait_until_saved, self._time),
        )
        self._recent: Recent = {}
        self._to_leave: dict[str, Doubt] = {}  # doubts for whoever has taken over

    def run(self) -> None:
        """Forward until stopped. Raises BadCheckpointError."""
        reporter = self._start_reporter()
        watch = min(self._timing.poll, self._keeper.lease / 5)
        while not self._stop.is_set():
            try:
                self._leave_doubts()
                checkpoint = self._keeper.try_take(self._now())
                if checkpoint is None:
                    self._wait(watch)
                    continue
                with self._hold(checkpoint) as rounds:
                    while True:
                        events, complete = self._next_round(rounds)
                        if complete and not events:
                            self._wait(self._timing.poll)
            except StoppedError:
                break
            except LostCheckpointError as lost:
                log.warning("%s: standing by", lost)
            except UnreachableError as error:
                log.warning("%s: leaving the checkpoint to another forwarder, if there is one", error)
                self._stop.wait(self._timing.rest)
            except (ClientError, BotoCoreError) as error:
                log.warning("S3: %s: retrying in %g s", error, self._timing.poll)
                self._stop.wait(self._timing.poll)
        if reporter:
            reporter.join()

    def once(self, patience: float) -> int:
        """Forward what is in the log, then release the checkpoint; return the number of events.

        Waits up to `patience` seconds for the checkpoint. Raises LostCheckpointError if another forwarder
        still holds it, and UnreachableError.
        """
        tries = 0
        while (checkpoint := self._keeper.try_take(self._now())) is None:
            if tries >= patience:
                raise LostCheckpointError("another forwarder is running")
            self._wait(1)
            tries += 1
        total = 0
        with self._hold(checkpoint) as rounds:
            complete, events = False, 0
            while events or not complete:
                events, complete = self._next_round(rounds)
                total += events
        return total

    def seconds_behind(self) -> float | None:
        """The age of the oldest undelivered event; 0 if there is none; None while another one forwards.

        If nobody has looked for new events lately, the time since then.
        """
        progress = self._progress
        if progress is None:
            return None
        now = self._time()
        oldest = instant_of(progress.oldest_open or "") or now
        looked = progress.looked_at if now - progress.looked_at > UNSEEN else now
        return max(0.0, (now - min(oldest, looked)).total_seconds())

    @contextmanager
    def _hold(self, checkpoint: Checkpoint) -> Iterator[Rounds]:
        """Save the checkpoint every third of the lease while the block runs, then release it."""
        log.info("forwarding, from %s", checkpoint.frontier or "the beginning of the log")
        if ahead := self._ahead():
            log.warning("this node's clock is %.0f s ahead of S3's: using S3's", ahead.total_seconds())
        progress, ended = Progress(checkpoint, self._time(), self._recent), threading.Event()
        self._lost.clear()
        self._delivery.begin(progress.doubts)
        saving = threading.Thread(
            target=self._save_regularly, args=(progress, ended), name="keeper", daemon=True
        )
        saving.start()
        rounds = Rounds(
            self._log,
            self._delivery,
            progress,
            posters=self._posters,
            settle=timedelta(seconds=self._timing.settle),
            window=timedelta(seconds=self._timing.window),
            now=self._time,
            ready=lambda: self._wait_until_saved(lambda: not progress.doubts.too_many_unsaved),
        )
        self._progress = progress
        try:
            yield rounds
        finally:
            self._progress = None
            rounds.close()
            self._carrier.close()
            ended.set()
            self._save_now.set()
            saving.join()
            self._release(progress)
            if suspects := len(progress.checkpoint().suspects):
                log.warning("%d events will be retried later", suspects)

    def _next_round(self, rounds: Rounds) -> Round:
        self._check_lease()
        return rounds.next()

    def _save_regularly(self, progress: Progress, ended: threading.Event) -> None:
        """Save the checkpoint, in a separate thread: neither Marquez nor the log must ever delay it."""
        every = self._keeper.lease / 3
        try:
            while not self._wait_for_save(every, ended):
                try:
                    self._save(progress)
                except (ClientError, BotoCoreError) as error:
                    log.warning("could not save the checkpoint: %s", error)
                    ended.wait(min(1.0, every))  # however often it is asked for
                    self._save_now.set()
        except (LostCheckpointError, BadCheckpointError):
            pass  # releasing the checkpoint raises this again
        finally:
            if not ended.is_set():
                self._lost.set()  # for whatever reason: a checkpoint that is no longer saved is not ours

    def _wait_for_save(self, pause: float, ended: threading.Event) -> bool:
        """Wait until the next save is due, or asked for. True if there is none."""
        self._save_now.wait(pause)
        self._save_now.clear()
        return ended.is_set()

    def _save(self, progress: Progress) -> None:
        progress.doubts.begin_save()
        left = self._keeper.save(progress.checkpoint())
        progress.doubts.saved()
        progress.doubts.join(left)

    def _release(self, progress: Progress) -> None:
        try:
            self._keeper.release(progress.checkpoint())
        except LostCheckpointError:
            # It is not ours to release. Nobody knows since when, so all that was posted lately is in doubt.
            self._to_leave |= progress.doubts.lost(self._time())
            with suppress(LostCheckpointError, ClientError, BotoCoreError):
                self._leave_doubts()
        except (ClientError, BotoCoreError) as error:
            log.warning("could not release the checkpoint (it is free when the lease ends): %s", error)

    def _leave_doubts(self) -> None:
        if self._to_leave:
            log.warning("leaving %d runs in doubt to the other forwarder", len(self._to_leave))
            self._keeper.leave(self._to_leave)
            self._to_leave = {}

    def _time(self) -> datetime:
        """The time; S3's if this node's clock is ahead, as a checkpoint ahead of the log skips events."""
        return self._now() - self._ahead()

    def _ahead(self) -> timedelta:
        s3 = self._keeper.s3_time
        ahead = self._now() - s3 if s3 else timedelta(0)
        return ahead if abs(ahead) > CLOCKS_DIFFER else timedelta(0)

    def _wait_until_saved(self, saved: Callable[[], bool]) -> None:
        """Have the checkpoint saved until `saved`: a successor would know too little of what is posted."""
        while not saved():
            self._save_now.set()
            self._check_lease()
            self._wait(0.01)

    def _check_lease(self) -> None:
        """Wait until the checkpoint is certainly ours: two forwarders must never post at the same time."""
        while self._lost.is_set() or not self._keeper.is_ours:
            if self._lost.is_set():
                raise LostCheckpointError("another forwarder has taken over")
            self._wait(0.05)

    def _start_reporter(self) -> threading.Thread | None:
        if self._metrics is None:
            return None
        watch, counts = self._metrics.watch, self._delivery.counts
        arguments = (counts, self.seconds_behind, self._stop)
        reporter = threading.Thread(target=watch, args=arguments, daemon=True)
        reporter.start()
        return reporter

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError
