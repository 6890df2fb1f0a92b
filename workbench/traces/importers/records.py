"""Files as records: JSON lines, one JSON document, a JSON array of any length, CSV, Parquet. Read in pieces, never whole."""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core.errors import InvalidInput

MAX_RECORD = 64 * 1024 * 1024
"""Bytes of one line, of one element of an array, or of one document."""

_PIECE = 1 << 20
_ROWS = 500
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Record:
    """One record of a file, or why it cannot be read."""

    number: int
    """The line it begins on; in an array or a Parquet file, which record it is. From 1."""
    value: Any
    position: int
    """Bytes of the file behind it, for progress."""
    error: str = ""


def container_of(path: Path) -> str:
    """`parquet`, `json` (lines, a document or an array) or `csv`, by how the file begins."""
    with path.open("rb") as file:
        start = file.read(4096)
    if start[:4] == b"PAR1":
        return "parquet"
    return "json" if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[") else "csv"


def records(path: Path, container: str) -> Iterator[Record]:
    """Every record of a file; what cannot be read is a record with an error."""
    if container == "parquet":
        return _parquet(path)
    return json_records(path) if container == "json" else csv_records(path)


# -------------------------------------------------------------------------------------------------------------------- JSON


def json_records(path: Path) -> Iterator[Record]:
    """The documents of a JSON file: one a line, one in all, or the elements of an array."""
    with path.open("rb") as file:
        first = file.readline(MAX_RECORD)
        while first and not first.strip():
            first = file.readline(MAX_RECORD)
    start = first.removeprefix(codecs.BOM_UTF8).lstrip()
    if start[:1] == b"[" and not (_is_whole(start) and _has_more(path, first)):
        yield from _array(path)
    elif not _is_whole(start) and (whole := _document(path)) is not None:  # an indented document
        yield Record(1, whole, path.stat().st_size)
    else:
        yield from _lines(path)


def _lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_RECORD):
            number += 1
            if not line.strip():
                continue
            if len(line) == MAX_RECORD and not line.endswith(b"\n"):
                while (rest := file.readline(MAX_RECORD)) and not rest.endswith(b"\n"):
                    continue
                yield Record(number, None, file.tell(), f"The line is longer than {MAX_RECORD >> 20} MiB.")
                continue
            try:
                value = json.loads(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
            except (ValueError, RecursionError) as error:
                yield Record(number, None, file.tell(), f"This is not JSON. {str(error)[:200]}")
                continue
            yield Record(number, value, file.tell())


def _array(path: Path) -> Iterator[Record]:
    """The elements of one array, which may be far larger than memory."""
    machine, number, text = json.JSONDecoder(), 0, ""
    decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
    with path.open("rb") as file:
        started = ended = False
        wanted = 0
        while not ended:
            piece = file.read(max(_PIECE, wanted))
            text += decode(piece, not piece)
            at = 0
            while True:
                while at < len(text) and text[at] in " \t\r\n,":
                    at += 1
                if not started and at < len(text):
                    started, at = True, at + 1  # the opening bracket
                    continue
                if at >= len(text):
                    break
                if text[at] == "]":
                    ended = True
                    break
                try:
                    value, after = machine.raw_decode(text, at)
                except (ValueError, RecursionError) as error:
                    if piece and len(text) - at <= MAX_RECORD and not isinstance(error, RecursionError):
                        break  # it may be cut: read on
                    yield Record(number + 1, None, file.tell(), f"The array cannot be read from here on. {str(error)[:200]}")
                    return
                number, at = number + 1, after
                yield Record(number, value, file.tell())
            text = text[at:]
            wanted = len(text)  # twice as much each time, so that one long element is not parsed over and over
            if not piece:
                if not ended:
                    yield Record(number + 1, None, file.tell(), "The file ends inside its array: it was cut short.")
                return


def _document(path: Path) -> Any:
    if path.stat().st_size > MAX_RECORD:
        return None
    try:
        return json.loads(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return None


def _is_whole(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _has_more(path: Path, first: bytes) -> bool:
    """Whether something follows the first line, so that its array is a line of several."""
    with path.open("rb") as file:
        file.seek(len(first))
        while piece := file.read(_PIECE):
            if piece.strip():
                return True
    return False


# --------------------------------------------------------------------------------------------------------------------- CSV


def csv_records(path: Path) -> Iterator[Record]:
    """The rows of a CSV file as objects of text by column.

    Raises:
        InvalidInput: it has no header.
    """
    csv.field_size_limit(MAX_RECORD)
    encoding = encoding_of(path)
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding=encoding, errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=separator_of(path, encoding))
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise InvalidInput("The file has no header.", todo="The first line of a CSV file names its columns.")
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise InvalidInput(f"The column {twice[0][:60]!r} is there twice.", todo="Give every column a name of its own.")
        while True:
            number = reader.line_num + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                yield Record(number, None, raw.tell(), f"This row is not CSV: {error}.")
                continue
            if row is None:
                return
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(header):
                why = f"The row has {len(row)} cells and the header {len(header)}: a separator may lack its quotes."
                yield Record(number, None, raw.tell(), why)
                continue
            yield Record(number, dict(zip(header, row, strict=False)), raw.tell())


def encoding_of(path: Path) -> str:
    """utf-8 or utf-16 by its mark, else UTF-8 where the whole file is, else Windows' Latin."""
    with path.open("rb") as file:
        start = file.read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        file.seek(0)
        decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        try:
            while piece := file.read(_PIECE):
                decode(piece)
            decode(b"", True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def separator_of(path: Path, encoding: str) -> str:
    """The separator that the header uses most, outside of quotes."""
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        header = file.readline(_PIECE)
    bare = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=bare.count)


# ----------------------------------------------------------------------------------------------------------------- Parquet


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    size, number = path.stat().st_size, 0
    try:
        file = pq.ParquetFile(path)
        total = max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield Record(number, row, size * number // total)
    except (pa.ArrowException, OSError) as error:
        yield Record(number + 1, None, size, f"The Parquet file cannot be read from here on: {str(error)[:200]}")
