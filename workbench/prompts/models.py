"""Table of prompt versions."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.ids import new_id


class PromptVersion(SQLModel, table=True):
    """System prompt, template, few-shot examples and generation parameters. Never updated."""

    __tablename__ = "prompt_version"
    __table_args__ = (
        UniqueConstraint("project_id", "name", "number"),
        UniqueConstraint("project_id", "name", "content_hash"),
    )

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    name: str
    number: int
    """1, 2, … within the name."""
    content_hash: str = Field(index=True)
    content: dict[str, Any] = Field(sa_type=JsonColumn)
    """{"system", "template", "few_shot": [{"question", "evidence", "answer"}], "parameters": {…}}: see content.py."""
    reason: str = ""
    created_by: str
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
