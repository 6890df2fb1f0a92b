"""What a person sees when a page fails: our own errors in words, anything else with a reference for the log."""

import logging

import streamlit as st

from workbench.core.errors import NotSignedIn, WorkbenchError
from workbench.core.ids import new_id
from workbench.ui import page

log = logging.getLogger("workbench.pages")


def show_unexpected(error: Exception) -> bool:
    """Streamlit's handler for uncaught errors; returns True since the page has said what there is to say."""
    if isinstance(error, NotSignedIn):
        page.failure(error)
        st.link_button("Sign in", "/auth/sign-in")
    elif isinstance(error, WorkbenchError):
        page.failure(error)
    else:
        reference = new_id()[-12:]
        log.error("page error %s", reference, exc_info=error)
        st.error(
            f"**Something went wrong on our side.** Nothing you saved is lost.  \n"
            f"Reload the page; if it happens again, tell an admin the reference `{reference}`."
        )
    return True
