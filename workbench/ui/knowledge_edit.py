"""Writing a knowledge entry: the form, what saving will do, and what happens when someone else was faster."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.knowledge.content import KINDS, EntryContent, content_of, suggest_key
from workbench.knowledge.models import KnowledgeEntryVersion, RiskTier
from workbench.knowledge.policy import policy_of
from workbench.knowledge.publishing import tiers_in_words
from workbench.knowledge.queries import EntryStatus
from workbench.knowledge.service import EditConflict, Edited
from workbench.ui import diff, page
from workbench.ui.guard import Visit

LANGUAGES = ("en", "es", "vi")
_CONFLICT = "knowledge_conflict"
_SAVED = "knowledge_saved"


def end_of(day: date) -> datetime:
    """The end of a day in UTC: what "until this day" means."""
    return datetime.combine(day, time(23, 59, 59), tzinfo=UTC)


def what_saving_does(visit: Visit) -> str:
    """One or two sentences on what becomes of this person's edits."""
    with visit.context.database.session() as session:
        policy = policy_of(visit.context, session, visit.project.id, "default")
    return tiers_in_words(visit.actor, policy, visit.project.id, may_certify=visit.can(Permission.CERTIFY_KNOWLEDGE))


def edit_form(visit: Visit, status: EntryStatus) -> None:
    """The form over an entry's current version. A conflict keeps the text and shows both versions."""
    base_key = f"knowledge_base_{status.entry.id}"
    base: KnowledgeEntryVersion = st.session_state.setdefault(base_key, status.current)
    conflict: KnowledgeEntryVersion | None = st.session_state.get(_CONFLICT)
    if conflict is not None and conflict.entry_id != status.entry.id:
        conflict = None
    form_id = f"{status.entry.id}_{base.id}"
    # One id an opening of the form: a double click saves once, the same edit after an undo saves again.
    st.session_state.setdefault(f"knowledge_command_{status.entry.id}", new_id())
    with st.form(f"knowledge_form_{form_id}", border=True):
        content, review, reason = _fields(form_id, content_of(base), base.review_at)
        st.caption(what_saving_does(visit))
        with st.container(horizontal=True):
            label = "Save mine on top" if conflict else "Save"
            save = st.form_submit_button(label, type="primary", key=f"knowledge_save_{form_id}", shortcut="Mod+Enter")
            cancel = st.form_submit_button("Cancel", key=f"knowledge_cancel_{form_id}")
    if conflict is not None:
        _both(conflict, content)
    if cancel:
        close(status.entry.id)
        st.rerun()
    if save:
        _save(visit, status, content, review, reason, conflict or base)


def new_form(visit: Visit, *, title: str = "", text: str = "") -> None:
    """The form for an entry that does not exist yet."""
    form_id = st.session_state.setdefault("knowledge_new_id", new_id())
    with st.form(f"knowledge_form_{form_id}", border=True):
        content, review, reason = _fields(form_id, EntryContent(title=title, text=text), None)
        key = st.text_input(
            "Key",
            placeholder="made from the title when empty",
            help="What citations show, such as flexpay-late-fee. It never changes.",
            key=f"knowledge_key_{form_id}",
        )
        st.caption(what_saving_does(visit))
        with st.container(horizontal=True):
            save = st.form_submit_button("Add entry", type="primary", key="knowledge_add", shortcut="Mod+Enter")
            cancel = st.form_submit_button("Cancel", key="knowledge_add_cancel")
    if cancel:
        st.session_state.pop("knowledge_new_id", None)
        st.query_params.clear()
        st.rerun()
    if not save:
        return
    try:
        edited = visit.services.knowledge.create(
            visit.actor,
            visit.project.id,
            key=key.strip() or suggest_key(content.title),
            content=content,
            review_at=review,
            reason=reason,
            command_id=f"knowledge-create:{form_id}",
        )
    except WorkbenchError as error:
        page.failure(error)
        return
    st.session_state.pop("knowledge_new_id", None)
    st.query_params.clear()
    st.query_params["entry"] = edited.entry.key
    _remember(edited)
    st.rerun()


def saved_note(entry_id: str) -> None:
    """What the last save in this tab did, once it is this entry that is shown."""
    saved: Edited | None = st.session_state.get(_SAVED)
    if saved is None or saved.entry.id != entry_id:
        return
    if saved.commit is None:
        st.info(f"Saved as a draft, version {saved.version.number}. {page.escape_markdown(saved.why_draft)}")
    else:
        st.success(
            f"Version {saved.version.number} is live since {saved.commit.created_at:%H:%M:%S} UTC. "
            "The next question is answered with it."
        )


def close(entry_id: str) -> None:
    """Leave the form and forget what it was based on."""
    st.session_state.pop(f"knowledge_base_{entry_id}", None)
    st.session_state.pop(f"knowledge_command_{entry_id}", None)
    st.session_state.pop(_CONFLICT, None)
    st.query_params.pop("edit", None)


def forget_note() -> None:
    """Something else was done since."""
    st.session_state.pop(_SAVED, None)


def _fields(form_id: str, content: EntryContent, review_at: datetime | None) -> tuple[EntryContent, datetime | None, str]:
    title = st.text_input("Title", value=content.title, key=f"knowledge_title_{form_id}", max_chars=200)
    text = st.text_area("Text", value=content.text, key=f"knowledge_text_{form_id}", height=170)
    reason = st.text_input("Why", key=f"knowledge_reason_{form_id}", placeholder="what was wrong or what changed")
    columns = st.columns(4)
    kinds = list(dict.fromkeys([*KINDS, content.kind]))
    kind = columns[0].selectbox("Kind", kinds, index=kinds.index(content.kind), key=f"knowledge_kind_{form_id}")
    tiers = [tier.value for tier in RiskTier]
    tier = columns[1].selectbox("Risk", tiers, index=tiers.index(content.risk_tier), key=f"knowledge_tier_{form_id}")
    languages = list(dict.fromkeys([*LANGUAGES, content.language]))
    language = columns[2].selectbox(
        "Language", languages, index=languages.index(content.language), key=f"knowledge_lang_{form_id}"
    )
    tomorrow = now().date() + timedelta(days=1)
    still_ahead = review_at.date() if review_at and review_at.date() >= tomorrow else None
    until = columns[3].date_input(
        "Review by",
        value=still_ahead,
        min_value=tomorrow,
        max_value=tomorrow + timedelta(days=700),
        help="Empty: as many days as the corpus policy gives this risk.",
        key=f"knowledge_until_{form_id}",
    )
    source = st.text_input(
        "Source", value=content.source, key=f"knowledge_source_{form_id}", placeholder="document and section"
    )
    tags = st.text_input("Tags, separated by commas", value=", ".join(content.tags), key=f"knowledge_tags_{form_id}")
    made = replace(
        content,
        title=title or "",
        text=text or "",
        kind=kind,
        tags=tuple((tags or "").split(",")),
        language=language,
        risk_tier=RiskTier(tier),
        source=source or "",
    )
    return made, end_of(until) if isinstance(until, date) else None, (reason or "").strip()


def _save(
    visit: Visit,
    status: EntryStatus,
    content: EntryContent,
    review: datetime | None,
    reason: str,
    base: KnowledgeEntryVersion,
) -> None:
    try:
        edited = visit.services.knowledge.edit(
            visit.actor,
            status.entry.id,
            base_version_id=base.id,
            content=content,
            review_at=review,
            reason=reason,
            command_id=f"{st.session_state[f'knowledge_command_{status.entry.id}']}:{base.id}",
        )
    except EditConflict as error:
        st.session_state[_CONFLICT] = error.newest
        st.rerun()
    except WorkbenchError as error:
        page.failure(error)
        return
    close(status.entry.id)
    _remember(edited)
    st.rerun()


def _both(newest: KnowledgeEntryVersion, mine: EntryContent) -> None:
    by = newest.certified_by_name or newest.author_name
    st.warning(
        f"{page.escape_markdown(by)} saved version {newest.number} while you were writing. Your text is still in the form. "
        "Take over what you need, then save yours on top."
    )
    diff.side_by_side(
        f"{newest.title}\n\n{newest.text}",
        f"{mine.title}\n\n{mine.text}",
        before_title=f"Version {newest.number} by {by}",
        after_title="Yours, not saved yet",
    )


def _remember(edited: Edited) -> None:
    st.session_state[_SAVED] = edited
    st.toast("Saved and live." if edited.commit else "Saved as a draft.")
