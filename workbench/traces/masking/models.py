"""Tables of masking: a project's rules by version, numbers of masked values, and the keys of originals."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary
from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, JsonColumn
from workbench.core.ids import new_id


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
