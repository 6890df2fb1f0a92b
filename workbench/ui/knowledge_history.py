"""The corpus as commits: what each changed, who made it, and taking it back; import, export and the checks."""

from functools import partial

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import Conflict, InvalidInput, WorkbenchError
from workbench.core.ids import new_id
from workbench.knowledge import importing, queries
from workbench.knowledge.conflicts import find_conflicts
from workbench.knowledge.models import CorpusCommit
from workbench.knowledge.queries import CorpusChange, EntryState, EntryStatus
from workbench.ui import diff, page
from workbench.ui.guard import Visit
from workbench.ui.knowledge_acts import act, problem, typed

_SHOWN = 30
_ACTS = {
    "edit": "edit", "certify": "certification", "retire": "retirement", "restore": "restoration", "import": "import",
    "undo": "undo", "revert": "reversal",
}  # fmt: skip


def commits(visit: Visit) -> None:
    """The newest commits, each with its changes and a way back."""
    with visit.read() as session:
        found = queries.commits(session, visit.project.id, limit=_SHOWN)
        mine = queries.commit_to_undo(session, visit.project.id, visit.actor.id)
    if not found:
        page.empty("Nothing is live yet.", "The first certified entry makes the first commit.")
        return
    if mine is not None and visit.can(Permission.CERTIFY_KNOWLEDGE):
        undo = partial(visit.services.knowledge.undo, visit.actor, mine.id, command_id=f"knowledge-undo:{mine.id}")
        label = f"Undo my last change (commit {mine.number}, {page.ago(mine.created_at)})"
        st.button(label, key="knowledge_undo_last", on_click=act, args=("Taken back.", undo))
    problem()
    for commit in found:
        title = f"Commit {commit.number} · {_ACTS.get(commit.act, commit.act)} by {commit.created_by_name} · "
        title += f"{page.moment(commit.created_at)} · {page.count(commit.members, 'entry', 'entries')} live"
        with st.expander(page.escape_markdown(title), key=f"knowledge_commit_{commit.id}", on_change="rerun") as opened:
            if opened.open:
                _commit(visit, commit, is_head=commit.id == found[0].id)


def _commit(visit: Visit, commit: CorpusCommit, *, is_head: bool) -> None:
    with visit.read() as session:
        changes = queries.changes_of(session, commit)
        head = queries.head(session, visit.project.id, commit.tenant)
        back = [] if is_head or head is None else queries.diff(session, head, commit)
    if commit.reason:
        page.plain(f"Why: {commit.reason}")
    page.facts({"Content hash": commit.content_hash, "Id": commit.id})
    for change in changes[:20]:
        _change(change)
    if len(changes) > 20:
        st.caption(f"and {page.count(len(changes) - 20, 'more entry', 'more entries')}")
    if not visit.can(Permission.CERTIFY_KNOWLEDGE):
        return
    knowledge, reason_key, command_id = visit.services.knowledge, f"knowledge_revert_reason_{commit.id}", new_id()

    def revert() -> None:
        act(
            "Reverted.",
            lambda: knowledge.revert(visit.actor, commit.id, reason=typed(reason_key), command_id=command_id),
        )

    def go_back() -> None:
        act(
            "The corpus is as it was then.",
            lambda: knowledge.return_to(visit.actor, commit.id, reason=typed(reason_key), command_id=command_id),
        )

    with st.popover("Take it back", key=f"knowledge_revert_open_{commit.id}"):
        st.caption(f"Restores what this commit changed: {page.count(len(changes), 'entry', 'entries')}. Later edits stay.")
        st.text_input("Why", key=reason_key)
        st.button("Revert this commit", key=f"knowledge_revert_{commit.id}", on_click=revert)
        if back:
            st.caption(f"Or make everything as it was then; that changes {page.count(len(back), 'entry', 'entries')}.")
            st.button("Go back to this state", key=f"knowledge_return_{commit.id}", on_click=go_back)


def _change(change: CorpusChange) -> None:
    words = {"added": "became live", "removed": "is no longer live", "changed": "changed"}[change.kind]
    page.plain(f"{change.key} {words}", mono=False)
    if change.before is not None and change.after is not None and change.before.text != change.after.text:
        diff.side_by_side(
            change.before.text,
            change.after.text,
            before_title=f"Version {change.before.number}",
            after_title=f"Version {change.after.number}",
        )


def bring(visit: Visit, entries: list[EntryStatus]) -> None:
    """Import and export."""
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Import**")
        st.caption(
            'One JSON object a line: {"key", "title", "text", "kind", "language", "tags", "risk_tier", "source", '
            '"review_in_days"}. Key, title and text are needed. An entry with a known key is changed.'
        )
        file = st.file_uploader("JSONL file", type=["jsonl", "json", "txt"], key="knowledge_import_file")
        reason = st.text_input("Why", key="knowledge_import_reason", placeholder="where these entries come from")
        if st.button("Import", key="knowledge_import", disabled=file is None or not visit.can(Permission.EDIT_KNOWLEDGE)):
            try:
                text = _decoded(file.getvalue()) if file else ""
                report = visit.services.knowledge.import_jsonl(visit.actor, visit.project.id, text, reason=reason or "")
            except WorkbenchError as error:
                page.failure(error)
            else:
                st.session_state["knowledge_import_report"] = report
                st.rerun()
        _report(st.session_state.get("knowledge_import_report"))
    with right:
        st.markdown("**Export**")
        live = [entry.live for entry in entries if entry.live is not None]
        st.caption(f"The live versions of {page.count(len(live), 'entry', 'entries')}, as lines that import reads.")
        st.download_button(
            "Download JSONL",
            importing.export_jsonl(live),
            file_name=f"{visit.project.key}-knowledge.jsonl",
            mime="application/jsonl",
            key="knowledge_export",
            disabled=not live,
        )
        if visit.can(Permission.CERTIFY_KNOWLEDGE) and (waiting := [e for e in entries if e.draft]):
            st.markdown("**Drafts**")
            st.caption(
                f"{page.count(len(waiting), 'draft')} waiting. Certify those you may, each until the date its author proposed."
            )
            st.text_input("On what ground", key="knowledge_drafts_reason")
            st.button("Certify the drafts I may", key="knowledge_certify_drafts", on_click=_certify_drafts, args=(visit,))
            problem()


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidInput(f"The file is not UTF-8: line {line} has other bytes.", todo="Save it as UTF-8.") from None


def _certify_drafts(visit: Visit) -> None:
    def certify() -> None:
        reason = typed("knowledge_drafts_reason")
        if not reason:
            raise InvalidInput("Say on what ground you certify them.")
        made = visit.services.knowledge.certify_drafts(visit.actor, visit.project.id, reason=reason)
        if not made:
            raise Conflict("None of the drafts is yours to certify.", why="A high risk takes another person than the author.")

    act("Done. What you may certify is live.", certify)


def _report(report: importing.ImportReport | None) -> None:
    if report is None:
        return
    st.success(
        f"{len(report.added)} added, {len(report.changed)} changed, {len(report.unchanged)} unchanged, "
        f"{len(report.drafts)} of them drafts."
    )
    if report.errors:
        st.warning(f"{page.count(len(report.errors), 'line')} could not be read; the others went in.")
        st.dataframe(
            [{"Line": number, "What is wrong": what} for number, what in report.errors],
            hide_index=True,
            key="knowledge_import_errors",
        )


def checks(entries: list[EntryStatus]) -> None:
    """What a person should look at: contradictions, overdue reviews, drafts that wait."""
    notes = find_conflicts([entry.live for entry in entries if entry.live is not None])
    stale = [entry for entry in entries if entry.state is EntryState.STALE]
    st.markdown("**Past their review date**")
    if not stale:
        st.caption("None. Every live entry was looked at in time.")
    for entry in stale:
        _link(entry.entry.key, f"{entry.current.title}: due on {entry.current.review_at:%-d %b %Y}", "stale")
    st.markdown("**May contradict each other**")
    st.caption("Compared by the words of their titles and by numbers of the same unit. A person has to judge.")
    if not notes:
        st.caption("None found among live entries.")
    for note in notes[:50]:
        _link(note.first.key, f"{note.first.key} and {note.second.key}: {note.detail}", f"pair_{note.second.key}")


def _link(key: str, words: str, kind: str) -> None:
    def go() -> None:
        st.query_params.clear()
        st.query_params["entry"] = key
        st.session_state["knowledge_view"] = "Entries"

    st.button(page.escape_markdown(words), key=f"knowledge_check_{kind}_{key}", type="tertiary", on_click=go)
