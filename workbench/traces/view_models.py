"""Tables of saved views: lists of traces that people keep."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, JsonColumn
from workbench.core.ids import new_id


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
