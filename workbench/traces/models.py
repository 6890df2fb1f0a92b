"""Tables of traces: spans as they came, traces assembled from them, feedback, tags, and what was rejected."""

import secrets
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, JsonColumn, RowId
from workbench.core.ids import new_id

NANOS = 1_000_000_000
"""Money is stored as an integer of 1e-9 currency units; a nanodollar is below the price of one token."""


class Span(SQLModel, table=True):
    """One span, whole, as OTLP carried it. Never updated: a resend is dropped, a new mapping reads it again."""

    __tablename__ = "span"
    __table_args__ = (UniqueConstraint("trace_id", "span_id", "project_id"), {"schema": TRACES})

    id: int | None = Field(default=None, sa_type=RowId, primary_key=True)
    """Order of arrival."""
    project_id: str
    trace_id: str
    """32 lower-case hexadecimal digits."""
    span_id: str
    """16 lower-case hexadecimal digits."""
    parent_span_id: str | None = None
    source_id: str
    """The SpanSource (resource and instrumentation scope) that sent it."""
    name: str
    kind: str = "internal"
    """internal, server, client, producer, consumer or unspecified."""
    started_ns: int = Field(sa_type=BigInteger)
    """Nanoseconds since 1970."""
    ended_ns: int = Field(sa_type=BigInteger)
    status: str = "unset"
    """unset, ok or error."""
    status_message: str = ""
    received_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    attributes: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """Key to value. Bytes are {"bytesValue": base64}; numbers that JSON lacks are {"doubleValue": "NaN"}."""
    events: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """[{"name", "time_ns", "attributes"}]"""
    links: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """[{"trace_id", "span_id", "attributes"}]"""
    extra: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """What else the span carried: trace_state, flags, dropped counts."""
    mask_policy: int = 0
    """Version of the project's masking rules under which its texts were stored; 0: before there was masking."""

    @property
    def duration_ms(self) -> float:
        return (self.ended_ns - self.started_ns) / 1e6


class SpanSource(SQLModel, table=True):
    """A resource and scope, stored once for the thousands of spans they send."""

    __tablename__ = "span_source"
    __table_args__ = {"schema": TRACES}

    id: str = Field(primary_key=True)
    """Content hash of resource and scope."""
    resource: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    scope: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """{"name", "version", "attributes", "schema_url"}"""


class Trace(SQLModel, table=True):
    """One request to the application as people read it, assembled from its spans and again when more arrive."""

    __tablename__ = "trace"
    __table_args__ = (
        UniqueConstraint("project_id", "trace_id"),
        # Every short column that lists filter or sort by, newest first: a filter, or any combination of them, is then one
        # walk along this index, which never touches the rows and their long texts.
        Index(
            "ix_trace_list", "project_id", "started_at", "id", "status", "model", "release", "language", "triage_label",
            "intent", "environment", "dialect", "rating", "feedback_count", "has_correction", "duration_ms", "cost_nanos",
            "trace_id", "session_id", "user_id", "provider", "operation", "prompt_version", "corpus_commit", "input_tokens",
            "output_tokens", "span_count", "error_count", "document_count", "tool_count", "machine_written", "uncertainty",
        ),
        Index("ix_trace_rating", "project_id", "rating", "started_at", "id"),
        # What lists of sessions and of users count is in the index, so that a session of thousands of turns costs no row.
        *(
            Index(
                f"ix_trace_{column}", "project_id", column, "started_at", "id", other, "rating", "status", "language",
                "release", "trace_id",
            )
            for column, other in (("session_id", "user_id"), ("user_id", "session_id"))
        ),
        Index("ix_trace_unindexed", "indexed", "id"),
        {"schema": TRACES},
    )  # fmt: skip

    id: int | None = Field(default=None, sa_type=RowId, primary_key=True)
    project_id: str
    trace_id: str
    session_id: str | None = None
    user_id: str | None = None
    name: str = ""
    started_at: datetime = Field(sa_type=UtcDateTime)
    duration_ms: float = 0.0
    first_token_ms: float | None = None
    """Milliseconds until the first token of the answer."""
    status: str = "ok"
    """ok or error."""
    error: str | None = None
    model: str | None = None
    provider: str | None = None
    operation: str | None = None
    """What the trace mainly did: chat, agent, retrieval, …"""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nanos: int | None = Field(default=None, sa_type=BigInteger)
    currency: str = "USD"
    language: str | None = None
    """ISO 639-1, as the application said, or recognized."""
    release: str | None = None
    prompt_version: str | None = None
    corpus_commit: str | None = None
    environment: str | None = None
    intent: str | None = None
    triage_label: str | None = None
    uncertainty: float | None = None
    """How unsure the triage was, from 0 to 1: what is left of its probability."""
    rating: float | None = None
    """The end user's rating from 1 to 5: the last float feedback put on that scale; without one, thumbs up is 5, down 1."""
    feedback_count: int = 0
    has_correction: bool = False
    machine_written: bool = True
    """Whether a machine wrote the output. Machine-made text is marked from here on."""
    dialect: str = "otlp"
    span_count: int = 0
    error_count: int = 0
    document_count: int = 0
    tool_count: int = 0
    mask_policy: int = 0
    """The oldest version of the masking rules under which a span of it was stored; 0: a span is not masked."""
    mask_counts: dict[str, int] = Field(default_factory=dict, sa_type=JsonColumn)
    """Type → how many different values were masked, such as {"EMAIL": 1, "PHONE": 2}."""
    indexed: bool = False
    """Whether the text search holds this version of the trace."""
    mapping_version: int = 0
    project_mapping: int = 0
    """Version of the project's own mapping that it was read with; 0: none."""
    counted_span_id: int = Field(default=0, sa_type=BigInteger)
    """The last of its spans, by arrival, that the coverage has counted."""
    assembled_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    tags: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    input_preview: str = ""
    """First characters of the input, for lists."""
    output_preview: str = ""
    # Long columns last: SQLite then reads the short ones without them.
    input: str = ""
    """What the end user asked, as text."""
    output: str = ""
    """What the application answered, as text."""
    messages: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """The model's view of the turn: [{"role", "content", "tool_calls"?, "tool_call_id"?}]"""
    documents: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """Retrieved: [{"id", "score", "content", "version"?, "title"?, "cited"?, "metadata"?}]"""
    tool_calls: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """[{"id", "name", "arguments", "result", "receipt"?, "status"?}]"""
    guard: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """Validators and policies that fired: [{"rule", "action"?, "detail"?}]"""

    @property
    def cost(self) -> Decimal | None:
        """What the trace cost, in `currency`; exact."""
        return None if self.cost_nanos is None else Decimal(self.cost_nanos) / NANOS


class TracePending(SQLModel, table=True):
    """A trace that changed and is to be assembled again."""

    __tablename__ = "trace_pending"
    __table_args__ = {"schema": TRACES}

    project_id: str = Field(primary_key=True)
    trace_id: str = Field(primary_key=True)
    touched: int = 1
    """Raised at each change, so that a change during assembly is not lost."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime, index=True)


class TraceTag(SQLModel, table=True):
    """A word on a trace, sent with it or put there by a person."""

    __tablename__ = "trace_tag"
    __table_args__ = (Index("ix_trace_tag_trace", "project_id", "trace_id"), {"schema": TRACES})

    project_id: str = Field(primary_key=True)
    tag: str = Field(primary_key=True)
    trace_id: str = Field(primary_key=True)
    added_by: str | None = None
    """None: it came with the trace."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    act_id: str | None = None
    """The TraceAct that put it there, so that its undo takes off just these."""


class TraceTagTaken(SQLModel, table=True):
    """A tag that a TraceAct took off, as it was, so that its undo can put it back."""

    __tablename__ = "trace_tag_taken"
    __table_args__ = {"schema": TRACES}

    act_id: str = Field(primary_key=True)
    trace_id: str = Field(primary_key=True)
    added_by: str | None = None
    at: datetime = Field(sa_type=UtcDateTime)
    tag_act_id: str | None = None


class ActState(StrEnum):
    RUNNING = "running"
    """Also: its process ended before it did; its job, if any, tells which."""
    DONE = "done"
    STOPPED = "stopped"
    """By a person; what was done stays."""
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"


class TraceAct(SQLModel, table=True):
    """What somebody did with many traces at once, and what became of it.

    In the operational database: acts that fill queues and golden sets write it in the transaction of the change.
    """

    __tablename__ = "trace_act"
    __table_args__ = (Index("ix_trace_act_recent", "project_id", "created_at"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    kind: str
    """send, tag, untag, golden or export."""
    spec: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """The queue, the word, the golden set or the format."""
    hits: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """Which traces: see `hits.Hits`. Fixed when the act was asked for."""
    salt: str = Field(default_factory=lambda: secrets.token_hex(16))
    """Of the commitments to the filter's words in the audit event."""
    ids_hash: str = ""
    """SHA-256 over the sorted trace ids, one a line."""
    total: int = 0
    """Traces that it is about."""
    done: int = 0
    """Of these, dealt with."""
    changed: int = 0
    gone: int = 0
    """Traces that were erased between the click and the act."""
    skipped: dict[str, int] = Field(default_factory=dict, sa_type=JsonColumn)
    """Why → how many were left as they were."""
    result: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """What it made: the golden set's version, the exported file."""
    state: str = ActState.RUNNING.value
    error: str = ""
    event_id: str = ""
    """The audit event of its beginning; the undo's event names it."""
    job_id: str | None = None
    """None: it was done at once."""
    undo: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """{"found", "taken", "stayed", "by"}"""
    undo_job_id: str | None = None
    created_by: str
    created_by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    undone_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class TraceTool(SQLModel, table=True):
    """A tool that was called in a trace."""

    __tablename__ = "trace_tool"
    __table_args__ = (Index("ix_trace_tool_trace", "project_id", "trace_id"), {"schema": TRACES})

    project_id: str = Field(primary_key=True)
    tool: str = Field(primary_key=True)
    trace_id: str = Field(primary_key=True)


class TraceFacet(SQLModel, table=True):
    """How many traces of a day have a value. Kept by assembly, in the transaction that changes a trace."""

    __tablename__ = "trace_facet"
    __table_args__ = {"schema": TRACES}

    project_id: str = Field(primary_key=True)
    day: str = Field(primary_key=True)
    """UTC day on which the trace started, `2026-05-04`."""
    name: str = Field(primary_key=True)
    """A column of the trace, or `tag` or `tool`."""
    value: str = Field(primary_key=True)
    count: int = 0


class Feedback(SQLModel, table=True):
    """A signal about a trace, a span or a session. It may arrive before the trace."""

    __tablename__ = "feedback"
    __table_args__ = (
        Index("ix_feedback_trace", "project_id", "trace_id"),
        Index("ix_feedback_session", "project_id", "session_id"),
        {"schema": TRACES},
    )

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    trace_id: str | None = None
    span_id: str | None = None
    session_id: str | None = None
    name: str
    """What it measures: rating, thumbs, task_completed, …"""
    kind: str
    """boolean, float, comment or correction."""
    source: str = "explicit"
    """explicit (the end user said so), implicit (read from what the user did) or annotator."""
    number: float | None = None
    """The value of boolean (0 or 1) and float feedback."""
    minimum: float | None = None
    maximum: float | None = None
    text: str = ""
    """The comment, or the text that the user wanted instead."""
    user_id: str | None = None
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    received_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    sent_by: str = ""
    """The actor that sent it."""

    @property
    def value(self) -> bool | float | str | None:
        """The value as its kind has it."""
        if self.kind == "boolean":
            return None if self.number is None else bool(self.number)
        return self.number if self.kind == "float" else self.text


class RejectedSpan(SQLModel, table=True):
    """A span, or a whole request, that could not be taken. Senders never read the answer, so it is kept and shown."""

    __tablename__ = "rejected_span"
    __table_args__ = (Index("ix_rejected_span_time", "project_id", "received_at"), {"schema": TRACES})

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    reason: str
    trace_id: str | None = None
    span_id: str | None = None
    name: str | None = None
    sent_by: str = ""
    received_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    raw: dict[str, Any] | None = Field(default=None, sa_type=JsonColumn)
    """What came, cut where it is very long; None for a body that could not be read at all."""


class SpanIntake(SQLModel, table=True):
    """How many spans came in: by day, dialect, instrumentation and sender."""

    __tablename__ = "span_intake"
    __table_args__ = {"schema": TRACES}

    project_id: str = Field(primary_key=True)
    day: str = Field(primary_key=True)
    """UTC day of arrival, `2026-05-04`."""
    dialect: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    """Name of the instrumentation."""
    sender: str = Field(primary_key=True)
    """`service.name` of the resource."""
    spans: int = Field(default=0, sa_type=BigInteger)
    last_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class UnmappedAttribute(SQLModel, table=True):
    """An attribute that no dialect's table reads, with numbers in its name folded to `N`. Its values are never stored here."""

    __tablename__ = "unmapped_attribute"
    __table_args__ = {"schema": TRACES}

    project_id: str = Field(primary_key=True)
    dialect: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    count: int = Field(default=0, sa_type=BigInteger)
    """Spans that carried it."""
    first_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    last_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    example_trace_id: str = ""


class ProjectMapping(SQLModel, table=True):
    """A project's own mapping of attributes to our columns. Immutable: a change is a new version, the highest one counts."""

    __tablename__ = "project_mapping"
    __table_args__ = (UniqueConstraint("project_id", "version"), {"schema": TRACES})

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    version: int
    columns: dict[str, list[str]] = Field(default_factory=dict, sa_type=JsonColumn)
    """Our column → attributes, the first one that is there wins."""
    made_by: str = ""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Remap(SQLModel, table=True):
    """Stored traces being read again with a newer mapping, in the background."""

    __tablename__ = "trace_remap"
    __table_args__ = (Index("ix_trace_remap_open", "project_id", "done_at"), {"schema": TRACES})

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    asked_by: str = ""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    total: int = 0
    """Traces to look through."""
    looked_at: int = 0
    touched: int = 0
    """Of these, read with an older mapping and so read again."""
    after_id: int = Field(default=0, sa_type=BigInteger)
    """Row of the trace looked at last."""
    done_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class MaskingRules(SQLModel, table=True):
    """What a project masks on the way in, from one moment on. Never updated: a change is the next version."""

    __tablename__ = "masking_rules"
    __table_args__ = {"schema": TRACES}

    project_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    """From 2 on; version 1 is what every project begins with."""
    rules: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """{"types", "phone_regions", "id_countries", "terms", "originals"}"""
    changed_by: str = ""
    """Actor id."""
    reason: str = ""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class MaskedValue(SQLModel, table=True):
    """A value that was masked in a trace: its number, and no more of it than a keyed hash."""

    __tablename__ = "masked_value"
    __table_args__ = (UniqueConstraint("project_id", "scope", "kind", "number"), {"schema": TRACES})

    project_id: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    """The trace id; for feedback on a session `session:` and its id."""
    kind: str = Field(primary_key=True)
    """EMAIL, PHONE, CARD, IBAN, ID, SECRET or TERM."""
    digest: str = Field(primary_key=True)
    """Keyed hash over project, scope, kind and value."""
    number: int
    original: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The text, encrypted with the person's key; None where originals are not kept."""
    key_id: str | None = None
    """The PersonKey."""


class PersonKey(SQLModel, table=True):
    """The key of one end user's originals, wrapped. Without it nobody can read them."""

    __tablename__ = "person_key"
    __table_args__ = (Index("ix_person_key_person", "project_id", "person"), {"schema": TRACES})

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    person: str
    """Keyed hash of the end user's id, or of the trace where no end user is named."""
    wrapped: bytes | None = Field(default=None, sa_type=LargeBinary)
    """None: erased."""
    made_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    erased_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SavedView(SQLModel, table=True):
    """A list of traces that somebody keeps under a name: its filters and order as the page's address has them."""

    __tablename__ = "saved_view"
    __table_args__ = (Index("ix_saved_view_project", "project_id", "owner_id"), {"schema": TRACES})

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    owner_id: str
    """Actor id."""
    owner_name: str = ""
    name: str
    description: str = ""
    shared: bool = False
    """Whether everybody in the project sees it."""
    query: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """Query parameter → its value, or a list of them."""
    made_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    changed_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class DefaultView(SQLModel, table=True):
    """The saved view that one person's list of traces begins with."""

    __tablename__ = "default_view"
    __table_args__ = {"schema": TRACES}

    project_id: str = Field(primary_key=True)
    person_id: str = Field(primary_key=True)
    view_id: str


class ClusterRun(SQLModel, table=True):
    """Low-rated traces being grouped by what they are about: asked for, made, or failed."""

    __tablename__ = "trace_cluster_run"
    __table_args__ = (Index("ix_trace_cluster_run_project", "project_id", "asked_at"), {"schema": TRACES})

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    asked_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    asked_by: str = ""
    """Who asked; empty when it was due."""
    made_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """None while it waits for the runtime."""
    days: int = 0
    """Length of the period, and of the one before that it is compared with."""
    traces: int = 0
    """Low-rated traces of the period that were looked at."""
    left_out: int = 0
    """More than could be looked at."""
    failure: str = ""


class TraceCluster(SQLModel, table=True):
    """Low-rated traces about one thing."""

    __tablename__ = "trace_cluster"
    __table_args__ = (Index("ix_trace_cluster_run", "run_id"), {"schema": TRACES})

    id: str = Field(default_factory=new_id, primary_key=True)
    run_id: str
    project_id: str
    terms: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    """The words that set it apart, the most telling first."""
    count: int
    """Traces in the period."""
    before: int
    """Traces in the period before."""
    examples: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    """Trace ids, the most typical first."""


class TraceClusterMember(SQLModel, table=True):
    """A trace of a cluster, within the period."""

    __tablename__ = "trace_cluster_member"
    __table_args__ = {"schema": TRACES}

    cluster_id: str = Field(primary_key=True)
    trace_id: str = Field(primary_key=True)
