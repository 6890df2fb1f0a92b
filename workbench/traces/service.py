"""Commands over traces and feedback."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, update
from sqlmodel import col, select

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash, hash_bytes
from workbench.core.clock import now
from workbench.core.errors import InvalidInput, NotFound
from workbench.core.ids import new_id
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.traces import own_mapping, tagging
from workbench.traces.answers import LoggedAnswer, spans_of_answer
from workbench.traces.coverage_models import ProjectMapping, Remap
from workbench.traces.decoded import Decoded, Rejection
from workbench.traces.dialects import MAPPING_VERSION
from workbench.traces.feedback import feedback_row
from workbench.traces.import_runs import ImportRun, begin
from workbench.traces.imports import ImportReport, Reader, import_file, reader_for, recognise
from workbench.traces.indexer import assemble_pending, index_all, index_texts
from workbench.traces.masking.numbering import settle
from workbench.traces.masking.rules import new_draft
from workbench.traces.models import Feedback, Span, Trace, TraceTag
from workbench.traces.otlp import decode
from workbench.traces.otlp_json import decode_json
from workbench.traces.store import Batch, GroupWriter, insert, touch

_REFRESH = 200


@dataclass(frozen=True)
class IngestReport:
    """What became of a request's spans. They are on disk when a caller holds this."""

    spans: int
    """Spans of the request that are now stored, repeated ones included."""
    new: int
    trace_ids: tuple[str, ...]
    rejected: tuple[Rejection, ...] = field(default=())

    @property
    def message(self) -> str:
        """One sentence for the sender about what was rejected; empty when nothing was."""
        if not self.rejected:
            return ""
        reasons = list(dict.fromkeys(rejection.reason for rejection in self.rejected))
        more = f" (and {len(reasons) - 3} more reasons)" if len(reasons) > 3 else ""
        return f"{len(self.rejected)} spans were rejected: {' '.join(reasons[:3])}{more}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An OTLP request that an actor sent to a project."""

    actor: Actor
    project_id: str
    request: bytes | dict[str, Any]
    """The unpacked body, or JSON already parsed."""
    content_type: str = "application/json"
    """`application/x-protobuf` or `application/json`."""

    @property
    def body_hash(self) -> str:
        return hash_bytes(self.request) if isinstance(self.request, bytes) else ""


Prepared = tuple[Batch | None, Exception | None]
"""A request decoded and masked, on its way to the disk, and why it is refused: either may be missing, not both."""


def _outcome(batch: Batch | None, refusal: Exception | None) -> "IngestReport | Exception":
    failed = (batch.error if batch is not None else None) or refusal
    if failed is not None:
        return failed
    assert batch is not None
    return _report(batch.decoded, batch.new_spans)


def _report(decoded: Decoded, new: int) -> IngestReport:
    trace_ids = tuple(dict.fromkeys(span.trace_id for span in decoded.spans))
    return IngestReport(len(decoded.spans), new, trace_ids, tuple(decoded.rejected))


class TraceService(Service):
    """Taking traces and feedback in, and acts of people on them."""

    @cached_property
    def _writer(self) -> GroupWriter:
        return GroupWriter(self.context)

    def ingest_otlp(
        self,
        actor: Actor,
        project_id: str,
        request: bytes | dict[str, Any],
        content_type: str = "application/json",
        *,
        origin: str = "otlp",
    ) -> IngestReport:
        """Store the spans of an OTLP request durably. Sending it again changes nothing.

        The traces are assembled soon after by whoever runs `indexer.index_pending`.

        Args:
            request: the body (protobuf or JSON, see content_type), or JSON already parsed.
            content_type: `application/x-protobuf` or `application/json`.

        Raises:
            InvalidInput: the body is no OTLP trace request; the failure is kept among the rejected.
            NotAllowed: the actor may not ingest into this project.
        """
        prepared = self.prepare([Delivery(actor, project_id, request, content_type)], origin=origin)
        (outcome,) = self.store_prepared(prepared)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def prepare(self, deliveries: Sequence[Delivery], *, origin: str = "otlp") -> list[Prepared]:
        """Decode and mask requests, to be stored by `store_prepared`, which another thread may do."""
        prepared: list[Prepared] = []
        for delivery in deliveries:
            batch: Batch | None
            refusal: Exception | None
            try:
                decoded, refusal = self._decode(delivery)
                batch = self._batch(delivery.actor, delivery.project_id, decoded, delivery.body_hash, origin=origin)
            except Exception as error:  # one request's trouble is not the others'
                batch, refusal = None, error
            prepared.append((batch, refusal))
        return prepared

    def store_prepared(self, prepared: Sequence[Prepared]) -> list[IngestReport | Exception]:
        """Store what was prepared, durably, with one flush to the disk; returns the outcome of each request."""
        self._writer.write_all([batch for batch, _ in prepared if batch is not None])
        return [_outcome(batch, refusal) for batch, refusal in prepared]

    def _decode(self, delivery: Delivery) -> tuple[Decoded, InvalidInput | None]:
        """What is in a request; for one that cannot be read, the note that is kept of it and the refusal."""
        self.context.authorizer.require(delivery.actor, Permission.INGEST_TRACES, delivery.project_id)
        request, received_ns = delivery.request, int(now().timestamp() * 1e9)
        try:
            if isinstance(request, bytes):
                return decode(request, delivery.content_type, received_ns=received_ns), None
            return decode_json(request, received_ns=received_ns), None
        except InvalidInput as error:
            return Decoded(rejected=[Rejection(f"{error} ({len(request):,} bytes)"[:500])]), error

    def _batch(
        self, actor: Actor, project_id: str, decoded: Decoded, body_hash: str, *, origin: str,
        permissions: tuple[Permission, ...] = (Permission.INGEST_TRACES,),
    ) -> Batch:  # fmt: skip
        """The decoded spans masked by the project's rules, ready to be written."""
        draft = new_draft(self.context, project_id)
        draft.spans(decoded)
        return Batch(actor, project_id, decoded, body_hash, draft, permissions, origin)

    def store(
        self,
        actor: Actor,
        project_id: str,
        decoded: Decoded,
        body_hash: str = "",
        *,
        origin: str,
        permissions: tuple[Permission, ...] = (Permission.INGEST_TRACES,),
    ) -> IngestReport:
        """Store decoded spans durably, masked by the project's rules; see `ingest_otlp`."""
        batch = self._batch(actor, project_id, decoded, body_hash, origin=origin, permissions=permissions)
        self._writer.write(batch)
        return _report(decoded, batch.new_spans)

    def import_file(
        self,
        actor: Actor,
        project_id: str,
        path: Path,
        *,
        format: str = "auto",
        columns: Mapping[str, str] | None = None,
        scale: tuple[float, float] = (1.0, 5.0),
        dry_run: bool = False,
        reader: Reader | None = None,
        last: bool = True,
        progress: Callable[[int, int], None] | None = None,
        shift_to: datetime | None = None,
        reference: datetime | None = None,
    ) -> ImportReport:
        """Read a file of traces. A bad line is reported by number, the rest goes in; importing it again adds nothing.

        Args:
            format: one of imports.FORMATS, or `auto`: recognised from the content.
            columns, scale: of a table, our columns → its columns (guessed from its header when empty), and its ratings' range.
            dry_run: only read; nothing is stored, and `new` stays 0.
            reader, last: see imports.import_file.
            progress: called with bytes read and bytes in all.
            shift_to, reference: move every time by `shift_to - reference`, so that recorded traces end just before
                `shift_to`; the reference is the latest time in the file unless given. Ids stay, so that loading a file
                again, shifted otherwise, adds nothing.

        Raises:
            NotFound: there is no such file.
            InvalidInput: nothing in it could be read.
        """
        self.context.authorizer.require(actor, Permission.INGEST_TRACES, project_id)
        format = recognise(path) if format == "auto" else format
        find_trace = self.trace_finder(project_id)
        report = import_file(
            path,
            (lambda decoded, body_hash: 0)
            if dry_run
            else (lambda decoded, body_hash: self.store(actor, project_id, decoded, body_hash, origin="import").new),
            reader=reader or reader_for(format, columns=columns, scale=scale, find_trace=find_trace),
            format=format,
            say=None if dry_run else (lambda signals: self._say(actor, project_id, signals)),
            progress=progress,
            shift_to=shift_to,
            reference=reference,
            last=last,
        )
        if not dry_run:
            index_all(self.context)
        return report

    def begin_import(
        self,
        actor: Actor,
        project_id: str,
        path: Path,
        name: str,
        *,
        format: str,
        columns: Mapping[str, str] | None = None,
        scale: tuple[float, float] = (1.0, 5.0),
    ) -> ImportRun:
        """Import a file on a thread of this process; the file is removed at the end. See `import_file`.

        Raises:
            NotAllowed: the actor may not ingest into this project.
        """
        self.context.authorizer.require(actor, Permission.INGEST_TRACES, project_id)

        def work(progress: Callable[[int, int], None]) -> ImportReport:
            return self.import_file(actor, project_id, path, format=format, columns=columns, scale=scale, progress=progress)

        return begin(self.context, ImportRun(project_id, actor.id, name), path, work)

    def _say(self, actor: Actor, project_id: str, signals: list[dict[str, Any]]) -> None:
        """Feedback of an imported file; what is there already is left alone."""
        self.add_feedback_many(actor, project_id, signals)

    def trace_finder(self, project_id: str) -> Callable[[str], str | None]:
        """A function that names the trace of a stored span; for imports of what was said about spans."""

        def find(span_id: str) -> str | None:
            with self.context.database.session() as session:
                found = select(Span.trace_id).where(Span.project_id == project_id, Span.span_id == span_id)
                return session.exec(found).first()

        return find

    def log_answer(self, actor: Actor, project_id: str, logged: LoggedAnswer | None = None, /, **values: Any) -> str:
        """Store the trace of an answer that the workbench itself gave; readable when this returns.

        Args:
            logged: what to log; or give its fields as keywords, see LoggedAnswer (None stands for the default).

        Returns:
            The trace id.
        """
        given = {name: value for name, value in values.items() if value is not None}
        logged = logged or LoggedAnswer(**given)
        decoded = spans_of_answer(logged)
        hashed = content_hash([span.span_id for span in decoded.spans])
        permissions = (Permission.USE_GATEWAY, Permission.INGEST_TRACES)
        self.store(actor, project_id, decoded, hashed, origin="gateway", permissions=permissions)
        self.refresh(project_id, [logged.trace_id])
        return logged.trace_id

    def refresh(self, project_id: str, trace_ids: Sequence[str]) -> None:
        """Assemble these traces now, if they changed, and put them into the text index."""
        for start in range(0, len(trace_ids), _REFRESH):
            part = trace_ids[start : start + _REFRESH]
            assemble_pending(self.context, len(part), keys=[(project_id, trace_id) for trace_id in part])
        index_texts(self.context, max(1, len(trace_ids)))

    def add_feedback(self, actor: Actor, project_id: str, **values: Any) -> Feedback:
        """Store a signal about a trace, a span or a session; the trace may come later.

        Args:
            values: see `feedback.feedback_row`: name, kind, value, trace_id, span_id, session_id, minimum, maximum, comment,
                correction, source, user_id, at, key.

        Raises:
            InvalidInput: it says about nothing, or the value does not fit its kind.
        """
        return self.add_feedback_many(actor, project_id, [values])[0]

    def add_feedback_many(self, actor: Actor, project_id: str, signals: Sequence[dict[str, Any]]) -> list[Feedback]:
        """Store several signals in one transaction: all of them or, when one is invalid, none. See `add_feedback`."""
        rows = [feedback_row(project_id, sent_by=actor.name, **values) for values in signals]
        draft = new_draft(self.context, project_id)
        for row in rows:
            draft.feedback(row)
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.SEND_FEEDBACK, project_id)
            settle(work.session, self.context, [draft])
            stored = []
            for row in rows:
                statement = insert(self.context, Feedback).on_conflict_do_nothing()
                if work.session.connection().execute(statement, [row.model_dump()]).rowcount:
                    stored.append(row)
            touch(work.session, self.context, project_id, {row.trace_id for row in stored if row.trace_id})
            if len(stored) == 1:
                row = stored[0]
                work.record(
                    "traces.feedback_added", subject=row, project_id=project_id, kind=row.kind, source=row.source,
                    trace_id=row.trace_id, span_id=row.span_id,
                )  # fmt: skip
            elif stored:
                kinds = {kind: sum(row.kind == kind for row in stored) for kind in sorted({row.kind for row in stored})}
                work.record(
                    "traces.feedback_added", subject=("feedback_batch", new_id()), project_id=project_id, kinds=kinds,
                    signals=len(stored), ids_hash=content_hash([row.id for row in stored]),
                )  # fmt: skip
        self.refresh(project_id, list(dict.fromkeys(row.trace_id for row in stored if row.trace_id)))
        return rows

    def tag(self, actor: Actor, project_id: str, trace_ids: Sequence[str], tag: str, *, command_id: str | None = None) -> int:
        """Put a tag on traces; returns how many did not have it.

        Raises:
            InvalidInput: the tag is empty or long.
            NotFound: a trace is not in this project.
        """
        word = tagging.clean(tag)
        wanted = list(dict.fromkeys(trace_ids))
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            if (before := work.once(command_id)) is not None:
                return int(before["added"])
            work.require(Permission.TAG_TRACES, project_id)
            known = set(
                work.session.exec(select(Trace.trace_id).where(Trace.project_id == project_id, col(Trace.trace_id).in_(wanted)))
            )
            if missing := [trace_id for trace_id in wanted if trace_id not in known]:
                raise NotFound(f"There is no trace {missing[0]} in this project.")
            added = tagging.put(work, self.context, project_id, wanted, word).changed
            work.record(
                "traces.tagged", subject=("trace_tag", word), project_id=project_id, tag=word, trace_ids=wanted, added=added
            )
            work.remember(added=added)
        return added

    def untag(self, actor: Actor, project_id: str, trace_ids: Sequence[str], tag: str) -> None:
        """Take a tag off traces, whoever put it there."""
        wanted = list(dict.fromkeys(trace_ids))
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.TAG_TRACES, project_id)
            work.session.connection().execute(
                delete(TraceTag).where(
                    col(TraceTag.project_id) == project_id, col(TraceTag.tag) == tag, col(TraceTag.trace_id).in_(wanted)
                )
            )
            touch(work.session, self.context, project_id, set(wanted))
            work.record("traces.untagged", subject=("trace_tag", tag), project_id=project_id, tag=tag, trace_ids=wanted)
        self.refresh(project_id, wanted)

    def map_attributes(
        self, actor: Actor, project_id: str, columns: Mapping[str, Sequence[str]], *, command_id: str | None = None
    ) -> int:
        """Make a new version of the project's own mapping, and read stored traces again with it in the background.

        Args:
            columns: our column → attributes, whole: what is left out is no longer mapped.

        Returns:
            The version; the current one when nothing changes.

        Raises:
            InvalidInput: see own_mapping.checked.
        """
        wanted = own_mapping.checked(columns)
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            if (before := work.once(command_id)) is not None:
                return int(before["version"])
            work.require(Permission.MAP_TRACES, project_id)
            former = own_mapping.current(work.session, project_id)
            if wanted == (former.columns if former else {}):
                return former.version if former else 0
            version = former.version + 1 if former else 1
            row = work.add(ProjectMapping(project_id=project_id, version=version, columns=wanted, made_by=actor.name))
            work.record(
                "traces.mapping_changed", subject=row, project_id=project_id, version=version,
                before=former.columns if former else {}, after=wanted,
            )  # fmt: skip
            self._ask_remap(work, project_id)
            work.remember(version=version)
        return version

    def remap(self, actor: Actor, project_id: str, *, command_id: str | None = None) -> str:
        """Read all stored traces of an older mapping again, in the background; returns the id of the undertaking.

        Asking again while one is on its way starts it over, so that nothing is missed.
        """
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            if (before := work.once(command_id)) is not None:
                return str(before["id"])
            work.require(Permission.MAP_TRACES, project_id)
            row = self._ask_remap(work, project_id)
            work.record(
                "traces.remap_asked", subject=row, project_id=project_id, traces=row.total, mapping_version=MAPPING_VERSION
            )
            work.remember(id=row.id)
        return row.id

    def _ask_remap(self, work: UnitOfWork, project_id: str) -> Remap:
        work.session.connection().execute(
            update(Remap).where(col(Remap.project_id) == project_id, col(Remap.done_at).is_(None)).values(done_at=now())
        )
        total = work.session.exec(select(func.count()).select_from(Trace).where(Trace.project_id == project_id)).one()
        return work.add(Remap(project_id=project_id, asked_by=work.actor.name, total=int(total)))
