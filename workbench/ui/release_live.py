"""What is live now, in words; and taking it back."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import Unavailable, WorkbenchError
from workbench.releases import queries
from workbench.releases.changes import SlotChange, components_of
from workbench.releases.manifest import SLOTS
from workbench.releases.models import PRODUCTION, Release
from workbench.releases.note import release_note
from workbench.releases.verify import LiveRelease, live
from workbench.ui import page, release_parts
from workbench.ui.guard import Visit


def show(visit: Visit, *, briefly: bool = False) -> LiveRelease | None:
    """The live release as a card, verified at this moment; None when nothing is live or what is does not verify.

    Args:
        briefly: without its components.
    """
    try:
        found = live(visit.context, visit.project.id)
    except Unavailable:
        page.empty(
            "Nothing is released yet: the gateway answers nobody.",
            "An engineer proposes a release, a reviewer who did not make it approves, an operator promotes it.",
        )
        return None
    except WorkbenchError as error:
        page.failure(error)
        with visit.read() as session:
            choices = queries.been_live(session, visit.context.settings, visit.project.id)
        offered = visit.can(Permission.ROLL_BACK_RELEASE) and choices
        if offered and st.button("Roll back to a release that verifies", key="releases_repair", type="primary"):
            _roll_back(visit, None)
        return None
    _card(visit, found, briefly=briefly)
    return found


def _card(visit: Visit, found: LiveRelease, *, briefly: bool) -> None:
    release, move = found.release, found.move
    with visit.read() as session:
        parts = components_of(session, visit.context.settings, found.configuration)
        before = queries.comes_back(session, visit.context.settings, visit.project.id)
        others = [r for r in queries.been_live(session, visit.context.settings, visit.project.id) if r.id != release.id]
    with st.container(border=True, key="releases_live"):
        left, right = st.columns([4, 1], vertical_alignment="top")
        with left:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge("live", color="green")
                page.big(release.title)
            approved = " and ".join(f"{a.person_name} ({page.moment(a.at)})" for a in found.approvals)
            how = "put back" if move.kind == "rolled_back" else "promoted"
            words = f"Answers on {PRODUCTION} since {page.moment(move.at)}, {how} by {move.by_name}."
            words += f" “{move.reason}”" if move.reason else ""
            words += f" Approved by {approved}."
            words += "" if briefly else f" Proposed by {release.proposed_by_name}: “{release.reason}”"
            page.plain(words)
            if not briefly:
                st.caption("Verified: the signatures of its manifest, its approvals and the channel's newest move.")
        with right:
            if visit.can(Permission.ROLL_BACK_RELEASE) and st.button(
                "Roll back",
                key="releases_roll_back",
                icon=":material/undo:",
                disabled=not others,
                help=f"{before.title} answers again." if before else None if others else "No other release was live yet.",
                width="stretch",
            ):
                _roll_back(visit, found)
            if not briefly and st.button("Details", key="releases_live_open", width="stretch"):
                release_parts.open_release(release.id)
        if not briefly:
            release_parts.components(parts)


def note_button(visit: Visit, release: Release) -> None:
    """Download the signed release note."""
    with visit.read() as session:
        note = release_note(session, visit.context.settings, release)
    st.download_button(
        "Release note",
        note,
        file_name=f"release-{release.number}.txt",
        mime="text/plain",
        icon=":material/description:",
        key=f"releases_note_{release.id}",
        help="A text that stands alone, signed by this workbench.",
    )


@st.dialog("Roll back production", width="medium")
def _roll_back(visit: Visit, found: LiveRelease | None) -> None:
    settings = visit.context.settings
    with visit.read() as session:
        pointer = queries.channel_row(session, visit.project.id)
        first = queries.comes_back(session, settings, visit.project.id)
        current = found.release if found else None
        choices = [item for item in queries.been_live(session, settings, visit.project.id) if item != current]
    by_id = {item.id: item for item in choices}
    if not by_id:
        page.empty("There is no earlier release to go back to.", "Propose one that mends what is wrong.")
        return
    ids = list(by_id)
    chosen = st.selectbox(
        "What answers again",
        ids,
        index=ids.index(first.id) if first and first.id in by_id else 0,
        format_func=lambda item: by_id[item].title + (" (the one before)" if first and item == first.id else ""),
        key="releases_back_to",
    )
    target = by_id[str(chosen)]
    if current is not None:
        page.plain(f"{current.title} stops answering at once, and {target.title} answers again. Nothing is deleted.")
        _difference(visit, current, target)
    else:
        page.plain(f"{target.title} answers again at once.")
    st.caption("Published knowledge stays as it is: it has its own pointer, on the Knowledge page.")
    with st.form("releases_back", border=False):
        reason = st.text_input("Why", key="releases_back_reason", placeholder="One sentence, such as: wrong fee in answers")
        sent = st.form_submit_button("Roll back now", type="primary", key="releases_back_now")
    if sent:
        moved = None
        with page.acting(f"{target.title} answers again."):
            number = pointer.number if pointer else 0
            moved = visit.services.releases.rollback(
                visit.actor,
                visit.project.id,
                reason=reason,
                to=target.id,
                expected_move=number,
                command_id=f"rollback:{visit.project.id}:{PRODUCTION}:{number}:{target.id}",
            )
        if moved is not None:
            st.rerun()


def _difference(visit: Visit, current: Release, target: Release) -> None:
    with visit.read() as session:
        now_parts = components_of(session, visit.context.settings, current.configuration)
        then_parts = components_of(session, visit.context.settings, target.configuration)
    changes = [SlotChange(slot, now_parts[slot], then_parts[slot]) for slot in SLOTS]
    release_parts.slot_changes([change for change in changes if change.changed])
