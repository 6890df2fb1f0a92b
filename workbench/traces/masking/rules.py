"""The rules that hold in a project, by version, and drafts made under them."""

import time
from collections.abc import Sequence

from sqlmodel import Session, col, select

from workbench.core.keys import secret_key
from workbench.core.unit_of_work import Context
from workbench.identity.models import Project
from workbench.traces.masking.draft import Draft
from workbench.traces.masking.models import MaskingRules
from workbench.traces.masking.policy import MaskingPolicy, default_policy, policy_from_json

_REMEMBERED = "masking.rules"
_FRESH_SECONDS = 1.0


def policy_of(session: Session, project_id: str) -> MaskingPolicy:
    """The rules that hold in a project now; version 1 is what every project begins with."""
    rules = session.exec(
        select(MaskingRules).where(MaskingRules.project_id == project_id).order_by(col(MaskingRules.version).desc()).limit(1)
    ).first()
    if rules is not None:
        return policy_from_json(rules.rules, rules.version)
    project = session.get(Project, project_id)
    return default_policy(project.languages if project is not None else ())


def history_of(session: Session, project_id: str) -> Sequence[MaskingRules]:
    """The versions that people made, newest first."""
    return session.exec(
        select(MaskingRules).where(MaskingRules.project_id == project_id).order_by(col(MaskingRules.version).desc())
    ).all()


def new_draft(context: Context, project_id: str) -> Draft:
    """A draft under the rules that hold now; other processes see a change of them within a second."""
    remembered: dict[str, tuple[float, MaskingPolicy, bytes]] = context.extras.setdefault(_REMEMBERED, {})
    known = remembered.get(project_id)
    if known is None or time.monotonic() - known[0] > _FRESH_SECONDS:
        moment = time.monotonic()
        with context.database.session() as session:
            known = (moment, policy_of(session, project_id), secret_key(context.settings, "masking"))
        remembered[project_id] = known
    return Draft(known[1], project_id, known[2])


def forget_rules(context: Context, project_id: str) -> None:
    """Read a project's rules anew with the next draft."""
    context.extras.get(_REMEMBERED, {}).pop(project_id, None)
