"""Two texts side by side, with the words that differ marked."""

import html
import re
from difflib import SequenceMatcher

import streamlit as st

_PIECE = re.compile(r"\s+|\w+|[^\w\s]")
_MARKS = {"removed": "background:rgba(189,75,75,.22);text-decoration:none", "added": "background:rgba(60,141,90,.24)"}


def side_by_side(before: str, after: str, *, before_title: str, after_title: str) -> None:
    """Both texts as plain text; what only the first says in red, what only the second says in green."""
    left, right = marked(before, after)
    st.html(
        '<div style="display:grid;grid-template-columns:1fr 1fr;gap:1rem">'
        f"{_column(before_title, left)}{_column(after_title, right)}</div>"
    )


def marked(before: str, after: str) -> tuple[str, str]:
    """Both texts as escaped HTML with their different words marked."""
    old, new = _PIECE.findall(before), _PIECE.findall(after)
    left: list[str] = []
    right: list[str] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        left.append(_piece("".join(old[a:b]), "del" if kind != "equal" else ""))
        right.append(_piece("".join(new[c:d]), "ins" if kind != "equal" else ""))
    return "".join(left), "".join(right)


def _piece(text: str, tag: str) -> str:
    safe = html.escape(text)
    if not tag or not text:
        return safe
    return (
        f'<{tag} style="{_MARKS["removed" if tag == "del" else "added"]};text-decoration:none;border-radius:3px">{safe}</{tag}>'
    )


def _column(title: str, body: str) -> str:
    return (
        f'<div><div style="opacity:.65;font-size:.9em;margin-bottom:.25rem">{html.escape(title)}</div>'
        '<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.55">'
        f"{body or '<i>nothing</i>'}</div></div>"
    )
