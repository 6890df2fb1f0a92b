"""Reads of the ledger for the audit page and the command line.

Where this process runs the active sealer they ask DuckDB; elsewhere (the command line, a passive web process) they read the
segments. What an actor may see is decided here: events of the projects where they may read the audit ledger; events
that belong to no project only with that permission everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from workbench.audit import merkle
from workbench.audit.checkpoint import BadCheckpoint, Checkpoint, open_note
from workbench.audit.columns import from_row
from workbench.audit.events import Event
from workbench.audit.journal import CHECKPOINTS, HEAD, LEDGER_FOLDER, SEGMENTS, VERIFIER_KEYS
from workbench.audit.outbox import Outbox
from workbench.audit.segments import read_lines
from workbench.core.actors import Actor, Permission
from workbench.core.errors import NotAllowed, NotFound
from workbench.core.unit_of_work import Context

if TYPE_CHECKING:
    # At run time only the web process, which has a sealer, needs DuckDB; the others start without importing it.
    from workbench.audit.ledger import Ledger
    from workbench.audit.sealer import Sealer


@dataclass(frozen=True)
class EventFilter:
    """Which events to show. None and empty mean: any."""

    since: datetime | None = None
    """From this moment on."""
    until: datetime | None = None
    """Before this moment."""
    actor_id: str | None = None
    type: str | None = None
    """An exact type, or a stage (`knowledge`) for all its acts."""
    subject_kind: str | None = None
    subject_id: str | None = None
    project_id: str | None = None
    text: str = ""
    """Found in the reason, in any case."""

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, field.name) in (None, "") for field in fields(self))


@dataclass(frozen=True)
class Choices:
    """What the filters can offer."""

    people: dict[str, str]
    """Actor id → name, by name."""
    types: list[str]
    subject_kinds: list[str]
    project_ids: list[str]


@dataclass(frozen=True)
class Inclusion:
    """Whether and how an event is part of a signed tree."""

    checkpoint: Checkpoint
    """The signed tree that the proof leads to."""
    kept: bool
    """True: a kept checkpoint. False: so far only the head, which each group replaces."""
    leaf: bytes
    proof: list[bytes]
    """Sibling hashes from the leaf to the root."""
    holds: bool
    """Whether leaf and proof give the signed root."""


class AuditQueries:
    """Reads of one home's ledger."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._folder = context.settings.folder(LEDGER_FOLDER)

    @property
    def sealer(self) -> Sealer | None:
        """This process's sealer, if it has one."""
        return cast("Sealer | None", self._context.extras.get("sealer"))

    def page(self, actor: Actor, wanted: EventFilter, *, before: int | None = None, limit: int = 50) -> list[Event]:
        """Events newest first, those with a seq below `before`.

        Raises:
            NotAllowed: the actor may read no project's audit events.
        """
        visible = self.visible_projects(actor)
        if ledger := self._ledger():
            where, parameters = _conditions(wanted, visible, before)
            rows = ledger.query(f"SELECT * FROM events {where} ORDER BY seq DESC LIMIT ?", [*parameters, limit])  # noqa: S608
            return [from_row(row) for row in rows]
        newest = [event for event in self._scan(wanted, visible) if before is None or event.seq < before][-limit:]
        return newest[::-1]

    def count(self, actor: Actor, wanted: EventFilter, *, before: int | None = None, after: int = 0) -> int:
        """How many events match, with a seq below `before` and above `after`."""
        visible = self.visible_projects(actor)
        if ledger := self._ledger():
            where, parameters = _conditions(wanted, visible, before)
            where += (" AND" if where else "WHERE") + " seq > ?"
            return int(ledger.query(f"SELECT count(*) FROM events {where}", [*parameters, after])[0][0])  # noqa: S608
        return sum(1 for event in self._scan(wanted, visible) if event.seq > after and (before is None or event.seq < before))

    def size(self) -> int:
        """How many events the ledger holds, whoever may see them."""
        if ledger := self._ledger():
            return int(ledger.query("SELECT count(*) FROM events")[0][0])
        return sum(1 for _ in read_lines(self._folder / SEGMENTS))

    def waiting(self) -> tuple[int, datetime | None]:
        """How many events wait in the outboxes to be sealed, and the moment of the oldest."""
        return Outbox(self._context.database).waiting()

    def choices(self, actor: Actor) -> Choices:
        """People, types, kinds and projects that occur in what the actor may see."""
        visible = self.visible_projects(actor)
        if ledger := self._ledger():
            where, parameters = _conditions(EventFilter(), visible, None)
            names = "actor_id, actor_name, type, subject_kind, project_id"
            rows = ledger.query(f"SELECT DISTINCT {names} FROM events {where} ORDER BY actor_name", parameters)  # noqa: S608
        else:
            rows = [
                (e.actor_id, e.actor_name, e.type, e.subject_kind, e.project_id) for e in self._scan(EventFilter(), visible)
            ]
        return Choices(
            people=dict(sorted({row[0]: row[1] for row in rows}.items(), key=lambda pair: pair[1].lower())),
            types=sorted({row[2] for row in rows}),
            subject_kinds=sorted({row[3] for row in rows}),
            project_ids=sorted({row[4] for row in rows if row[4]}),
        )

    def event(self, actor: Actor, seq: int) -> Event:
        """One event.

        Raises:
            NotFound: there is none, or not for this actor.
        """
        visible = self.visible_projects(actor)
        found = None
        if ledger := self._ledger():
            rows = ledger.query("SELECT * FROM events WHERE seq = ?", [seq])
            found = from_row(rows[0]) if rows else None
        else:
            line = next((line for _, line in read_lines(self._folder / SEGMENTS, max(seq, 1))), None)
            found = Event.from_bytes(line) if line is not None and seq >= 1 else None
        if found is None or not (visible is None or found.project_id in visible):
            raise NotFound(f"The ledger has no event {seq:,} that you may see.")
        return found

    def inclusion(self, actor: Actor, seq: int) -> Inclusion | None:
        """The proof that an event is in the smallest kept checkpoint that covers it, or else in the head; None: in neither yet.

        Raises:
            NotFound
        """
        event = self.event(actor, seq)
        found = self._covering(seq)
        if found is None:
            return None
        checkpoint, kept = found
        leaves = self._leaves(checkpoint.size)
        leaf = event.leaf
        if len(leaves) < checkpoint.size:
            return Inclusion(checkpoint, kept, leaf, [], holds=False)
        proof = merkle.inclusion_proof(leaves, seq - 1)
        holds = merkle.inclusion_holds(leaf, seq - 1, checkpoint.size, proof, checkpoint.root)
        return Inclusion(checkpoint, kept, leaf, proof, holds)

    def latest_checkpoint(self) -> Checkpoint | None:
        """The latest kept checkpoint; None before the first."""
        kept = sorted((self._folder / CHECKPOINTS).glob("*.txt"))
        return self._read_note(kept[-1]) if kept else None

    def head_note(self) -> str:
        """The signed note over everything sealed so far, to be kept elsewhere; empty before the first event."""
        path = self._folder / HEAD
        return path.read_text() if path.exists() else ""

    def visible_projects(self, actor: Actor) -> frozenset[str] | None:
        """Projects whose events the actor may see; None: all, and those of no project.

        Raises:
            NotAllowed: none.
        """
        if self._may_read(actor, None):
            return None
        named = {grant.project_id for grant in actor.grants} | {actor.project_id}
        visible = frozenset(project for project in named if project is not None and self._may_read(actor, project))
        if not visible:
            raise NotAllowed("You may not read the audit ledger.", todo="Ask an admin for the role of auditor.")
        return visible

    def _may_read(self, actor: Actor, project_id: str | None) -> bool:
        try:
            self._context.authorizer.require(actor, Permission.READ_AUDIT, project_id)
        except NotAllowed:
            return False
        return True

    def _ledger(self) -> Ledger | None:
        return self.sealer.ledger if self.sealer else None

    def _scan(self, wanted: EventFilter, visible: frozenset[str] | None) -> Iterator[Event]:
        for _, line in read_lines(self._folder / SEGMENTS):
            event = Event.from_bytes(line)
            if (visible is None or event.project_id in visible) and _matches(event, wanted):
                yield event

    def _leaves(self, size: int) -> Sequence[bytes]:
        journal = self.sealer.journal if self.sealer else None
        if journal is not None and journal.size >= size:
            return journal.leaves(size)
        leaves = (merkle.leaf_hash(line) for seq, line in read_lines(self._folder / SEGMENTS) if seq <= size)
        return list(leaves)

    def _covering(self, seq: int) -> tuple[Checkpoint, bool] | None:
        kept = sorted(path for path in (self._folder / CHECKPOINTS).glob("*.txt") if int(path.stem) >= seq)
        for path, is_kept in [*((path, True) for path in kept[:1]), (self._folder / HEAD, False)]:
            checkpoint = self._read_note(path)
            if checkpoint is not None and checkpoint.size >= seq:
                return checkpoint, is_kept
        return None

    def _read_note(self, path: Path) -> Checkpoint | None:
        try:
            keys = (self._folder / VERIFIER_KEYS).read_text().splitlines()
            return open_note(path.read_text(), [key for key in keys if key.strip()])
        except (OSError, BadCheckpoint, UnicodeDecodeError):
            return None


def _conditions(wanted: EventFilter, visible: frozenset[str] | None, before: int | None) -> tuple[str, list[Any]]:
    """A WHERE clause with placeholders, and its parameters."""
    clauses: list[tuple[str, Any]] = []
    if before is not None:
        clauses.append(("seq < ?", before))
    if visible is not None:
        clauses.append(("project_id IN (SELECT unnest(?))", sorted(visible)))
    if wanted.since is not None:
        clauses.append(('"at" >= ?', _naive(wanted.since)))
    if wanted.until is not None:
        clauses.append(('"at" < ?', _naive(wanted.until)))
    if wanted.type:
        clauses.append(("type = ?", wanted.type) if "." in wanted.type else ("starts_with(type, ?)", wanted.type + "."))
    for name in ("actor_id", "subject_kind", "subject_id", "project_id"):
        if value := getattr(wanted, name):
            clauses.append((f"{name} = ?", value))
    if wanted.text:
        clauses.append(("contains(lower(reason), lower(?))", wanted.text))
    where = "WHERE " + " AND ".join(clause for clause, _ in clauses) if clauses else ""
    return where, [value for _, value in clauses]


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _matches(event: Event, wanted: EventFilter) -> bool:
    """The same conditions on an event in hand."""
    of_type = not wanted.type or event.type == wanted.type or event.type.split(".")[0] == wanted.type
    names = ("actor_id", "subject_kind", "subject_id", "project_id")
    return (
        of_type
        and (wanted.since is None or event.at >= wanted.since)
        and (wanted.until is None or event.at < wanted.until)
        and all(not getattr(wanted, name) or getattr(event, name) == getattr(wanted, name) for name in names)
        and (not wanted.text or wanted.text.lower() in event.reason.lower())
    )
