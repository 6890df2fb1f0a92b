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


def show(before: str, after: str) -> None:
    """Draw it: removed is struck through, added is underlined, so that colour is not needed to tell them apart."""
    tags = {"same": "span", "removed": "del", "added": "ins"}
    styles = {
        "same": "",
        "removed": "background:rgba(192,57,43,.2)",
        "added": "background:rgba(46,139,87,.22);text-underline-offset:3px",
    }
    body = "".join(
        f'<{tags[part.kind]} style="{styles[part.kind]}">{html.escape(part.text)}</{tags[part.kind]}>'
        for part in word_diff(before, after)
    )
    st.html(f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.55">{body}</div>')
