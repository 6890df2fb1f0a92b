"""Tables of coverage: what came in, what no mapping reads, a project's own mapping, and reading again with a newer one."""

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, JsonColumn
from workbench.core.ids import new_id


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
