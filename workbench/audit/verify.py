#!/usr/bin/env python3
"""Verify a Learning Workbench audit ledger. This file needs nothing of the workbench and can be taken away.

    pip install cryptography rfc8785
    python verify.py FOLDER [--checkpoint FILE] [--json]

FOLDER is the home of a workbench, its `ledger` folder, or an export. What is checked:

1. Every event is RFC 8785 canonical JSON, numbered 1, 2, 3, … without a gap, and names the hash of the one before.
2. No event id occurs twice.
3. Every signed checkpoint (C2SP signed note, Ed25519) has the size and the RFC 6962 Merkle root of the events as they are.
4. The ledger is at least as long as its longest checkpoint.
5. With --checkpoint FILE: the same for a checkpoint that you kept elsewhere. Only this finds a ledger that was cut or
   rewritten as a whole together with its own checkpoints and keys, so keep one (every export holds them).

A running workbench may append while this reads. Exit code 0: verified. 1: not. 2: wrong use.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

OPEN_NAME = "open.jsonl"
FIRST_PREV_HASH = "0" * 64
FIELDS = {
    "format", "seq", "prev_hash", "event_id", "type", "at", "actor", "subject", "project_id", "reason", "details", "command_id",
}  # fmt: skip


@dataclass
class Report:
    """What verification found."""

    ok: bool = True
    """True: every check held."""
    events: int = 0
    """Events that were read and held."""
    root: str = ""
    """Merkle root over these events, hexadecimal."""
    first_bad_seq: int | None = None
    """The first event that is wrong or missing; None when none is."""
    reason: str = ""
    """Why not ok, as a sentence."""
    checkpoints: int = 0
    """Signed checkpoints that match the events, the head among them."""
    covered: int = 0
    """Events under the longest signed checkpoint."""
    anchor: int | None = None
    """Size of the checkpoint kept elsewhere, when one was given."""
    origin: str = ""
    """The ledger's name in its checkpoints."""
    being_written: bool = False
    """Whether a half-written last line was seen: either a workbench is appending, or one was killed doing so."""
    seconds: float = 0.0
    """How long verification took."""
    notes: list[str] = field(default_factory=list)
    """What an auditor should also know."""

    def sentence(self) -> str:
        """The result in one sentence."""
        if not self.ok:
            where = f" First wrong event: {self.first_bad_seq:,}." if self.first_bad_seq is not None else ""
            return f"The ledger does NOT verify: {self.reason}{where}"
        outside = f", and the checkpoint of {self.anchor:,} events given from outside" if self.anchor is not None else ""
        return (
            f"The ledger verifies: {self.events:,} events in an unbroken chain, {self.checkpoints:,} signed checkpoints "
            f"(the longest covers {self.covered:,}){outside}, in {self.seconds:.2f} s."
        )


@dataclass(frozen=True)
class SignedTree:
    """A checkpoint whose signature holds."""

    name: str
    origin: str
    size: int
    root: bytes


class NotVerified(Exception):
    """A check failed."""

    def __init__(self, reason: str, seq: int | None = None) -> None:
        super().__init__(reason)
        self.seq = seq


def verify_home(home: Path, checkpoint: Path | None = None) -> Report:
    """Verify the ledger of a workbench's home, of a ledger folder or of an export; never raises for a bad ledger.

    Args:
        home: the folder.
        checkpoint: a checkpoint kept outside, against a truncated or rewritten ledger.
    """
    started = time.perf_counter()
    report = Report()
    try:
        _verify(_ledger_folder(home), checkpoint, report)
    except NotVerified as failure:
        report.ok, report.reason, report.first_bad_seq = False, str(failure), failure.seq
    except OSError as error:
        report.ok, report.reason = False, f"{error.filename or 'a file'} cannot be read: {error.strerror}."
    report.seconds = time.perf_counter() - started
    return report


def _ledger_folder(home: Path) -> Path:
    for folder in (home, home / "ledger"):
        if (folder / "segments").is_dir():
            return folder
    raise NotVerified(f"{home} holds no ledger (no folder `segments` in it or in its `ledger`).")


def _verify(folder: Path, anchor_file: Path | None, report: Report) -> None:
    # Checkpoints first: the sealer writes events before the checkpoint over them, so all these must be found below.
    keys = _read_keys(folder / "ledger.vkey")
    signed = [_read_checkpoint(path, keys) for path in sorted((folder / "checkpoints").glob("*.txt"))]
    if (folder / "head.checkpoint").exists():
        signed.append(_read_checkpoint(folder / "head.checkpoint", keys))
    else:
        report.notes.append("There is no head.checkpoint; the end of the ledger is only covered by the last kept checkpoint.")
    if anchor_file is not None:
        anchor = _read_checkpoint(anchor_file, keys)
        signed.append(anchor)
        report.anchor = anchor.size
    if signed:
        report.origin = signed[-1].origin
    due: dict[int, list[SignedTree]] = {}
    for tree in signed:
        if tree.origin != report.origin:
            raise NotVerified(f"{tree.name} belongs to another ledger ({tree.origin}).")
        due.setdefault(tree.size, []).append(tree)

    edge: list[bytes] = []
    event_ids: set[str] = set()
    prev_hash = FIRST_PREV_HASH
    lines = _read_lines(folder / "segments", report)
    for line in lines:
        seq = report.events + 1
        leaf = sha256(b"\x00" + line).digest()
        event_ids.add(_check_event(line, seq, prev_hash, event_ids, lines))
        prev_hash = leaf.hex()
        _append(edge, report.events, leaf)
        report.events = seq
        if seq in due:
            root = _root(edge)
            for tree in due.pop(seq):
                if tree.root != root:
                    raise NotVerified(
                        f"The first {seq:,} events are not those that {tree.name} signed: the ledger was rewritten.",
                        report.covered + 1,
                    )
                report.checkpoints += 1
                report.covered = seq
    report.root = _root(edge).hex()
    if 0 in due:
        report.checkpoints += len(due.pop(0))
    if due:
        longest = max(due)
        raise NotVerified(
            f"{longest:,} events were signed ({due[longest][0].name}) and {report.events:,} are left: the end was cut off.",
            report.events + 1,
        )
    if report.events > report.covered:
        report.notes.append(
            f"The last {report.events - report.covered:,} events are chained but not under a signed checkpoint yet."
        )


def _check_event(line: bytes, seq: int, prev_hash: str, event_ids: set[str], following: Iterator[bytes]) -> str:
    """The id of event `seq`, once its line has passed."""
    unusual: list[str] = []

    def noted(text: str) -> float:
        # Python and RFC 8785 write a fraction alike unless it is whole, very large or very small.
        if "e" in text or "E" in text or text.endswith(".0"):
            unusual.append(text)
        return float(text)

    try:
        event = json.loads(line, parse_float=noted)
    except (ValueError, RecursionError) as error:
        raise NotVerified(f"Event {seq:,} is no JSON: {error}.", seq) from error
    if not isinstance(event, dict) or set(event) != FIELDS:
        raise NotVerified(f"Event {seq:,} does not have the fields of an event.", seq)
    if event["seq"] != seq:
        raise NotVerified(f"Event {seq:,} says it is number {event['seq']!r}: one was taken out, put in or moved.", seq)
    if event["prev_hash"] != prev_hash:
        if seq > 1 and _names_hash_of(next(following, b""), line):
            raise NotVerified(f"Event {seq - 1:,} was changed: event {seq:,} names another hash of it.", seq - 1)
        raise NotVerified(f"Event {seq:,} does not name the hash of the event before it.", seq)
    event_id = event["event_id"]
    if not isinstance(event_id, str) or event_id in event_ids:
        raise NotVerified(f"Event {seq:,} has an id that an earlier event has.", seq)
    if not _is_canonical(event, line, quick=not unusual):
        raise NotVerified(f"Event {seq:,} is not in its canonical form.", seq)
    return event_id


def _names_hash_of(successor: bytes, line: bytes) -> bool:
    """Whether the next event vouches for this one, so that it is the one before that was changed."""
    try:
        return bool(json.loads(successor)["prev_hash"] == sha256(b"\x00" + line).hexdigest())
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _is_canonical(event: object, line: bytes, *, quick: bool) -> bool:
    try:
        # The standard library writes the same bytes for nearly every event, ten times as fast.
        if quick and json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == line:
            return True
        return bytes(rfc8785.dumps(event)) == line  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, ValueError, RecursionError):
        return False


def _read_lines(segments: Path, report: Report) -> Iterator[bytes]:
    """Every event's line in order. A stretch closed meanwhile changes its name, so look again until nothing is new."""
    expected = 1
    seen: set[str] = set()
    while True:
        for first, last, path in _closed(segments, seen):
            seen.add(path.name)
            if first != expected or last < first:
                raise NotVerified(f"The segment that begins with event {expected:,} is missing.", expected)
            lines = path.read_bytes().split(b"\n")
            if lines.pop() != b"" or len(lines) != last - first + 1:
                raise NotVerified(
                    f"Segment {path.name} holds {len(lines):,} events instead of {last - first + 1:,}.",
                    _first_bad_line(lines, first),
                )
            yield from lines
            expected = last + 1
        try:
            data = (segments / OPEN_NAME).read_bytes()
        except FileNotFoundError:
            data = b""
        if not _closed(segments, seen):
            break
    *lines, torn = data.split(b"\n")
    report.being_written = torn != b""
    yield from lines


def _closed(segments: Path, seen: set[str]) -> list[tuple[int, int, Path]]:
    found = []
    for path in segments.glob("*-*.jsonl"):
        first, _, last = path.stem.partition("-")
        if path.name not in seen and first.isdecimal() and last.isdecimal():
            found.append((int(first), int(last), path))
    return sorted(found)


def _first_bad_line(lines: list[bytes], first: int) -> int:
    for seq, line in enumerate(lines, first):
        try:
            if json.loads(line)["seq"] != seq:
                return seq
        except (ValueError, KeyError, TypeError):
            return seq
    return first + len(lines)


def _append(edge: list[bytes], size: int, leaf: bytes) -> None:
    """Grow the right edge of the tree of `size` leaves by one (RFC 6962, section 2.1)."""
    node = leaf
    while size & 1:
        node = sha256(b"\x01" + edge.pop() + node).digest()
        size >>= 1
    edge.append(node)


def _root(edge: list[bytes]) -> bytes:
    if not edge:
        return sha256(b"").digest()
    root = edge[-1]
    for node in reversed(edge[:-1]):
        root = sha256(b"\x01" + node + root).digest()
    return root


def _read_keys(path: Path) -> list[tuple[str, bytes, Ed25519PublicKey]]:
    """(name, 4-byte key hash, key) of each line `name+hash+key`."""
    try:
        lines = path.read_text().split()
    except (FileNotFoundError, UnicodeDecodeError):
        raise NotVerified("The ledger's public key, ledger.vkey, is missing or unreadable.") from None
    keys = []
    for line in lines:
        try:
            name, hash_text, key_text = line.split("+", 2)
            raw = base64.b64decode(key_text, validate=True)
            key_hash = sha256(name.encode() + b"\n" + raw).digest()[:4]
            if raw[:1] != b"\x01" or key_hash.hex() != hash_text:
                raise ValueError(line)
            keys.append((name, key_hash, Ed25519PublicKey.from_public_bytes(raw[1:])))
        except (ValueError, binascii.Error):
            raise NotVerified("A line of ledger.vkey is not an Ed25519 verifier key.") from None
    if not keys:
        raise NotVerified("ledger.vkey holds no key.")
    return keys


def _read_checkpoint(path: Path, keys: list[tuple[str, bytes, Ed25519PublicKey]]) -> SignedTree:
    """A C2SP tlog-checkpoint in a signed note, with the signature checked."""
    try:
        note = path.read_bytes().decode()
        text, separator, signatures = note.rpartition("\n\n")
        if not separator:
            raise ValueError(note)
        text += "\n"
        origin, size_text, root_text = text.split("\n")[:3]
        size, root = int(size_text), base64.b64decode(root_text, validate=True)
        if str(size) != size_text or size < 0 or len(root) != 32:
            raise ValueError(text)
    except (ValueError, binascii.Error):
        raise NotVerified(f"{path.name} is not a checkpoint.") from None
    for line in signatures.split("\n"):
        start, _, signature_text = line.rpartition(" ")
        for name, key_hash, key in keys:
            if name != origin or start != f"\N{EM DASH} {name}":
                continue
            try:
                signature = base64.b64decode(signature_text, validate=True)
                if signature[:4] == key_hash:
                    key.verify(signature[4:], text.encode())
                    return SignedTree(path.name, origin, size, root)
            except (InvalidSignature, ValueError, binascii.Error):
                continue
    raise NotVerified(f"{path.name} is not signed by the ledger's key.")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Verify a Learning Workbench audit ledger.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="home, ledger folder or export (default: here)")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint you kept elsewhere")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    options = parser.parse_args(arguments)
    report = verify_home(options.folder, options.checkpoint)
    if options.json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
    else:
        (sys.stdout if report.ok else sys.stderr).write(
            "\n".join([report.sentence(), *report.notes, f"Merkle root: {report.root}" if report.root else ""]).rstrip() + "\n"
        )
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
