"""A replay while it runs: on a thread, watched by the page that began it, and stopped when that page is left."""

import logging
import threading
import time
from dataclasses import dataclass, field

from workbench.core.errors import Unavailable, WorkbenchError
from workbench.serving.answer import AnswerService
from workbench.workflows.replay import Replay, Replayed, answer_arm

log = logging.getLogger(__name__)
LEFT_AFTER = 15.0
"""Seconds without a look from the page after which it counts as left."""
_AT_ONCE = 4
"""Replays that the process works on at the same time."""
_places = threading.BoundedSemaphore(_AT_ONCE)


@dataclass
class Run:
    """One replay on its way. The page reads the fields; only the thread writes them, but for `seen` and `cancelled`."""

    replay: Replay
    began: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)
    """When the page last looked."""
    pieces: int = 0
    """Pieces of text that the model has written for the arm at work."""
    done: list[Replayed] = field(default_factory=list)
    error: WorkbenchError | None = None
    cancelled: bool = False
    ended: bool = False

    @property
    def trace_id(self) -> str:
        return self.replay.trace.trace_id

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def start(self, service: AnswerService) -> None:
        """Answer on a thread.

        Raises:
            Unavailable: too many replays run already.
        """
        if not _places.acquire(blocking=False):
            raise Unavailable(f"{_AT_ONCE} replays run already.", todo="Try again when one of them has ended.")
        threading.Thread(target=self._work, args=(service,), name="replay", daemon=True).start()

    def look(self) -> None:
        """The page is still there."""
        self.seen = time.monotonic()

    def _goes_on(self, pieces: int) -> bool:
        self.pieces = pieces
        if time.monotonic() - self.seen > LEFT_AFTER:
            self.cancelled = True
        return not self.cancelled

    def _work(self, service: AnswerService) -> None:
        try:
            for arm in self.replay.arms:
                answered = answer_arm(service, self.replay, arm, self._goes_on)
                if answered is None:
                    return
                self.done.append(answered)
        except WorkbenchError as error:
            self.error = error
        except Exception:
            log.exception("a replay failed")
            self.error = Unavailable("The replay failed.", todo="Try again; the log of the pages says more.")
        finally:
            self.ended = True
            _places.release()
