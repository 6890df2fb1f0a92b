"""Word by word: what was taken out of a text and what was put in."""

import html
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import streamlit as st

_TOKENS = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class Segment:
    """A stretch of text that is the same in both, only in the older one, or only in the newer one."""

    kind: Literal["same", "removed", "added"]
    text: str


def word_diff(before: str, after: str) -> list[Segment]:
    """The two texts as one row of segments. Same and removed spell `before`; same and added spell `after`."""
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    segments: list[Segment] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            segments.append(Segment("same", "".join(old[a:b])))
            continue
        if b > a:
            segments.append(Segment("removed", "".join(old[a:b])))
        if d > c:
            segments.append(Segment("added", "".join(new[c:d])))
    return segments


_STYLES = {
    "same": "",
    "removed": "background:rgba(192,57,43,.2)",
    "added": "background:rgba(46,139,87,.22);text-underline-offset:3px",
}
_TAGS = {"same": "span", "removed": "del", "added": "ins"}


def show(before: str, after: str) -> None:
    """Draw it: removed is struck through, added is underlined, so that colour is not needed to tell them apart."""
    body = "".join(_marked(part) for part in word_diff(before, after))
    st.html(f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.55">{body}</div>')


def side_by_side(before: str, after: str, *, before_title: str, after_title: str) -> None:
    """Both texts as plain text beside each other, each with the words marked that only it has."""
    parts = word_diff(before, after)
    left = "".join(_marked(part) for part in parts if part.kind != "added")
    right = "".join(_marked(part) for part in parts if part.kind != "removed")
    st.html(
        '<div style="display:grid;grid-template-columns:1fr 1fr;gap:1rem">'
        f"{_column(before_title, left)}{_column(after_title, right)}</div>"
    )


def _marked(part: Segment) -> str:
    return f'<{_TAGS[part.kind]} style="{_STYLES[part.kind]}">{html.escape(part.text)}</{_TAGS[part.kind]}>'


def _column(title: str, body: str) -> str:
    return (
        f'<div><div style="opacity:.65;font-size:.9em;margin-bottom:.25rem">{html.escape(title)}</div>'
        f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.55">{body or "<i>nothing</i>"}</div></div>'
    )
