"""How long things take."""

import time
from collections.abc import Callable


def timed(read: Callable[[], object]) -> float:
    """Seconds that it took."""
    begun = time.monotonic()
    read()
    return time.monotonic() - begun


def share(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def until(condition: Callable[[], bool], seconds: float, every: float = 0.1) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: it did not within these seconds.
    """
    latest = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > latest:
            raise TimeoutError
        time.sleep(every)
