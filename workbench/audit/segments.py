"""The ledger's truth on disk: canonical events, one a line, in files that only grow or are closed.

    ledger/segments/000000000001-000000001000.jsonl   closed: read-only, never touched again
    ledger/segments/open.jsonl                        the open stretch: appended to, fsynced with each group

A stretch is closed by renaming its file, which is atomic; so every moment of a crash leaves either name, never a copy.
Anybody may read while the sealer appends: a last line without its line break is one that is being written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

OPEN_NAME = "open.jsonl"
_CLOSED = "{first:012d}-{last:012d}.jsonl"


class SegmentsDamaged(Exception):
    """The files do not hold an unbroken sequence; nothing may be appended to them."""


def closed_segments(folder: Path) -> list[tuple[int, int, Path]]:
    """(first seq, last seq, file) of each closed stretch, in order."""
    found: list[tuple[int, int, Path]] = []
    for path in folder.glob("*-*.jsonl"):
        first, _, last = path.stem.partition("-")
        if first.isdecimal() and last.isdecimal():
            found.append((int(first), int(last), path))
    return sorted(found)


def read_lines(folder: Path, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """(seq, canonical bytes) of every event from `first` on, while a sealer may be appending.

    The seq is the line's place, not what the line claims: `verify.py` is what compares the two.

    Raises:
        SegmentsDamaged: a stretch is missing.
    """
    expected = 1
    seen: set[Path] = set()
    while True:
        # A stretch that is closed while we read it moves from `open.jsonl` to a new name: so look again until nothing is new.
        fresh = [entry for entry in closed_segments(folder) if entry[2] not in seen]
        for start, end, path in fresh:
            seen.add(path)
            if start != expected:
                raise SegmentsDamaged(f"the segment that begins with event {expected} is missing")
            expected = end + 1
            if end < first:
                continue
            for seq, line in enumerate(path.read_bytes().split(b"\n"), start):
                if seq > end:
                    break
                if seq >= first:
                    yield seq, line
        open_lines = _complete_lines(folder / OPEN_NAME)
        if not [entry for entry in closed_segments(folder) if entry[2] not in seen]:
            break
    for seq, line in enumerate(open_lines, expected):
        if seq >= first:
            yield seq, line


def _complete_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


class SegmentWriter:
    """The one writer of a ledger's segments. Whoever makes one holds the ledger's lock."""

    def __init__(self, folder: Path, *, events_per_segment: int = 1000) -> None:
        self.folder = folder
        self.events_per_segment = events_per_segment
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / OPEN_NAME
        closed = closed_segments(folder)
        self.first = closed[-1][1] + 1 if closed else 1
        """Seq of the open stretch's first event."""
        self.cut = self._cut_torn_tail()
        """Bytes of a half-written line that a crash had left and that were cut off; its event was never acknowledged."""
        self.count = len(_complete_lines(self._path))
        """Events in the open stretch."""
        self._file: int | None = None

    def _cut_torn_tail(self) -> int:
        if not self._path.exists():
            return 0
        with self._path.open("rb+") as file:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            file.truncate(whole)
            file.flush()
            # What survived in the page cache only is made durable before anybody builds on it.
            os.fsync(file.fileno())
        return len(data) - whole

    def append(self, lines: Sequence[bytes]) -> None:
        """Write the lines and return when they are on the disk.

        Raises:
            OSError: the disk refused. Make a new writer before appending again; it finds out how much was written.
        """
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            sync_folder(self.folder)
        data = memoryview(b"".join(line + b"\n" for line in lines))
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)
        self.count += len(lines)

    def close_full_segment(self) -> Path | None:
        """Close the open stretch when it is long enough; returns its file."""
        if self.count < self.events_per_segment:
            return None
        self.close()
        last = self.first + self.count - 1
        target = self.folder / _CLOSED.format(first=self.first, last=last)
        os.rename(self._path, target)
        sync_folder(self.folder)
        target.chmod(0o400)
        self.first, self.count = last + 1, 0
        return target

    def close(self) -> None:
        """Close the file; what was appended is on the disk already."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put a file in place as a whole: temporary file, fsync, atomic rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable, so that a power cut cannot take a new name away."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
