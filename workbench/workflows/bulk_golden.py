"""Making golden cases out of many traces, in one new version of a set."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlmodel import Session, col, select

from workbench.annotation.models import Response, ResponseStatus, Standing
from workbench.annotation.schema import REWRITE
from workbench.core.actors import Permission
from workbench.core.errors import InvalidInput
from workbench.datasets.queries import examples, list_datasets
from workbench.evaluation.models import Comparison
from workbench.golden import queries
from workbench.golden.formats import MAX_CASES, MAX_TEXT, Case, parse_case
from workbench.golden.leaks import find_leaks
from workbench.golden.models import GoldenSet
from workbench.golden.service import add_cases, remove_cases, text_key
from workbench.identity.models import Project
from workbench.traces.act_models import TraceAct
from workbench.traces.hits import Hits
from workbench.traces.models import Feedback, Trace
from workbench.traces.queries import traces_by_id
from workbench.workflows.bulk_run import BulkRun, Halted

LOOKED_AT = 1000
"""Traces that a preview reads."""
_AT_ONCE = 200
_SPARE = 1000
"""Candidates beyond the room of the set, for those that turn out to be learned."""

IN_SET, LEARNED, FULL = "in the set already, or asked twice", "a model may have learned the text", "the set is full"
NO_QUESTION, NO_LABEL, NO_REFERENCE = "without a usable question", "without a label", "without correction or rewrite"
GONE = "not there any more"


class AddToGolden:
    """Cases of a golden set: {"golden_set_id", "label"?, "format"?, "despite_training"?}.

    Triage: `label` is one for all; without it each trace's own counts. Answers: `format` is what every answer must keep to.
    """

    permission = Permission.EDIT_GOLDEN

    def check(self, session: Session, project_id: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        golden = queries.get_set(session, str(spec.get("golden_set_id") or ""), project_id)
        checked: dict[str, Any] = {"golden_set_id": golden.id, "despite_training": bool(spec.get("despite_training"))}
        try:
            if golden.task == "triage":
                checked["label"] = str(spec.get("label") or "")
                parse_case("triage", {"text": "x", "label": checked["label"] or "x"})
            else:
                checked["format"] = dict(spec.get("format") or {})
                parse_case("answers", {"question": "x", "format": checked["format"]})
        except ValueError as error:
            raise InvalidInput(f"Cases cannot be made like that: {error}.") from error
        teams = _teams(session, project_id)
        if checked.get("label") and teams and checked["label"] not in teams:
            raise InvalidInput(f"The project has no team {checked['label']!r}.", todo="Teams are " + ", ".join(teams) + ".")
        return checked

    def title(self, session: Session, spec: Mapping[str, Any], count: int) -> str:
        return f"Make golden cases of {count:,} traces for {queries.get_set(session, spec['golden_set_id']).name}"

    def for_ledger(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return dict(spec)

    def is_quick(self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits) -> bool:
        return True

    def skips(
        self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits, total: int
    ) -> tuple[dict[str, int], str]:
        ids = hits.ids(session, project_id, limit=LOOKED_AT)
        _, skipped = plan(session, project_id, spec, ids)
        if total <= len(ids):
            return dict(skipped), ""
        golden = queries.get_set(session, spec["golden_set_id"])
        newest = queries.newest(session, project_id, golden.name) or golden
        skipped[FULL] = 0
        skipped[FULL] = max(0, total - sum(skipped.values()) - max(0, MAX_CASES - newest.size))
        note = f"Only the newest {len(ids):,} were read for this; of the others more may be left."
        return dict(skipped), f"{note} A set holds at most {MAX_CASES:,} cases."

    def carry_out(self, run: BulkRun) -> None:
        act, total = run.act, len(run.ids)

        def looked(done: int) -> None:
            run.port.report({"done": done, "total": total, "unit": "traces", "message": ""})
            if run.port.should_stop():
                raise Halted

        with run.context.database.session() as session:
            cases, skipped = plan(session, act.project_id, act.spec, run.ids, looked=looked)
        with run.writing(self.permission) as work:
            row = work.get(TraceAct, act.id, lock=True)
            if row.result:
                return  # an attempt before this one came so far
            row.done, row.result = total, {"added": 0}
            if cases:
                before = work.get(GoldenSet, act.spec["golden_set_id"], lock=True)
                made, added = add_cases(work, before, cases, reason=f"Cases made of {total:,} traces")
                skipped[IN_SET] += len(cases) - added
                if added:
                    row.result = {"added": added, "golden_set_id": made.id, "title": made.title}
            row.skipped = {why: count for why, count in skipped.items() if count}
            work.add(row)

    def count(self, session: Session, act: TraceAct) -> None:
        act.changed = int(act.result.get("added", 0))

    def undoable(self, session: Session, act: TraceAct) -> tuple[int, int, str]:
        made = session.get(GoldenSet, act.result.get("golden_set_id") or "")
        if made is None:
            return 0, 0, "It added no case."
        versions = [one for one in queries.list_sets(session, act.project_id) if one.name == made.name]
        newest, later = versions[0], [one.id for one in versions if one.number >= made.number]
        added = _added(session, made, int(act.result["added"]))
        there = sum((case.case_hash, case.trace_id) in added for case in queries.cases(session, newest.id))
        used = session.exec(select(Comparison.golden_set_id).where(col(Comparison.golden_set_id).in_(later)).limit(1)).first()
        if used is not None:
            by = queries.get_set(session, used).title
            return 0, there, f"A comparison has used {by}, so its {there:,} cases stay. Remove single ones with a reason."
        if there == newest.size:
            return 0, there, "The set would be empty, and a golden set needs at least one case."
        return there, 0, "Its cases were removed already."

    def undo_some(self, run: BulkRun) -> int:
        with run.writing(self.permission) as work:
            found, _, _ = self.undoable(work.session, run.act)
            if not found:
                return 0
            made = work.get(GoldenSet, run.act.result["golden_set_id"], lock=True)
            remove_cases(
                work, made, _added(work.session, made, int(run.act.result["added"])), reason="Undo of an act on traces"
            )
            return found


def plan(
    session: Session, project_id: str, spec: Mapping[str, Any], trace_ids: Sequence[str], *, looked: Any = None
) -> tuple[list[Case], Counter[str]]:
    """The cases that traces make, and why → how many make none.

    Args:
        looked: called with how many traces were looked at.
    """
    golden = queries.get_set(session, spec["golden_set_id"])
    newest = queries.newest(session, project_id, golden.name) or golden
    taken = {text_key(Case(case.content, {}).text) for case in queries.cases(session, newest.id)}
    room = max(0, MAX_CASES - newest.size)
    teams = _teams(session, project_id)
    cases: list[Case] = []
    skipped: Counter[str] = Counter()
    for start in range(0, len(trace_ids), _AT_ONCE):
        part = list(trace_ids[start : start + _AT_ONCE])
        if len(cases) >= room + _SPARE:
            skipped[FULL] += len(trace_ids) - start
            break
        traces = traces_by_id(session, project_id, part)
        wanted = _references(session, project_id, part) if golden.task == "answers" else {}
        for trace_id in part:
            made = _case(golden.task, spec, traces.get(trace_id), wanted.get(trace_id, ""), teams)
            if isinstance(made, Case) and (key := text_key(made.text)) in taken:
                skipped[IN_SET] += 1
            elif isinstance(made, Case):
                taken.add(key)
                cases.append(made)
            else:
                skipped[made] += 1
        session.expunge_all()
        if looked is not None:
            looked(min(start + _AT_ONCE, len(trace_ids)))
    if not spec.get("despite_training"):
        learned = _learned(session, project_id, [case.text for case in cases])
        skipped[LEARNED] += len(learned)
        cases = [case for place, case in enumerate(cases) if place not in learned]
    skipped[FULL] += max(0, len(cases) - room)
    return cases[:room], skipped


def _case(task: str, spec: Mapping[str, Any], trace: Trace | None, reference: str, teams: Sequence[str]) -> Case | str:
    """A case, or why there is none."""
    if trace is None:
        return GONE
    if not trace.input.strip() or len(trace.input) > MAX_TEXT:
        return NO_QUESTION
    found = {"language": trace.language, "intent": trace.intent, "conversation": trace.session_id}
    tags = {name: value for name, value in found.items() if value}
    if task == "triage":
        label = spec.get("label") or trace.triage_label
        if not label or (teams and label not in teams):
            return NO_LABEL
        content = {"text": trace.input, "label": label}
    elif not reference.strip():
        return NO_REFERENCE
    else:
        content = {"question": trace.input, "reference": reference.strip(), "format": spec["format"]}
    try:
        return parse_case(task, {**content, "tags": tags}, trace_id=trace.trace_id)
    except ValueError:
        return NO_QUESTION


def _references(session: Session, project_id: str, trace_ids: list[str]) -> dict[str, str]:
    """Trace id → the answer somebody wanted: the last correction, else the last rewrite that was submitted."""
    found: dict[str, str] = {}
    rewritten = (
        select(Response)
        .join(Standing, col(Standing.response_id) == col(Response.id))
        .where(Response.project_id == project_id, col(Response.trace_id).in_(trace_ids))
        .where(Standing.status == ResponseStatus.SUBMITTED.value)
        .order_by(col(Response.at), col(Response.id))
    )
    for response in session.exec(rewritten):
        if text := str(response.values.get(REWRITE) or "").strip():
            found[response.trace_id] = text
    corrected = select(Feedback).where(
        Feedback.project_id == project_id, Feedback.kind == "correction", col(Feedback.trace_id).in_(trace_ids)
    )
    for one in session.exec(corrected.order_by(col(Feedback.at), col(Feedback.id))):
        if one.trace_id and one.text.strip():
            found[one.trace_id] = one.text
    return found


def _learned(session: Session, project_id: str, texts: list[str]) -> set[int]:
    """Places of texts that a frozen dataset version holds."""
    left = dict(enumerate(texts))
    for dataset in list_datasets(session, project_id, frozen_only=True):
        rows = [_row_text(row.content) for row in examples(session, dataset.id)]
        while left:  # one leak a row is found at a time
            places = list(left)
            leaks = {places[leak.golden] for leak in find_leaks(rows, [left[place] for place in places])}
            if not leaks:
                break
            left = {place: text for place, text in left.items() if place not in leaks}
    return set(range(len(texts))) - set(left)


def _row_text(content: Mapping[str, Any] | None) -> str:
    values: Iterable[Any] = (content or {}).values()
    return "\n".join(str(value) for value in values)


def _added(session: Session, made: GoldenSet, count: int) -> set[tuple[str, str | None]]:
    """Hash and trace of the cases that a version added: they are its last ones."""
    return {(case.case_hash, case.trace_id) for case in queries.cases(session, made.id)[-count:]}


def _teams(session: Session, project_id: str) -> list[str]:
    project = session.get(Project, project_id)
    return [str(team["key"]) for team in project.teams] if project else []
