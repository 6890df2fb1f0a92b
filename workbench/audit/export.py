"""The whole ledger as a folder that an outsider can verify and read without the workbench.

OUT/README.md           how to verify, and what the columns mean
OUT/verify.py           the verifier; needs `cryptography` and `rfc8785` only
OUT/ledger.vkey         the public key
OUT/head.checkpoint     the signed size and root; keep a copy elsewhere
OUT/checkpoints/N.txt   earlier signed sizes and roots
OUT/segments/….jsonl    the events, byte for byte
OUT/events.csv, OUT/events.parquet   the same for people and for analysis
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow.parquet as pq

from workbench.audit import verify
from workbench.audit.events import Event
from workbench.audit.journal import CHECKPOINTS, HEAD, SEGMENTS, VERIFIER_KEYS
from workbench.audit.ledger import to_arrow
from workbench.audit.segments import OPEN_NAME, closed_segments
from workbench.audit.sentences import sentence
from workbench.core.errors import InvalidInput, NotFound

_README = Path(__file__).with_name("export_readme.md")
_GROUP = 10_000

CSV_COLUMNS = (
    "seq", "at", "sentence", "reason", "type", "actor_name", "actor_kind", "actor_id", "subject_kind", "subject_id",
    "project_id", "details", "command_id", "event_id", "prev_hash", "leaf_hash",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    folder: Path
    report: verify.Report
    """Verification of the exported files themselves."""
    unreadable: int
    """Events that could not be put into the tables; they are in the segments as they are."""

    def __str__(self) -> str:
        return f"Wrote {self.report.events:,} events to {self.folder}. {self.report.sentence()}"


def export(home: Path, out: Path) -> Exported:
    """Export the ledger of a home; works while the workbench runs, and leaves nothing half-made.

    A ledger that does not verify is exported all the same, as evidence, and the report says what is wrong.

    Args:
        home: the home.
        out: a folder that is new or empty.

    Raises:
        InvalidInput: `out` is not empty.
        NotFound: the home has no ledger.
    """
    ledger = home / "ledger"
    if not (ledger / SEGMENTS).is_dir():
        raise NotFound(f"There is no ledger in {home}.", todo="Start the workbench once, or name another folder with --home.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out} is not an empty folder.", todo="Choose a new one, so that nothing is mixed or overwritten.")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        _copy_ledger(ledger, partial)
        unreadable = write_tables(partial)
        shutil.copyfile(verify.__file__, partial / "verify.py")
        report = verify.verify_home(partial)
        (partial / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
        text = _README.read_text()
        (partial / "README.md").write_text(
            text.replace("{events}", f"{report.events:,}")
            .replace("{origin}", report.origin or "(no checkpoint yet)")
            .replace("{root}", report.root or "(not computed)")
            .replace("{result}", report.sentence())
        )
        if out.exists():
            out.rmdir()
        out.parent.mkdir(parents=True, exist_ok=True)
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Exported(out, report, unreadable)


def _copy_ledger(ledger: Path, out: Path) -> None:
    """Signed notes first, then the events: whatever a note covers was on the disk before it."""
    (out / CHECKPOINTS).mkdir(parents=True)
    (out / SEGMENTS).mkdir()
    for name in (VERIFIER_KEYS, HEAD):
        if (ledger / name).exists():
            shutil.copyfile(ledger / name, out / name)
    for path in (ledger / CHECKPOINTS).glob("*.txt"):
        shutil.copyfile(path, out / CHECKPOINTS / path.name)
    copied: set[str] = set()
    while True:
        for _, _, path in closed_segments(ledger / SEGMENTS):
            if path.name not in copied:
                shutil.copyfile(path, out / SEGMENTS / path.name)
                copied.add(path.name)
        try:
            data = (ledger / SEGMENTS / OPEN_NAME).read_bytes()
        except FileNotFoundError:
            data = b""
        # A stretch closed meanwhile is both: then take it under its new name, and look at the open one again.
        if all(path.name in copied for _, _, path in closed_segments(ledger / SEGMENTS)):
            break
    whole = data[: data.rfind(b"\n") + 1]
    if whole:
        (out / SEGMENTS / OPEN_NAME).write_bytes(whole)


def write_tables(folder: Path) -> int:
    """Write `events.csv` and `events.parquet` from the folder's segments; returns how many lines were no events."""
    unreadable = 0
    paths = [path for _, _, path in closed_segments(folder / SEGMENTS)]
    paths += [folder / SEGMENTS / OPEN_NAME] if (folder / SEGMENTS / OPEN_NAME).exists() else []

    def events() -> Iterator[Event]:
        nonlocal unreadable
        for path in paths:
            for line in path.read_bytes().splitlines():
                try:
                    yield Event.from_bytes(line)
                except ValueError:
                    unreadable += 1

    stream = events()
    with (
        (folder / "events.csv").open("w", newline="", encoding="utf-8-sig") as file,
        pq.ParquetWriter(folder / "events.parquet", to_arrow([]).schema) as parquet,
    ):
        writer = _csv_writer(file)
        while group := list(islice(stream, _GROUP)):
            parquet.write_table(to_arrow(group))
            writer.writerows(csv_row(event) for event in group)
    return unreadable


def write_csv(events: list[Event], file: TextIO) -> None:
    """The same CSV for a choice of events."""
    _csv_writer(file).writerows(csv_row(event) for event in events)


def csv_row(event: Event) -> list[str]:
    """One line of `events.csv`, safe to open in a spreadsheet."""
    values: dict[str, Any] = {
        **asdict(event),
        "at": event.at.isoformat(timespec="microseconds"),
        "sentence": sentence(event),
        "details": json.dumps(event.details, ensure_ascii=False, sort_keys=True),
        "leaf_hash": event.leaf.hex(),
    }
    return [_no_formula("" if values[name] is None else str(values[name])) for name in CSV_COLUMNS]


def _no_formula(cell: str) -> str:
    """A spreadsheet would run a cell that begins like a formula; an apostrophe makes it text."""
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _csv_writer(file: TextIO) -> Any:
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    return writer
