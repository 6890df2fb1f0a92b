"""Tables of knowledge entries, their immutable versions, and the commits that say which versions are live."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index
from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.ids import new_id

DEFAULT_TENANT = "default"


class RiskTier(StrEnum):
    """How much harm a wrong entry does; the corpus policy decides by it who may publish."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        return list(RiskTier).index(self)


class KnowledgeEntry(SQLModel, table=True):
    """One curated fact or instruction. Its text is in its versions; which of them is live, in the corpus commits."""

    __tablename__ = "knowledge_entry"
    __table_args__ = (UniqueConstraint("project_id", "tenant", "key"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    tenant: str = DEFAULT_TENANT
    key: str
    """What citations and people call it: lower-case letters, digits, dashes, dots."""
    created_by: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class KnowledgeEntryVersion(SQLModel, table=True):
    """One wording of an entry. Never updated: an edit and a certification each add a version."""

    __tablename__ = "knowledge_entry_version"
    __table_args__ = (UniqueConstraint("entry_id", "number"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    entry_id: str = Field(foreign_key="knowledge_entry.id", index=True)
    project_id: str = Field(index=True)
    number: int
    """1, 2, … within the entry."""
    key: str
    """The entry's key, so that a version can be cited without a join."""
    title: str
    text: str
    kind: str
    """fact, policy, procedure, term, table, …"""
    tags: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    language: str
    risk_tier: str
    source: str
    """Where the fact comes from, as an expert would cite it."""
    content_hash: str = Field(index=True)
    """Over key, title, text, kind, tags, language, risk tier and source; not over who certified it."""
    author_id: str
    """Who wrote this text. A certification keeps the author of the text it certifies."""
    author_name: str
    certified_by: str | None = None
    """None: a draft."""
    certified_by_name: str | None = None
    certified_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    review_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the entry has to be looked at again. On a draft: the date its author proposes."""
    reason: str = ""
    based_on: str | None = None
    """The version that was edited or certified."""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class KnowledgeWithdrawal(SQLModel, table=True):
    """A draft that its author or an expert took back."""

    __tablename__ = "knowledge_withdrawal"

    version_id: str = Field(primary_key=True, foreign_key="knowledge_entry_version.id")
    by: str
    reason: str = ""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class CorpusCommit(SQLModel, table=True):
    """A hashed snapshot of exactly which entry versions are live for a scope (project, tenant)."""

    __tablename__ = "corpus_commit"
    __table_args__ = (UniqueConstraint("project_id", "tenant", "number"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    tenant: str = DEFAULT_TENANT
    number: int
    """1, 2, … within the scope."""
    parent_id: str | None = None
    content_hash: str
    """Over the sorted pairs (entry id, content hash of its live version)."""
    members: int
    """How many entries are live."""
    act: str
    """What was done: edit, certify, retire, restore, import, undo, revert."""
    undoes: str | None = None
    """The commit that an undo or a revert takes back."""
    reason: str = ""
    created_by: str
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class CorpusMembership(SQLModel, table=True):
    """A version is live from one commit number up to, not including, another; so an edit touches two rows."""

    __tablename__ = "corpus_membership"
    __table_args__ = (
        Index("ix_corpus_membership_from", "project_id", "tenant", "from_number"),
        Index("ix_corpus_membership_to", "project_id", "tenant", "to_number"),
    )

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    tenant: str
    entry_id: str = Field(foreign_key="knowledge_entry.id", index=True)
    version_id: str = Field(foreign_key="knowledge_entry_version.id", index=True)
    from_number: int
    to_number: int | None = None
    """None: live in the head commit."""


class CorpusHead(SQLModel, table=True):
    """The pointer to the commit that is live. It moves by compare-and-set only."""

    __tablename__ = "corpus_head"

    project_id: str = Field(primary_key=True)
    tenant: str = Field(primary_key=True)
    commit_id: str = Field(foreign_key="corpus_commit.id")
    number: int
    moved_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
