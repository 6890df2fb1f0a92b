"""Commands that make and freeze golden sets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.core.actors import Actor, Permission
from workbench.core.errors import Conflict, InvalidInput, NotFound
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.golden import queries
from workbench.golden.formats import Case, parse_case, read_jsonl, set_hash
from workbench.golden.models import GoldenCase, GoldenSet
from workbench.traces.queries import get_trace


class GoldenService(Service):
    """Golden sets: each change makes a new, frozen version; none is ever changed or removed."""

    def import_jsonl(
        self,
        actor: Actor,
        project_id: str,
        *,
        name: str,
        task: str,
        data: bytes | str,
        reason: str = "",
        command_id: str | None = None,
    ) -> GoldenSet:
        """Make a version out of a JSON Lines file; importing the newest version's content again returns that version.

        Raises:
            InvalidInput: bad lines, named by number; nothing is stored then.
            Conflict: the name belongs to a set of another task.
        """
        if not name.strip() or len(name) > 80:
            raise InvalidInput("A golden set needs a name of at most 80 characters.")
        cases = read_jsonl(task, data)
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(GoldenSet, done["golden_set_id"])
            work.require(Permission.EDIT_GOLDEN, project_id)
            return self._add_version(work, project_id, name.strip(), task, cases, reason)

    def add_case(
        self,
        actor: Actor,
        golden_set_id: str,
        *,
        content: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
        trace_id: str | None = None,
        reason: str = "",
        command_id: str | None = None,
    ) -> GoldenSet:
        """A new version with one more case.

        Raises:
            InvalidInput: the case is incomplete, or its text is in the set already.
            Conflict: there is a newer version; add to that one.
        """

        def extended(task: str, cases: list[Case], _work: UnitOfWork) -> list[Case]:
            try:
                case = parse_case(task, {**content, "tags": dict(tags or {})}, trace_id=trace_id)
            except ValueError as error:
                raise InvalidInput(f"The case cannot be used: {error}.") from error
            if any(case.text.casefold() == other.text.casefold() for other in cases):
                raise InvalidInput("The golden set holds a case with this text already.")
            return [*cases, case]

        return self._derive(actor, golden_set_id, extended, reason or "Added a case", command_id)

    def add_case_from_trace(
        self,
        actor: Actor,
        golden_set_id: str,
        trace_id: str,
        *,
        expected: Mapping[str, Any],
        reason: str = "",
        command_id: str | None = None,
    ) -> GoldenSet:
        """A new version with the input of a trace as one more case; language, intent and conversation become its tags.

        Args:
            expected: what a good answer is: {"label"} for triage, {"must_state", "format", …} for answers.

        Raises:
            NotFound: no such trace in the set's project. InvalidInput, Conflict: as `add_case`.
        """
        with self.context.database.session() as session:
            golden = queries.get_set(session, golden_set_id)
            self.context.authorizer.require(actor, Permission.EDIT_GOLDEN, golden.project_id)
            trace = get_trace(session, golden.project_id, trace_id)
        found = {"language": trace.language, "intent": trace.intent, "conversation": trace.session_id}
        return self.add_case(
            actor,
            golden_set_id,
            content={**expected, "text" if golden.task == "triage" else "question": trace.input},
            tags={name: value for name, value in found.items() if value},
            trace_id=trace_id,
            reason=reason or "Added a case from a trace",
            command_id=command_id,
        )

    def remove_case(
        self, actor: Actor, golden_set_id: str, case_id: str, *, reason: str, command_id: str | None = None
    ) -> GoldenSet:
        """A new version without one case; earlier versions keep it.

        Raises:
            InvalidInput: no reason was given, or it is the last case.
            NotFound: the set has no such case. Conflict: there is a newer version.
        """
        if not reason.strip():
            raise InvalidInput("Say why the case is removed.", why="A gate that loses cases without a reason is no gate.")

        def reduced(_task: str, cases: list[Case], work: UnitOfWork) -> list[Case]:
            gone = work.get(GoldenCase, case_id)
            if gone.golden_set_id != golden_set_id:
                raise NotFound("The golden set has no such case.")
            if len(cases) == 1:
                raise InvalidInput("A golden set needs at least one case.")
            return [case for position, case in enumerate(cases) if position != gone.position]

        return self._derive(actor, golden_set_id, reduced, reason, command_id)

    def _derive(
        self,
        actor: Actor,
        golden_set_id: str,
        change: Callable[[str, list[Case], UnitOfWork], list[Case]],
        reason: str,
        command_id: str | None,
    ) -> GoldenSet:
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(GoldenSet, done["golden_set_id"])
            before = work.get(GoldenSet, golden_set_id, lock=True)
            work.require(Permission.EDIT_GOLDEN, before.project_id)
            last = queries.newest(work.session, before.project_id, before.name)
            if last is not None and last.id != before.id:
                raise Conflict(f"There is a newer version, {last.title}.", todo="Change that one.")
            cases = [Case(row.content, row.tags, row.trace_id) for row in queries.cases(work.session, before.id)]
            return self._add_version(
                work, before.project_id, before.name, before.task, change(before.task, cases, work), reason
            )

    @staticmethod
    def _add_version(work: UnitOfWork, project_id: str, name: str, task: str, cases: Sequence[Case], reason: str) -> GoldenSet:
        before = queries.newest(work.session, project_id, name)
        if before is not None and before.task != task:
            raise Conflict(f"{name!r} is a golden set for the task {before.task}.", todo="Choose another name.")
        name_hash = set_hash(task, [case.case_hash for case in cases])
        if before is not None and before.content_hash == name_hash:
            work.remember(golden_set_id=before.id)
            return before
        golden = GoldenSet(
            project_id=project_id,
            name=name,
            task=task,
            number=1 if before is None else before.number + 1,
            content_hash=name_hash,
            size=len(cases),
            previous_id=None if before is None else before.id,
            reason=reason,
            created_by=work.actor.id,
            created_by_name=work.actor.name,
        )
        work.add(golden)
        for position, case in enumerate(cases):
            work.session.add(
                GoldenCase(
                    project_id=project_id,
                    golden_set_id=golden.id,
                    position=position,
                    content=case.content,
                    tags=case.tags,
                    case_hash=case.case_hash,
                    trace_id=case.trace_id,
                )
            )
        work.session.flush()
        work.record(
            "golden.frozen",
            subject=golden,
            reason=reason,
            name=name,
            task=task,
            number=golden.number,
            size=golden.size,
            content_hash=golden.content_hash,
            previous_id=golden.previous_id,
        )
        work.remember(golden_set_id=golden.id)
        return golden


def text_key(text: str) -> str:
    """The form in which texts of cases are compared: caseless, one space between words."""
    return " ".join(text.casefold().split())


def add_cases(work: UnitOfWork, golden: GoldenSet, cases: Sequence[Case], *, reason: str) -> tuple[GoldenSet, int]:
    """Add cases to the newest version of a set inside a command's transaction; texts that it holds already are left out.

    Returns:
        The newest version, now with them at its end, and how many were added.
    """
    newest = queries.newest(work.session, golden.project_id, golden.name) or golden
    kept = [Case(row.content, row.tags, row.trace_id) for row in queries.cases(work.session, newest.id)]
    here = {text_key(case.text) for case in kept}
    new = [case for case in cases if text_key(case.text) not in here]
    if not new:
        return newest, 0
    made = GoldenService._add_version(work, golden.project_id, golden.name, golden.task, [*kept, *new], reason)
    return made, len(new)


def remove_cases(work: UnitOfWork, golden: GoldenSet, gone: set[tuple[str, str | None]], *, reason: str) -> GoldenSet:
    """A new version of the set, out of its newest one, without the cases of these (case hash, trace id).

    Raises:
        InvalidInput: no case would be left.
    """
    newest = queries.newest(work.session, golden.project_id, golden.name) or golden
    rows = queries.cases(work.session, newest.id)
    kept = [Case(row.content, row.tags, row.trace_id) for row in rows if (row.case_hash, row.trace_id) not in gone]
    if not kept:
        raise InvalidInput("A golden set needs at least one case.")
    return GoldenService._add_version(work, golden.project_id, golden.name, golden.task, kept, reason)
