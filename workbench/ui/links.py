"""Links between pages, with what the other page should show."""

import streamlit as st

from workbench.core.settings import REPOSITORY


def to(name: str, label: str, *, icon: str = ":material/arrow_forward:", **query: str) -> None:
    """A link to a page by its address; nothing where this installation has no such page."""
    file = REPOSITORY / "pages" / f"{name}.py"
    if file.exists():
        st.page_link(file, label=label, icon=icon, query_params=query or None)
