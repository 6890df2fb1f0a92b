"""Who may do what: one readable table."""

from workbench.core.actors import Actor, Permission, Role
from workbench.core.errors import NotAllowed

P, R = Permission, Role

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    R.ANNOTATOR: frozenset({P.READ_PROJECT, P.ANNOTATE}),
    R.EXPERT: frozenset(
        {
            P.READ_PROJECT, P.ANNOTATE, P.ADJUDICATE, P.TAG_TRACES, P.REPLAY_TRACES, P.EDIT_KNOWLEDGE, P.CERTIFY_KNOWLEDGE,
        }
    ),
    R.ENGINEER: frozenset(
        {
            P.READ_PROJECT, P.TAG_TRACES, P.EXPORT_TRACES, P.MAP_TRACES, P.REPLAY_TRACES, P.MANAGE_QUEUES, P.EDIT_KNOWLEDGE,
            P.EDIT_PROMPTS, P.BUILD_DATASETS, P.EDIT_GOLDEN, P.TUNE, P.COMPARE, P.PROPOSE_RELEASE, P.CANCEL_JOBS,
        }
    ),
    R.REVIEWER: frozenset(
        {P.READ_PROJECT, P.APPROVE_RELEASE, P.READ_AUDIT, P.EXPORT_TRACES, P.SEE_ORIGINALS, P.REPLAY_TRACES}
    ),
    R.OPERATOR: frozenset({P.READ_PROJECT, P.PROMOTE_RELEASE, P.ROLL_BACK_RELEASE, P.CANCEL_JOBS}),
    R.AUDITOR: frozenset({P.READ_PROJECT, P.READ_AUDIT}),
    R.ADMIN: frozenset(
        {
            P.READ_PROJECT, P.READ_AUDIT, P.MANAGE_PEOPLE, P.MANAGE_KEYS, P.MANAGE_PROJECTS, P.MANAGE_QUEUES, P.CANCEL_JOBS,
            P.INGEST_TRACES, P.SEND_FEEDBACK, P.MAP_TRACES, P.SEE_ORIGINALS,
        }
    ),
}  # fmt: skip

SCOPE_PERMISSIONS: dict[str, frozenset[Permission]] = {
    "ingest": frozenset({P.INGEST_TRACES, P.SEND_FEEDBACK}),
    "gateway": frozenset({P.USE_GATEWAY, P.READ_PROJECT}),
    "feedback": frozenset({P.SEND_FEEDBACK}),
    "admin": frozenset({P.INGEST_TRACES, P.SEND_FEEDBACK, P.USE_GATEWAY, P.READ_PROJECT, P.CANCEL_JOBS}),
}

_IN_WORDS: dict[Permission, str] = {
    P.ANNOTATE: "annotate",
    P.REPLAY_TRACES: "replay a trace",
    P.EDIT_KNOWLEDGE: "edit knowledge",
    P.CERTIFY_KNOWLEDGE: "certify knowledge",
    P.BUILD_DATASETS: "build datasets",
    P.TUNE: "launch a fine-tune",
    P.COMPARE: "run a comparison",
    P.PROPOSE_RELEASE: "propose a release",
    P.APPROVE_RELEASE: "approve or reject a release",
    P.PROMOTE_RELEASE: "promote a release",
    P.ROLL_BACK_RELEASE: "roll back a release",
    P.READ_AUDIT: "read the audit ledger",
    P.MANAGE_PEOPLE: "manage people",
    P.MANAGE_KEYS: "manage API keys",
    P.INGEST_TRACES: "send or import traces",
    P.MAP_TRACES: "map attributes of traces",
    P.MANAGE_QUEUES: "manage annotation queues",
    P.READ_PROJECT: "see this project",
    P.SEE_ORIGINALS: "see what was masked",
    P.MANAGE_PROJECTS: "manage projects and their rules",
}


def allowed(actor: Actor, permission: Permission, project_id: str | None) -> bool:
    """Whether the actor may do this in the project (None: something that belongs to no project)."""
    if permission in actor.permissions:
        return actor.project_id is None or actor.project_id == project_id
    return any(permission in ROLE_PERMISSIONS[role] for role in actor.roles(project_id))


def roles_with(permission: Permission) -> list[Role]:
    """The roles that hold a permission, for messages and the admin page."""
    return [role for role, permissions in ROLE_PERMISSIONS.items() if permission in permissions]


class PolicyAuthorizer:
    """The Authorizer over the table above."""

    def require(self, actor: Actor, permission: Permission, project_id: str | None) -> None:
        if not allowed(actor, permission, project_id):
            act = _IN_WORDS.get(permission, permission.value)
            roles = " or ".join(role.value for role in roles_with(permission)) or "an API key with that scope"
            raise NotAllowed(
                f"{actor.name} may not {act}.", why=f"It takes the role {roles}.", todo="Ask an admin for the role."
            )
