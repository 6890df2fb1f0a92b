"""Tables of dataset versions and their examples."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.ids import new_id


class DatasetVersion(SQLModel, table=True):
    """An immutable set of examples, named by the Merkle root over its rows. It may be trained on once it is frozen."""

    __tablename__ = "dataset_version"
    __table_args__ = (UniqueConstraint("project_id", "name", "number"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    name: str
    number: int
    """Version of the name, from 1."""
    task: str
    """generation: {"prompt", "completion"}. triage: {"text", "label"}."""
    content_hash: str = Field(index=True)
    """`sha256:` and the Merkle root over the rows' leaves in order of position; an erased row leaves its leaf."""
    rows: int
    train_rows: int = 0
    validation_rows: int = 0
    settings: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """The `BuildSettings` it was built with."""
    checks: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """What the checks found: {"name", "level", "text", "todo", "examples"}."""
    excluded: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """Submissions that were left out: {"trace_id", "response_id", "reason"}."""
    previous_id: str | None = None
    """The version of the same name before it."""
    created_by: str
    created_by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    frozen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    frozen_by: str | None = None
    frozen_reason: str = ""
    """Why it was frozen although a check asked for a reason."""
    discarded_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class DatasetExample(SQLModel, table=True):
    """One row, and where it comes from."""

    __tablename__ = "dataset_example"
    __table_args__ = (UniqueConstraint("dataset_id", "position"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    dataset_id: str = Field(foreign_key="dataset_version.id", index=True)
    position: int
    """From 0, in the order of the leaves."""
    content: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """What a model is trained on; empty once it was erased."""
    leaf_hash: str
    """SHA-256 of the row's canonical bytes as a Merkle leaf, hexadecimal."""
    trace_id: str = Field(index=True)
    response_id: str = Field(index=True)
    """The response it was made from; with several people the one whose answer decided, the earliest of them."""
    person_id: str
    """Who gave that response."""
    responses: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    """Every response behind it, the people who were outvoted included."""
    people: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    consent: bool = True
    language: str | None = None
    split: str = "train"
    """train or validation."""
    notes: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    """What a person should look at, such as `looks like an e-mail address`."""
    erased_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
