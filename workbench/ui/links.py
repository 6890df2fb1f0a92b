"""Links between pages, with what the other page should show."""

from pathlib import Path
from typing import Any

import streamlit as st

from workbench.core.settings import REPOSITORY


def page_file(name: str) -> Path:
    """The script of a page, for `st.page_link`."""
    return REPOSITORY / "pages" / f"{name}.py"


def to(name: str, label: str, *, icon: str = ":material/arrow_forward:", **query: str) -> None:
    """A link to a page by its address; nothing where this installation has no such page."""
    file = page_file(name)
    if file.exists():
        st.page_link(file, label=label, icon=icon, query_params=query or None)


def within(label: str, *, key: str, icon: str | None = None, **query: Any) -> None:
    """A way to another view of the same page: the address becomes these query parameters, a list standing for several."""
    st.button(label, key=key, icon=icon, type="tertiary", on_click=_address, args=(query,))


def _address(query: dict[str, Any]) -> None:
    st.query_params.from_dict(query)
