"""Who acts, and what may be asked of them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """What a person may be, per project. A person may hold several."""

    ANNOTATOR = "annotator"
    EXPERT = "expert"
    ENGINEER = "engineer"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Permission(StrEnum):
    """One kind of action. `identity/policy.py` holds the table of which role may do which."""

    READ_PROJECT = "project.read"
    INGEST_TRACES = "traces.ingest"
    SEND_FEEDBACK = "feedback.send"
    USE_GATEWAY = "gateway.use"
    TAG_TRACES = "traces.tag"
    EXPORT_TRACES = "traces.export"
    MAP_TRACES = "traces.map"
    SEE_ORIGINALS = "traces.see_originals"
    REPLAY_TRACES = "traces.replay"
    MANAGE_QUEUES = "queues.manage"
    ANNOTATE = "responses.submit"
    ADJUDICATE = "responses.adjudicate"
    EDIT_KNOWLEDGE = "knowledge.edit"
    CERTIFY_KNOWLEDGE = "knowledge.certify"
    EDIT_PROMPTS = "prompts.edit"
    BUILD_DATASETS = "datasets.build"
    EDIT_GOLDEN = "golden.edit"
    TUNE = "adapters.tune"
    COMPARE = "comparisons.run"
    PROPOSE_RELEASE = "releases.propose"
    APPROVE_RELEASE = "releases.approve"
    PROMOTE_RELEASE = "releases.promote"
    ROLL_BACK_RELEASE = "releases.roll_back"
    READ_AUDIT = "audit.read"
    MANAGE_PEOPLE = "people.manage"
    MANAGE_KEYS = "keys.manage"
    MANAGE_PROJECTS = "projects.manage"
    CANCEL_JOBS = "jobs.cancel"
    RUN_JOBS = "jobs.run"


class ActorKind(StrEnum):
    PERSON = "person"
    SERVICE = "service"
    KEY = "key"


@dataclass(frozen=True)
class Grant:
    """A role held in one project, or in all of them."""

    role: Role
    project_id: str | None
    """None: in every project."""


@dataclass(frozen=True)
class Actor:
    """Whoever carries out a command: a signed-in person, a process of the workbench, or an API key."""

    id: str
    name: str
    kind: ActorKind
    grants: frozenset[Grant] = frozenset()
    permissions: frozenset[Permission] = frozenset()
    """Permissions given directly; keys and processes have these instead of roles."""
    project_id: str | None = None
    """A key acts within one project only."""

    def roles(self, project_id: str | None) -> frozenset[Role]:
        """Roles in a project, those held everywhere included."""
        return frozenset(g.role for g in self.grants if g.project_id is None or g.project_id == project_id)


def process_actor(name: str, *permissions: Permission) -> Actor:
    """The actor for what a process does by itself, such as a worker finishing a job."""
    return Actor(id=f"service:{name}", name=name, kind=ActorKind.SERVICE, permissions=frozenset(permissions))


class Authorizer(Protocol):
    """Decides whether an actor may act. Identity fulfils it."""

    def require(self, actor: Actor, permission: Permission, project_id: str | None) -> None:
        """Return when permitted.

        Raises:
            NotAllowed: the actor lacks the permission in this project.
        """
        ...
