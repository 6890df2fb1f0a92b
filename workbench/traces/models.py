"""Tables of traces: spans as they came, traces assembled from them, feedback, tags, and what was rejected."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Index
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


class TraceTool(SQLModel, table=True):
    """A tool that was called in a trace."""

    __tablename__ = "trace_tool"
    __table_args__ = (Index("ix_trace_tool_trace", "project_id", "trace_id", "tool"), {"schema": TRACES})

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
