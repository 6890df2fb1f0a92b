"""Commands over masking: change the rules, see originals, forget a person."""

import re
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, col, select

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.errors import Conflict, InvalidInput, NotFound
from workbench.core.keys import secret_key
from workbench.core.unit_of_work import Service
from workbench.traces.masking.detectors import detectors_of
from workbench.traces.masking.draft import Draft
from workbench.traces.masking.models import MaskedValue, MaskingRules, PersonKey
from workbench.traces.masking.names import MAX_PERSON
from workbench.traces.masking.numbering import one_at_a_time
from workbench.traces.masking.originals import PersonKeys, unseal
from workbench.traces.masking.policy import MaskingPolicy, checked, default_policy
from workbench.traces.masking.rules import forget_rules, policy_of
from workbench.traces.models import Trace

_AT_ONCE = 500


@dataclass(frozen=True)
class Original:
    """What a placeholder stands for."""

    placeholder: str
    text: str | None
    """None: not kept, or its key was erased."""


@dataclass(frozen=True)
class Forgetting:
    """What forgetting a person takes."""

    keys: int
    originals: int
    """That nobody can read afterwards."""
    traces: int
    """That these are of; feedback about a session is one too."""


class MaskingService(Service):
    """A project's masking rules, and the originals where it keeps them."""

    def set_policy(
        self,
        actor: Actor,
        project_id: str,
        policy: MaskingPolicy,
        *,
        reason: str,
        based_on: int | None = None,
        command_id: str | None = None,
    ) -> MaskingPolicy:
        """Make new rules for what comes in from now on. What is stored already stays as it is.

        Args:
            based_on: the version that the person saw.

        Raises:
            InvalidInput: no reason, or a type, region, country or term that cannot be.
            Conflict: somebody changed the rules meanwhile.
        """
        wanted = checked(policy)
        if not reason.strip():
            raise InvalidInput("A change of masking needs a reason.", todo="Say why, in a few words.")
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.MANAGE_PROJECTS, project_id)
            if work.once(command_id) is not None:
                return policy_of(work.session, project_id)
            one_at_a_time(work.session, self.context, [project_id])
            current = policy_of(work.session, project_id)
            if based_on is not None and based_on != current.version:
                raise Conflict(
                    "The masking rules were changed meanwhile.",
                    why=f"You saw version {based_on}, now it is {current.version}.",
                    todo="Reload the page and look again.",
                )
            if wanted.as_json() == current.as_json():
                return current
            rules = MaskingRules(
                project_id=project_id,
                version=current.version + 1,
                rules=wanted.as_json(),
                changed_by=actor.id,
                reason=reason.strip(),
            )
            work.add(rules)
            # Terms may be names of people: the ledger has their number and a hash.
            work.record(
                "traces.masking_changed",
                subject=("masking_policy", f"{project_id}:{rules.version}"),
                project_id=project_id,
                reason=reason.strip(),
                version=rules.version,
                types=list(wanted.types),
                types_before=list(current.types),
                phone_regions=list(wanted.phone_regions),
                id_countries=list(wanted.id_countries),
                terms=len(wanted.terms),
                terms_hash=content_hash([secret_key(self.context.settings, "masking").hex(), *wanted.terms]),
                originals=wanted.originals,
                originals_before=current.originals,
            )
            work.remember(version=rules.version)
            changed = policy_of(work.session, project_id)
        forget_rules(self.context, project_id)
        return changed

    def reveal(self, actor: Actor, project_id: str, trace_id: str, *, reason: str) -> list[Original]:
        """The originals of a trace, in the order of their placeholders. Each time is an event in the ledger.

        Raises:
            InvalidInput: no reason.
            NotFound: there is no such trace, or nothing was kept of it.
            NotAllowed: the actor may not see originals.
        """
        if not reason.strip():
            raise InvalidInput("Seeing an original needs a reason.", todo="Say why; it is written into the ledger.")
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.SEE_ORIGINALS, project_id)
            rows = work.session.exec(
                select(MaskedValue, PersonKey)
                .join(PersonKey, PersonKey.id == MaskedValue.key_id, isouter=True)  # type: ignore[arg-type]
                .where(MaskedValue.project_id == project_id, MaskedValue.scope == trace_id)
                .order_by(MaskedValue.kind, MaskedValue.number)  # type: ignore[arg-type]
            ).all()
            if not any(row.original is not None for row, _ in rows):
                raise NotFound(
                    "No original of this trace is kept.",
                    why="The project keeps none, or kept none when the trace came in.",
                )
            keys = PersonKeys(work.session, self.context.settings, project_id)
            originals = []
            for row, key in rows:
                readable = row.original is not None and key is not None and key.wrapped is not None
                shown = unseal(row, keys.open(key)) if readable else None
                originals.append(Original(f"<{row.kind}_{row.number}>", shown))
            seen = [row.kind for (row, _), one in zip(rows, originals, strict=True) if one.text is not None]
            work.record(
                "traces.original_seen",
                subject=("trace", trace_id),
                project_id=project_id,
                reason=reason.strip(),
                seen={kind: seen.count(kind) for kind in sorted(set(seen))},
                erased=len(originals) - len(seen),
            )
        return originals

    def forgetting(self, actor: Actor, project_id: str, user_id: str) -> Forgetting:
        """What `forget_person` would take. Changes nothing.

        Raises:
            InvalidInput: no user id.
            NotAllowed: the actor may not forget people.
        """
        self.context.authorizer.require(actor, Permission.MANAGE_PROJECTS, project_id)
        with self.context.database.session() as session:
            return self._person(session, project_id, user_id).forgetting

    def forget_person(self, actor: Actor, project_id: str, user_id: str, *, reason: str) -> Forgetting:
        """Erase the keys of an end user's originals, so that nobody can read them again. It cannot be undone.

        Args:
            user_id: as the application sent it, or as a trace shows it.

        Returns:
            What was erased.

        Raises:
            InvalidInput: no user id, no reason, or a reason that names the person.
            NotFound: no original of theirs can be read.
        """
        if not user_id.strip():
            raise _no_person()
        if not reason.strip():
            raise InvalidInput("Forgetting a person needs a reason.", todo="Say why; it is written into the ledger.")
        if _names_somebody(reason, user_id):
            raise InvalidInput(
                "The reason names the person, or holds personal data.",
                why="It is written into the ledger, where nothing can be erased.",
                todo="Name the request instead, such as its number.",
            )
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.MANAGE_PROJECTS, project_id)
            person = self._person(work.session, project_id, user_id)
            found = person.forgetting
            if not found.keys:
                raise NotFound(
                    "No original of this person can be read.",
                    why="The project kept none of theirs, or they are erased already.",
                    todo="Look that the id is as the application sends it, or as a trace shows it.",
                )
            keys = PersonKeys(work.session, self.context.settings, project_id)
            keys.forget(person.key_ids)
            work.record(
                "traces.person_forgotten",
                subject=("person_key", keys.reference(person.key_names[0])),
                project_id=project_id,
                reason=reason.strip(),
                keys=found.keys,
                originals=found.originals,
                traces=found.traces,
            )
        return found

    def _person(self, session: Session, project_id: str, user_id: str) -> "_Person":
        if not user_id.strip():
            raise _no_person()
        draft = Draft(policy_of(session, project_id), project_id, secret_key(self.context.settings, "masking"))
        given = [user_id, user_id.strip()]
        known_as = list(dict.fromkeys([*(draft.identity(one) or one for one in given), *given]))
        traces = session.exec(
            select(Trace.trace_id, Trace.session_id).where(Trace.project_id == project_id, col(Trace.user_id).in_(known_as))
        ).all()
        sessions = sorted({session_id for _, session_id in traces if session_id})
        key_names = [
            *dict.fromkeys(f"user:{spelled}" for name in known_as for spelled in (name, name[:MAX_PERSON])),
            *(f"trace:{trace_id}" for trace_id, _ in traces),
            *(f"trace:session:{session_id}" for session_id in sessions),
        ]
        key_ids = PersonKeys(session, self.context.settings, project_id).ids_of(key_names)
        originals = scopes = 0
        for start in range(0, len(key_ids), _AT_ONCE):
            mine = (MaskedValue.project_id == project_id, col(MaskedValue.key_id).in_(key_ids[start : start + _AT_ONCE]))
            counted = select(func.count(), func.count(func.distinct(MaskedValue.scope))).where(*mine)
            there = session.exec(counted.where(col(MaskedValue.original).is_not(None))).one()
            originals, scopes = originals + int(there[0]), scopes + int(there[1])
        return _Person(key_names, key_ids, Forgetting(len(key_ids), originals, scopes))


@dataclass(frozen=True)
class _Person:
    key_names: list[str]
    """As `PersonKeys` knows them; the first is the person's own."""
    key_ids: list[str]
    """Of those that are not erased."""
    forgetting: Forgetting


def _no_person() -> InvalidInput:
    return InvalidInput("No user id was given.", todo="Give the id that the application sends, or that a trace shows.")


def _names_somebody(reason: str, user_id: str) -> bool:
    person = re.escape(user_id.strip().casefold())
    return bool(re.search(rf"(?<!\w){person}(?!\w)", reason.casefold()) or detectors_of(default_policy(["en"])).find(reason))
