"""One knowledge entry: what it says, whether it is live and for whom, its versions, and what can be done with it."""

from datetime import timedelta
from functools import partial

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.clock import now
from workbench.core.ids import new_id
from workbench.knowledge import queries
from workbench.knowledge.conflicts import find_conflicts
from workbench.knowledge.models import CorpusCommit, KnowledgeEntryVersion
from workbench.knowledge.policy import policy_of
from workbench.knowledge.queries import EntryStatus
from workbench.knowledge.words import why_live
from workbench.ui import diff, knowledge_edit, knowledge_list, page
from workbench.ui.guard import Visit
from workbench.ui.knowledge_acts import act, problem, typed


def show(visit: Visit, entries: list[EntryStatus], key: str) -> None:
    """The panel of an entry."""
    with visit.read() as session:
        entry = queries.entry_by_key(session, visit.project.id, key)
        status = queries.status_of(session, entry)
        versions = queries.versions_of(session, entry.id)
        withdrawn = queries.withdrawn_ids(session, [entry.id])
        head = queries.head(session, visit.project.id, entry.tenant)
        policy = policy_of(visit.context, session, visit.project.id, entry.tenant)
        mine = queries.commit_to_undo(session, visit.project.id, visit.actor.id, entry.tenant)
        touches = mine is not None and any(c.entry_id == entry.id for c in queries.changes_of(session, mine))
    editing = st.query_params.get("edit") == "1" and visit.can(Permission.EDIT_KNOWLEDGE)
    current = status.current
    with st.container(border=True, key="knowledge_panel"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(page.escape_markdown(current.title), anchor=False)
            knowledge_list.badges(status)
        page.plain(why_live(status, head=head, policy=policy))
        knowledge_edit.saved_note(entry.id)
        if editing:
            knowledge_edit.edit_form(visit, status)
            return
        _text(status)
        _acts(visit, status, mine if touches else None)
        _alike(entries, current)
        page.facts(
            {
                "Key": entry.key,
                "Kind": f"{current.kind}, {current.risk_tier} risk, {current.language}",
                "Source": current.source or "none given",
                "Tags": ", ".join(current.tags) or "none",
                "Author": current.author_name,
                "Review by": f"{current.review_at:%-d %b %Y}" if current.review_at else "no date",
                "Content hash": current.content_hash,
            }
        )
        st.markdown("**Versions**")
        _versions(visit, status, versions, withdrawn)


def _text(status: EntryStatus) -> None:
    if status.live is not None and status.draft is not None:
        diff.side_by_side(
            status.live.text,
            status.draft.text,
            before_title=f"Live: version {status.live.number}",
            after_title=f"Draft: version {status.draft.number} by {status.draft.author_name}",
        )
        return
    with st.container(border=True):
        page.plain(status.current.text)


def _acts(visit: Visit, status: EntryStatus, mine: CorpusCommit | None) -> None:
    entry, current = status.entry, status.current
    may_certify = visit.can(Permission.CERTIFY_KNOWLEDGE)
    with st.container(horizontal=True, gap="small"):
        if visit.can(Permission.EDIT_KNOWLEDGE):
            st.button("Edit", type="primary", key="knowledge_edit", shortcut="E", on_click=_start_editing, args=(entry.id,))
        if may_certify:
            with st.popover("Certify", key="knowledge_certify_open"):
                _certify(visit, current)
        if mine is not None and may_certify:
            st.button(
                "Undo my change",
                key="knowledge_undo",
                help=f"Takes back commit {mine.number}, made {page.ago(mine.created_at)}.",
                on_click=_undo,
                args=(visit, mine),
            )
        if status.draft is not None and (may_certify or status.draft.author_id == visit.actor.id):
            with st.popover("Withdraw draft", key="knowledge_withdraw_open"):
                _withdraw(visit, status.draft)
        if status.live is not None and may_certify:
            with st.popover("Retire", key="knowledge_retire_open"):
                _retire(visit, status)
    problem()


def _start_editing(entry_id: str) -> None:
    knowledge_edit.forget_note()
    knowledge_edit.close(entry_id)
    st.query_params["edit"] = "1"


def _undo(visit: Visit, commit: CorpusCommit) -> None:
    act(
        "Taken back. The former version is live again.",
        lambda: visit.services.knowledge.undo(visit.actor, commit.id, command_id=f"knowledge-undo:{commit.id}"),
    )


def _certify(visit: Visit, version: KnowledgeEntryVersion) -> None:
    st.caption("You confirm that the text is right, and until when it need not be looked at again.")
    tomorrow = now().date() + timedelta(days=1)
    command_id = new_id()
    until_key, reason_key = f"knowledge_certify_until_{version.id}", f"knowledge_certify_reason_{version.id}"

    def certify() -> None:
        until = st.session_state.get(until_key) or tomorrow + timedelta(days=179)
        act(
            "Certified and live.",
            lambda: visit.services.knowledge.certify(
                visit.actor,
                version.id,
                until=knowledge_edit.end_of(until),
                reason=typed(reason_key),
                command_id=command_id,
            ),
        )

    with st.form(f"knowledge_certify_{version.id}", border=False):
        st.date_input(
            "Review by",
            value=tomorrow + timedelta(days=179),
            min_value=tomorrow,
            max_value=tomorrow + timedelta(days=700),
            key=until_key,
        )
        st.text_input("On what ground", key=reason_key, placeholder="what you checked")
        st.form_submit_button("Certify and make live", type="primary", key="knowledge_certify", on_click=certify)


def _withdraw(visit: Visit, draft: KnowledgeEntryVersion) -> None:
    st.caption("The draft no longer waits. Its text stays in the history.")
    st.button(
        "Withdraw",
        key="knowledge_withdraw",
        on_click=act,
        args=("The draft was withdrawn.", lambda: visit.services.knowledge.withdraw(visit.actor, draft.id)),
    )


def _retire(visit: Visit, status: EntryStatus) -> None:
    st.caption("Nobody gets answers from it any more, from the next question on. It can be restored.")
    reason_key, command_id = f"knowledge_retire_reason_{status.entry.id}", new_id()

    def retire() -> None:
        act(
            "Retired. It can be restored from its versions.",
            lambda: visit.services.knowledge.retire(
                visit.actor, status.entry.id, reason=typed(reason_key), command_id=command_id
            ),
        )

    with st.form(f"knowledge_retire_{status.entry.id}", border=False):
        st.text_input("Why", key=reason_key)
        st.form_submit_button("Retire this entry", key="knowledge_retire", on_click=retire)


def _alike(entries: list[EntryStatus], current: KnowledgeEntryVersion) -> None:
    for note in find_conflicts([e.live for e in entries if e.live], only=current)[:3]:
        other = note.second if note.first.key == current.key else note.first
        st.warning(f"See also {page.escape_markdown(other.key)}. {page.escape_markdown(note.detail)}")


def _versions(visit: Visit, status: EntryStatus, versions: list[KnowledgeEntryVersion], withdrawn: set[str]) -> None:
    by_id = {version.id: version for version in versions}
    for version in versions:
        is_live = status.live is not None and version.id == status.live.id
        words = f"Version {version.number}, {page.moment(version.created_at)}, " + _who(version)
        mark = " · live" if is_live else " · withdrawn" if version.id in withdrawn else ""
        named = version.id == st.query_params.get("version")
        with st.expander(
            page.escape_markdown(words + mark), expanded=named, key=f"knowledge_version_{version.id}", on_change="rerun"
        ) as opened:
            if not opened.open:
                continue
            if version.reason:
                page.plain(f"Why: {version.reason}", muted=True)
            before = by_id.get(version.based_on or "")
            if before is None or (before.text, before.title) == (version.text, version.title):
                page.plain(version.text)
            else:
                diff.side_by_side(
                    f"{before.title}\n\n{before.text}",
                    f"{version.title}\n\n{version.text}",
                    before_title=f"Version {before.number}",
                    after_title=f"Version {version.number}",
                )
            if version.certified_by and not is_live and visit.can(Permission.CERTIFY_KNOWLEDGE):
                st.button(
                    "Make this version live again",
                    key=f"knowledge_restore_{version.id}",
                    on_click=act,
                    args=("Live again.", partial(visit.services.knowledge.restore, visit.actor, version.id)),
                )


def _who(version: KnowledgeEntryVersion) -> str:
    if version.certified_by is None:
        return f"draft by {version.author_name}"
    if version.certified_by == version.author_id:
        return f"by {version.author_name}"
    return f"by {version.author_name}, certified by {version.certified_by_name}"
