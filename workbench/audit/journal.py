"""The chain as the sealer holds it: segments on disk, the tree over them, and the signed notes about it.

    ledger/segments/…             the events
    ledger/head.checkpoint        the signed size and root after the latest group; replaced with each
    ledger/checkpoints/N.txt      the checkpoints that are kept, to be anchored elsewhere
    ledger/ledger.vkey            the public keys that may sign them, one a line

The journal refuses to continue a past that does not match its own signed notes: a ledger that someone cut or rewrote
is never built upon, it is reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workbench.audit.checkpoint import BadCheckpoint, Checkpoint, open_note, parse_verifier_key, verifier_key
from workbench.audit.events import FIRST_PREV_HASH, Event, seal
from workbench.audit.merkle import GrowingTree, leaf_hash
from workbench.audit.segments import SegmentsDamaged, SegmentWriter, read_lines, write_whole
from workbench.core.errors import IntegrityError
from workbench.core.ids import new_id
from workbench.core.recording import OutboxColumns

LEDGER_FOLDER = "ledger"
"""Inside the home."""
SEGMENTS = "segments"
CHECKPOINTS = "checkpoints"
HEAD = "head.checkpoint"
VERIFIER_KEYS = "ledger.vkey"

_LEAF = 32


class LedgerDamaged(IntegrityError):
    """What is on disk is not what was sealed. Nothing is appended until a person has looked."""


class Journal:
    """Appends events to the chain. One process at a time holds one, behind the ledger's lock."""

    def __init__(self, folder: Path, key: Ed25519PrivateKey, *, events_per_segment: int = 1000) -> None:
        """Open the ledger in `folder`, or begin one.

        Raises:
            LedgerDamaged: the segments are not what the signed notes say, or the key is not the ledger's.
            OSError: the disk refused.
        """
        self.folder = folder
        self._key = key
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        self.origin = self._identify()
        self._writer = SegmentWriter(folder / SEGMENTS, events_per_segment=events_per_segment)
        self.torn_bytes = self._writer.cut
        """Bytes of a half-written line that were cut off at opening."""
        self._tree = GrowingTree()
        self._leaves = bytearray()
        self.checkpoint_size = 0
        """Events that the latest kept checkpoint covers."""
        self._load()
        if self.size and self._head_size < self.size:
            self._write_head()

    @property
    def size(self) -> int:
        """How many events are in the ledger; also the `seq` of the latest."""
        return self._tree.size

    @property
    def prev_hash(self) -> str:
        """What the next event names as its predecessor."""
        return self._leaves[-_LEAF:].hex() if self._leaves else FIRST_PREV_HASH

    def leaf(self, seq: int) -> bytes:
        """The leaf hash of event `seq`."""
        return bytes(self._leaves[(seq - 1) * _LEAF : seq * _LEAF])

    def leaves(self, size: int | None = None) -> list[bytes]:
        """The leaf hashes of events 1 to `size`."""
        return [self.leaf(seq) for seq in range(1, (self.size if size is None else size) + 1)]

    def lines(self, first: int = 1) -> Iterator[tuple[int, bytes]]:
        """(seq, canonical bytes) of the events from `first` on."""
        return read_lines(self.folder / SEGMENTS, first)

    def append(self, rows: Sequence[OutboxColumns]) -> list[Event]:
        """Seal these acts at the end of the chain; on return they are on the disk and under the signed head.

        Raises:
            OSError: the disk refused. Open a new journal before going on; it finds out how much was written.
        """
        events: list[Event] = []
        lines: list[bytes] = []
        prev_hash = self.prev_hash
        for seq, row in enumerate(rows, self.size + 1):
            event = seal(row, seq, prev_hash)
            line = event.to_bytes()
            prev_hash = event.leaf.hex()
            events.append(event)
            lines.append(line)
        self._writer.append(lines)
        for event in events:
            self._grow(event.leaf)
        self._write_head()
        self._writer.close_full_segment()
        return events

    def keep_checkpoint(self) -> Checkpoint | None:
        """Keep the present head as a checkpoint; None when nothing came since the last one."""
        if self.size == self.checkpoint_size:
            return None
        checkpoint = self._checkpoint()
        name = f"{checkpoint.size:012d}.txt"
        write_whole(self.folder / CHECKPOINTS / name, checkpoint.signed(self._key).encode())
        self.checkpoint_size = checkpoint.size
        return checkpoint

    def close(self) -> None:
        self._writer.close()

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.origin, self.size, self._tree.root())

    def _write_head(self) -> None:
        write_whole(self.folder / HEAD, self._checkpoint().signed(self._key).encode())
        self._head_size = self.size

    def _grow(self, leaf: bytes) -> None:
        self._tree.append(leaf)
        self._leaves += leaf

    def _identify(self) -> str:
        path = self.folder / VERIFIER_KEYS
        if not path.exists():
            if (self.folder / HEAD).exists() or (self.folder / SEGMENTS).exists():
                raise LedgerDamaged(
                    f"The ledger has events but its file {VERIFIER_KEYS} is gone.",
                    todo=f"Restore {path} from a backup or an export.",
                )
            origin = f"learning-workbench/{new_id()}"
            write_whole(path, (verifier_key(origin, self._key.public_key()) + "\n").encode())
            return origin
        lines = self._verifier_keys()
        try:
            origin = parse_verifier_key(lines[0])[0]
        except (IndexError, BadCheckpoint) as error:
            raise LedgerDamaged(
                f"The ledger's file {VERIFIER_KEYS} cannot be read.",
                why=str(error),
                todo="Restore it from a backup or an export.",
            ) from error
        own = verifier_key(origin, self._key.public_key())
        if own not in lines:
            raise LedgerDamaged(
                "The ledger was signed with another key than the one in the keys folder.",
                todo=f"Put the old ledger.key back. If it is lost for good, add this line to {path} and say so to your "
                f"auditors: {own}",
            )
        return origin

    def _verifier_keys(self) -> list[str]:
        return [line for line in (self.folder / VERIFIER_KEYS).read_text().splitlines() if line.strip()]

    def _load(self) -> None:
        """Read the segments and compare them with the head and the latest kept checkpoint."""
        notes = [note for note in (self._read_note(self.folder / HEAD), self._latest_checkpoint()) if note]
        self._head_size = notes[0].size if (self.folder / HEAD).exists() and notes else 0
        signed = max((note.size for note in notes), default=0)
        expected: dict[int, set[bytes]] = {}
        for note in notes:
            expected.setdefault(note.size, set()).add(note.root)
        try:
            for seq, line in read_lines(self.folder / SEGMENTS):
                if seq > signed:
                    self._check_link(seq, line)
                self._grow(leaf_hash(line))
                if seq in expected and expected[seq] != {self._tree.root()}:
                    raise self._damaged(f"the first {seq:,} events are not those that were signed")
        except SegmentsDamaged as error:
            raise self._damaged(str(error)) from error
        if self.size < signed:
            raise self._damaged(f"{signed:,} events were signed and {self.size:,} are left")

    def _latest_checkpoint(self) -> Checkpoint | None:
        kept = sorted((self.folder / CHECKPOINTS).glob("*.txt"))
        if not kept:
            return None
        checkpoint = self._read_note(kept[-1])
        self.checkpoint_size = checkpoint.size if checkpoint else 0
        return checkpoint

    def _read_note(self, path: Path) -> Checkpoint | None:
        if not path.exists():
            return None
        try:
            return open_note(path.read_text(), self._verifier_keys())
        except (BadCheckpoint, UnicodeDecodeError) as error:
            raise self._damaged(f"{path.name} is not a checkpoint of this ledger: {error}") from error

    def _check_link(self, seq: int, line: bytes) -> None:
        """A group that was on the disk before its head could be signed: its chain must hold by itself."""
        try:
            value = json.loads(line)
            linked = value["seq"] == seq and value["prev_hash"] == self.prev_hash
        except (ValueError, KeyError, TypeError):
            linked = False
        if not linked:
            raise self._damaged(f"event {seq:,} does not follow from the one before")

    def _damaged(self, why: str) -> LedgerDamaged:
        return LedgerDamaged(
            "The audit ledger on disk is not the one that was sealed.",
            why=f"In detail: {why}.",
            todo="Run `workbench audit verify`, then restore the ledger folder from a backup. Until then no event is sealed; "
            "none is lost, all wait in the outbox.",
        )
