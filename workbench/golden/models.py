"""Tables of golden sets and their cases."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.ids import new_id


class GoldenSet(SQLModel, table=True):
    """One frozen version of a golden set. A change is a new version with the next number."""

    __tablename__ = "golden_set"
    __table_args__ = (UniqueConstraint("project_id", "name", "number"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    name: str
    task: str
    """`triage` or `answers`."""
    number: int
    """Version, from 1."""
    content_hash: str = Field(index=True)
    """Hash over the task and the cases' hashes in order, so that it still verifies when a case's text is erased."""
    size: int
    """Number of cases."""
    previous_id: str | None = None
    """The version before this one."""
    reason: str = ""
    """Why this version was made."""
    created_by: str
    created_by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    frozen_at: datetime | None = Field(default_factory=now, sa_type=UtcDateTime)

    @property
    def frozen(self) -> bool:
        """Whether the cases can no longer change. Every version is frozen when it is made."""
        return self.frozen_at is not None

    @property
    def title(self) -> str:
        """Name and version as people read them."""
        return f"{self.name} v{self.number}"


class GoldenCase(SQLModel, table=True):
    """One case that a release must pass."""

    __tablename__ = "golden_case"
    __table_args__ = (UniqueConstraint("golden_set_id", "position"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    golden_set_id: str = Field(foreign_key="golden_set.id", index=True)
    position: int
    """From 0, in the order of the file."""
    content: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """triage: {"text", "label"}. answers: see `golden.formats`."""
    tags: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """language, intent, confusion, conversation, …"""
    case_hash: str
    """Hash of content and tags."""
    trace_id: str | None = None
    """The trace the case came from."""
