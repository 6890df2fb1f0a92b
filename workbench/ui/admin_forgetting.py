"""The admin page's place to forget an end user: the originals that are kept of theirs become unreadable."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.ui import page
from workbench.ui.guard import Visit

_TIMES = "forget_times"


def forget_person(visit: Visit) -> None:
    """Who, why, what it takes, and the button; new fields after each time, so that no id stays on the screen."""
    if not visit.can(Permission.MANAGE_PROJECTS):
        return
    times = st.session_state.setdefault(_TIMES, 0)
    with st.expander("Forget a person", key="forget_person"):
        st.caption("Erases the keys of an end user's originals: nobody can read them again. The masked traces stay.")
        person = st.text_input(
            "Id of the end user", key=f"forget_id_{times}", max_chars=1000,
            help="As the application sends it, or the pseudonym that a trace shows.",
        )  # fmt: skip
        if not person.strip():
            return
        try:
            found = visit.services.masking.forgetting(visit.actor, visit.project.id, person)
        except WorkbenchError as error:
            page.failure(error)
            return
        if not found.keys:
            st.info("No original of this person can be read: none was kept, or they are erased already.")
            return
        originals, traces = page.count(found.originals, "original"), page.count(found.traces, "trace")
        st.warning(f"{originals} of {traces} become unreadable, for everybody and for good.")
        reason = st.text_input(
            "Why", placeholder="Number of the request", key=f"forget_reason_{times}",
            help="It is written into the ledger: do not name the person.",
        )  # fmt: skip
        sure = st.checkbox("I know that this cannot be undone", key=f"forget_sure_{times}")
        if st.button(f"Erase {originals}", type="primary", disabled=not sure, key="forget_confirm"):
            try:
                done = visit.services.masking.forget_person(visit.actor, visit.project.id, person, reason=reason)
            except WorkbenchError as error:
                page.failure(error)
                return
            st.session_state[_TIMES] = times + 1
            st.toast(f"{page.count(done.originals, 'original')} of {page.count(done.traces, 'trace')} unreadable now.")
            st.rerun()
