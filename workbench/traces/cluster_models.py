"""Tables of clusters: low-rated traces grouped by what they are about."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, JsonColumn
from workbench.core.ids import new_id


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
