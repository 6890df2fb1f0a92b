"""A progress bar on standard error, for people; files and pipes get none."""

import sys
import time
from types import TracebackType
from typing import TextIO

_WIDTH = 30
_EVERY = 0.1


class Progress:
    """`with Progress("file") as progress: progress(done, total)`."""

    def __init__(self, name: str, *, stream: TextIO | None = None) -> None:
        self._name = name[:30]
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty()
        self._begun = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown and self._drawn:
            self._stream.write("\r" + " " * (_WIDTH + len(self._name) + 40) + "\r")
            self._stream.flush()

    def __call__(self, done: int, total: int) -> None:
        """Draw how far it is, at most ten times a second."""
        moment = time.monotonic()
        if not self._shown or moment - self._drawn < _EVERY:
            return
        self._drawn = moment
        share = min(1.0, done / total) if total else 1.0
        bar = "#" * round(_WIDTH * share)
        left = (moment - self._begun) * (1 - share) / share if share > 0.02 else None
        more = f", {left:.0f} s left" if left is not None else ""
        line = f"\r{self._name} [{bar:<{_WIDTH}}] {100 * share:3.0f} %{more}   "
        self._stream.write(line)
        self._stream.flush()
