"""Tables of people, roles, sessions, API keys and projects."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.ids import new_id


class Project(SQLModel, table=True):
    """One AI application under governance. Every row of every stage belongs to one."""

    id: str = Field(default_factory=new_id, primary_key=True)
    key: str = Field(unique=True)
    """Short name used in the API and on the command line."""
    name: str
    description: str = ""
    languages: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    teams: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """Triage teams: {"key", "name", "description"}."""
    is_demo: bool = False
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Person(SQLModel, table=True):
    """A human being with an account."""

    id: str = Field(default_factory=new_id, primary_key=True)
    email: str = Field(unique=True)
    name: str
    """As printed beside a signature (21 CFR 11.50)."""
    password_hash: str | None = None
    """argon2id; None: signs in elsewhere."""
    is_demo: bool = False
    """A demo account works on loopback only."""
    active: bool = True
    failed_sign_ins: int = 0
    locked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class RoleGrant(SQLModel, table=True):
    """A role that a person holds in one project, or in all."""

    __tablename__ = "role_grant"
    __table_args__ = (UniqueConstraint("person_id", "role", "project_id"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    role: str
    project_id: str | None = Field(default=None, foreign_key="project.id")
    """None: in every project."""


class WebSession(SQLModel, table=True):
    """A signed-in browser. The cookie holds a token; only its hash is stored."""

    __tablename__ = "web_session"

    id: str = Field(default_factory=new_id, primary_key=True)
    token_hash: str = Field(unique=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    """A key for an application: it may ingest, ask the gateway, or send feedback. Only its hash is stored."""

    __tablename__ = "api_key"

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    name: str
    prefix: str
    """First characters, so that people can tell keys apart."""
    key_hash: str = Field(unique=True)
    scopes: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    """ingest, gateway, feedback, admin."""
    created_by: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
