"""Copies of the sealed ledger on a shared folder, which other machines may read and query.

    TARGET/segments/….jsonl    the closed segments, byte for byte, so that `verify.py` works there too
    TARGET/parquet/….parquet   the same events as columns: SELECT * FROM 'TARGET/parquet/*.parquet'
    TARGET/checkpoints/N.txt, TARGET/ledger.vkey

A copy that fails delays nothing: the next checkpoint tries again.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from workbench.audit.events import Event
from workbench.audit.journal import CHECKPOINTS, SEGMENTS, VERIFIER_KEYS
from workbench.audit.ledger import to_arrow
from workbench.audit.segments import closed_segments

log = logging.getLogger(__name__)


class Mirror:
    """Keeps a folder up to date with what is closed; does nothing without a target."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = Path(target.removeprefix("file://")).expanduser() if target else None
        self.problem = ""
        """Why the last update failed; empty when it did not."""

    def update(self) -> int:
        """Copy what the target lacks; returns how many segments were copied. Never raises for a target that is away."""
        if self._target is None:
            return 0
        try:
            copied = self._copy_segments(self._target)
            closed_through = max((last for _, last, _ in closed_segments(self._folder / SEGMENTS)), default=0)
            for path in sorted((self._folder / CHECKPOINTS).glob("*.txt")):
                if int(path.stem) <= closed_through:
                    _copy(path, self._target / CHECKPOINTS / path.name)
            keys = self._target / VERIFIER_KEYS
            if not keys.exists() or keys.read_bytes() != (self._folder / VERIFIER_KEYS).read_bytes():
                keys.unlink(missing_ok=True)
                _copy(self._folder / VERIFIER_KEYS, keys)
        except OSError as error:
            self.problem = f"The ledger could not be copied to {self._target}: {error}"
            log.warning("%s", self.problem)
            return 0
        self.problem = ""
        return copied

    def _copy_segments(self, target: Path) -> int:
        copied = 0
        for _, _, path in closed_segments(self._folder / SEGMENTS):
            parquet = target / "parquet" / f"{path.stem}.parquet"
            if not parquet.exists():
                events = [Event.from_bytes(line) for line in path.read_bytes().splitlines()]
                parquet.parent.mkdir(parents=True, exist_ok=True)
                temporary = parquet.with_name(f".{parquet.name}.{os.getpid()}")
                pq.write_table(to_arrow(events), temporary)
                os.replace(temporary, parquet)
            copied += _copy(path, target / SEGMENTS / path.name)
        return copied


def _copy(source: Path, target: Path) -> bool:
    """Copy a file that never changes, as a whole, unless it is there already."""
    if target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    return True
