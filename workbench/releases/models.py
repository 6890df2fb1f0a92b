"""Tables of releases, decisions about them, and the channels that point to what is live.

A row's columns are for reading and searching. What may go live is decided by the signatures alone (`verify.py`), so that
a row edited in the database moves nothing.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, event, inspect
from sqlalchemy.orm import Mapper
from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.errors import IntegrityError
from workbench.core.ids import new_id
from workbench.knowledge.policy import CorpusPolicy
from workbench.releases.manifest import configuration_of
from workbench.serving.configuration import ServingConfiguration

PRODUCTION = "production"
"""The channel that the gateway serves."""


class ReleaseState(StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"

    @property
    def is_terminal(self) -> bool:
        return self in (ReleaseState.REJECTED, ReleaseState.WITHDRAWN)


class MoveKind(StrEnum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


class Release(SQLModel, table=True):
    """A proposed or decided set of components. The manifest never changes; only the state does."""

    __table_args__ = (UniqueConstraint("project_id", "number"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    number: int
    """1, 2, … within the project."""
    name: str
    manifest: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """See `manifest.py`."""
    manifest_hash: str = Field(index=True)
    manifest_signature: str
    """By the instance's release key over the manifest hash, base64: what was proposed is what is approved."""
    state: str = Field(default=ReleaseState.PROPOSED.value, index=True)
    proposed_by: str
    proposed_by_name: str
    proposed_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    reason: str
    """Why it was proposed."""
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    withdrawn_by: str | None = None
    withdrawn_by_name: str = ""
    withdrawn_reason: str = ""

    @property
    def status(self) -> ReleaseState:
        return ReleaseState(self.state)

    @property
    def configuration(self) -> ServingConfiguration:
        """What the manifest says is served.

        Raises:
            IntegrityError: the manifest is of another schema or lacks a slot.
        """
        return configuration_of(self.manifest, release_id=self.id, manifest_hash=self.manifest_hash)

    @property
    def corpus_policy(self) -> CorpusPolicy:
        """Who may make knowledge live under this release.

        Raises:
            IntegrityError: the manifest does not say.
        """
        try:
            return CorpusPolicy.from_json(self.manifest["corpus_policy"]["publish"])
        except (KeyError, TypeError) as error:
            raise IntegrityError("The release's manifest says nothing usable about who may publish.") from error

    @property
    def title(self) -> str:
        """Number and name as people read them."""
        return f"Release {self.number}" + (f" · {self.name}" if self.name else "")


class Approval(SQLModel, table=True):
    """One person's signed decision about a release: approved or rejected. Never updated."""

    __table_args__ = (UniqueConstraint("release_id", "person_id"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    release_id: str = Field(foreign_key="release.id", index=True)
    person_id: str
    person_name: str
    meaning: str
    """approved or rejected, as in the signature."""
    reason: str = ""
    """Why it was rejected, or why an inconclusive verdict was accepted."""
    statement: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """What was signed: see `signing.decision_statement`."""
    signature: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """`identity.signatures.Signature` as JSON."""
    event_id: str
    """The audit event; nothing is promoted before it is sealed."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Channel(SQLModel, table=True):
    """A live pointer. It says where the newest move points; the signed move is what counts."""

    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    name: str = PRODUCTION
    number: int = 0
    """Number of the newest move; a move compares and sets it."""
    release_id: str | None = Field(default=None, foreign_key="release.id")
    """The incumbent."""
    previous_release_id: str | None = None
    canary_release_id: str | None = None
    """A second release that gets a share of the traffic; None: no canary."""
    canary_share: float | None = None
    """From 0 to 1."""
    moved_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class ChannelMove(SQLModel, table=True):
    """One move of a channel, numbered and signed by the instance. Never updated."""

    __tablename__ = "channel_move"
    __table_args__ = (UniqueConstraint("project_id", "channel", "number"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    channel: str
    number: int
    """1, 2, … within the channel; a number may be missing after a repair."""
    kind: str
    """promoted or rolled_back."""
    release_id: str = Field(foreign_key="release.id", index=True)
    manifest_hash: str
    previous_release_id: str | None = None
    by_id: str
    by_name: str
    reason: str = ""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    statement: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """What was signed: see `signing.move_statement`."""
    signature: str
    """By the instance's release key over the statement's canonical bytes, base64."""
    event_id: str = ""


@event.listens_for(Release, "before_update")
def _refuse_change(mapper: Mapper[Any], connection: Connection, row: Release) -> None:
    state = inspect(row)
    changed = {attribute.key for attribute in state.attrs if attribute.history.has_changes()}
    if changed - {"state", "decided_at", "withdrawn_by", "withdrawn_by_name", "withdrawn_reason"}:
        raise IntegrityError("A release never changes; only its state does.", todo="Propose a new release.")


@event.listens_for(Approval, "before_update")
@event.listens_for(Approval, "before_delete")
@event.listens_for(ChannelMove, "before_update")
@event.listens_for(ChannelMove, "before_delete")
@event.listens_for(Release, "before_delete")
def _refuse(mapper: Mapper[Any], connection: Connection, row: SQLModel) -> None:
    raise IntegrityError("Releases, decisions and moves are never changed or removed.", todo="Make a new one.")
