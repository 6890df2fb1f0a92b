"""Commands over prompt versions."""

from typing import Any

from sqlmodel import select

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.errors import InvalidInput
from workbench.core.unit_of_work import Service
from workbench.prompts import queries
from workbench.prompts.content import checked
from workbench.prompts.models import PromptVersion


class PromptService(Service):
    """Commands over prompt versions."""

    def create_version(
        self,
        actor: Actor,
        project_id: str,
        *,
        name: str,
        content: dict[str, Any],
        reason: str = "",
        command_id: str | None = None,
    ) -> PromptVersion:
        """Store a prompt version; content that the name has already is not stored twice but returned.

        Raises:
            InvalidInput: see `content.checked`; or the name is empty.
        """
        name, content = name.strip(), checked(content)
        if not name or len(name) > 80:
            raise InvalidInput("A prompt needs a name of up to 80 characters.")
        digest = content_hash(content)
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(PromptVersion, done["id"])
            work.require(Permission.EDIT_PROMPTS, project_id)
            same = work.session.exec(
                select(PromptVersion).where(
                    PromptVersion.project_id == project_id, PromptVersion.name == name, PromptVersion.content_hash == digest
                )
            ).first()
            if same is not None:
                work.remember(id=same.id)
                return same
            latest = queries.newest(work.session, project_id, name)
            version = PromptVersion(
                project_id=project_id, name=name, number=latest.number + 1 if latest else 1, content_hash=digest,
                content=content, reason=reason, created_by=actor.id, created_by_name=actor.name,
            )  # fmt: skip
            work.add(version)
            work.record(
                "prompts.version_created", subject=version, reason=reason, name=name, number=version.number, version=digest,
                former=latest.content_hash if latest else None,
            )  # fmt: skip
            work.remember(id=version.id)
            return version
