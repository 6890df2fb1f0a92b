"""Carrying out a knowledge command from a button's callback, so that the page is drawn once, with what came of it."""

from collections.abc import Callable

import streamlit as st

from workbench.core.errors import WorkbenchError
from workbench.ui import page

_PROBLEM = "knowledge_problem"
_SAVED = "knowledge_saved"


def act(done: str, command: Callable[[], object]) -> None:
    """Run a command in a callback: a toast when it is done, else what went wrong, kept for `problem`."""
    st.session_state.pop(_SAVED, None)
    try:
        command()
    except WorkbenchError as error:
        st.session_state[_PROBLEM] = error
    else:
        st.toast(done)


def problem() -> None:
    """Show what went wrong in the last act, once."""
    error: WorkbenchError | None = st.session_state.pop(_PROBLEM, None)
    if error is not None:
        page.failure(error)


def typed(key: str) -> str:
    """What a text field holds, in a callback."""
    return str(st.session_state.get(key) or "").strip()
