"""Text search over traces: substrings in any script.

On SQLite a trigram index finds substrings of three characters or more; a second index over pairs of characters finds two in
Chinese, Japanese and Korean, where two make a word. Texts and queries are folded alike (NFKC, case).
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, event, false, text
from sqlmodel import Session, col

from workbench.core.database import TRACES
from workbench.traces.models import Trace
from workbench.traces.store import table

_IDEOGRAPHS = re.compile("[぀-ヿ㐀-䶿一-鿿가-힯豈-﫿\U00020000-\U0003134f]{2,}")

_STATEMENTS = (
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {TRACES}.trace_search USING fts5(text, tokenize='trigram')",
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {TRACES}.trace_search_pairs USING fts5(text, tokenize='unicode61')",
)


def search_ddl(dialect: str) -> Sequence[str]:
    """Statements that make the search tables, for migrations; safe to repeat."""
    return _STATEMENTS if dialect == "sqlite" else ()


@event.listens_for(table(Trace), "after_create")
def _create(_target: Any, connection: Connection, **_: Any) -> None:
    ensure(connection)


def ensure(connection: Connection) -> None:
    """Make the search tables where they are missing."""
    for statement in search_ddl(connection.dialect.name):
        connection.exec_driver_sql(statement)


def _exists(session: Session) -> bool:
    names = f"SELECT count(*) FROM {TRACES}.sqlite_master WHERE name IN ('trace_search', 'trace_search_pairs')"  # noqa: S608
    return bool(session.connection().exec_driver_sql(names).scalar() == len(_STATEMENTS))


def fold(value: str) -> str:
    """The form in which texts are compared: NFKC, caseless, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", _storable(value)).casefold().split())


def _storable(value: str) -> str:
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def pairs(folded: str) -> str:
    """Overlapping pairs of ideographs and syllables, as words."""
    return " ".join(run[start : start + 2] for run in _IDEOGRAPHS.findall(folded) for start in range(len(run) - 1))


def write(connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
    """Put texts, each with its trace's row id, into the index in place of what was there (SQLite)."""
    folded = [(row_id, fold(value)) for row_id, value in texts]
    spelled = [(row_id, found) for row_id, value in folded if (found := pairs(value))]
    ids = [(row_id,) for row_id, _ in folded]
    for name, rows in (("trace_search", folded), ("trace_search_pairs", spelled)):
        connection.exec_driver_sql(f"DELETE FROM {TRACES}.{name} WHERE rowid = ?", ids)  # noqa: S608
        if rows:
            connection.exec_driver_sql(f"INSERT INTO {TRACES}.{name} (rowid, text) VALUES (?, ?)", rows)  # noqa: S608


def remove(connection: Connection, ids: Sequence[int]) -> None:
    """Take traces out of the index (SQLite)."""
    for name in ("trace_search", "trace_search_pairs"):
        connection.exec_driver_sql(f"DELETE FROM {TRACES}.{name} WHERE rowid = ?", [(row_id,) for row_id in ids])  # noqa: S608


def contains(session: Session, wanted: str) -> Any:
    """A condition on Trace: its text contains `wanted`, whatever case and width it was typed in."""
    folded = fold(wanted)
    if session.get_bind().dialect.name != "sqlite":
        pattern = "%" + re.sub(r"([\\%_])", r"\\\1", _storable(wanted).strip()) + "%"
        return col(Trace.input).ilike(pattern, escape="\\") | col(Trace.output).ilike(pattern, escape="\\")
    if not _exists(session):  # nothing was ever indexed
        return false()
    if len(folded) >= 3:
        inner = f"SELECT rowid FROM {TRACES}.trace_search WHERE trace_search MATCH :wanted"  # noqa: S608
        bound: dict[str, Any] = {"wanted": '"' + folded.replace('"', '""') + '"'}
    elif _IDEOGRAPHS.fullmatch(folded):
        inner = f"SELECT rowid FROM {TRACES}.trace_search_pairs WHERE trace_search_pairs MATCH :wanted"  # noqa: S608
        bound = {"wanted": f'"{folded}"'}
    else:
        return _contains_short(session, folded)
    return text(f"{TRACES}.trace.id IN ({inner})").bindparams(**bound)


_SAMPLE, _COMMON = 500, 100
"""Newest texts looked at, and of them those with a short string that make it a common one."""


def _contains_short(session: Session, folded: str) -> Any:
    """A condition for what is too short for an index, so that texts are read.

    Where many have it, rows are tried one by one, as a list needs only its first ones. Otherwise all texts are read once, and
    a session remembers what was found, since a list and its count ask for the same.
    """
    connection = session.connection()
    newest = f"SELECT text FROM {TRACES}.trace_search ORDER BY rowid DESC LIMIT {_SAMPLE}"  # noqa: S608
    sampled = connection.exec_driver_sql(f"SELECT count(*) FROM ({newest}) WHERE instr(text, ?) > 0", (folded,))  # noqa: S608
    if int(sampled.scalar() or 0) >= _COMMON:
        one = f"SELECT 1 FROM {TRACES}.trace_search s WHERE s.rowid = {TRACES}.trace.id AND instr(s.text, :wanted) > 0"  # noqa: S608
        return text(f"EXISTS ({one})").bindparams(wanted=folded)
    key = ("trace_search", folded)
    if key not in session.info:
        every = f"SELECT rowid FROM {TRACES}.trace_search WHERE instr(text, ?) > 0"  # noqa: S608
        found = connection.exec_driver_sql(every, (folded,)).scalars().all()
        session.info[key] = orjson.dumps(found).decode()
    return text(f"{TRACES}.trace.id IN (SELECT value FROM json_each(:rows))").bindparams(rows=session.info[key])  # noqa: S608
