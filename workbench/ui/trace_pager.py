"""First, previous and next page of a list whose pages follow from each other."""

from collections.abc import Callable

import streamlit as st

Go = Callable[[str | None], None]
"""Put a page into the address: the word after which it begins, None for the first."""


def show(name: str, after: str | None, following: str | None, go: Go) -> None:
    """The buttons; none where there is one page.

    Args:
        name: the list's, of which keys are made.
        after: where the page that is shown begins.
        following: where the next one begins, if there is one.
    """
    way = _way(name)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right"):
        if after is not None:
            st.button("First page", key=f"{name}_first", type="tertiary", on_click=_turn, args=(name, None, None, go))
            if way:
                st.button(
                    "Previous", key=f"{name}_previous", icon=":material/chevron_left:", on_click=_turn,
                    args=(name, way[:-1], way[-1], go),
                )  # fmt: skip
        if following is not None:
            st.button(
                "Next", key=f"{name}_next", icon=":material/chevron_right:", icon_position="right", on_click=_turn,
                args=(name, [*way, after], following, go),
            )  # fmt: skip


def numbered(name: str, number: int, pages: int, words: str, go: Callable[[int], None]) -> None:
    """The same for a list whose pages are counted, with what is shown in words between them."""
    if pages <= 1:
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", key=f"{name}_pages"):
        for label, icon, target in (("First", "first_page", 1), ("Previous", "chevron_left", number - 1)):
            st.button(
                label, key=f"{name}_{label.lower()}", icon=f":material/{icon}:", type="tertiary", disabled=number == 1,
                on_click=go, args=(target,),
            )  # fmt: skip
        st.caption(words, width="content")
        for label, icon, target in (("Next", "chevron_right", number + 1), ("Last", "last_page", pages)):
            st.button(
                label, key=f"{name}_{label.lower()}", icon=f":material/{icon}:", icon_position="right", type="tertiary",
                disabled=number == pages, on_click=go, args=(target,),
            )  # fmt: skip


def number_in(text: str | None, pages: int) -> int:
    """The page that an address names, of so many; what makes no sense is the first."""
    number = int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 1
    return max(1, min(number, pages))


def begin(name: str) -> None:
    """Forget the way: the list begins anew."""
    st.session_state.pop(f"{name}_way", None)


def _way(name: str) -> list[str | None]:
    """Where the pages before this one begin, as far as they were turned."""
    found: list[str | None] = st.session_state.setdefault(f"{name}_way", [])
    return found


def _turn(name: str, way: list[str | None] | None, after: str | None, go: Go) -> None:
    st.session_state[f"{name}_way"] = way or []
    go(after)
