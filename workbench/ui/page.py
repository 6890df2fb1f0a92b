"""What every page shares: its head, its empty states, how an act succeeds or fails, and plain text."""

import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import streamlit as st

from workbench.core.clock import now
from workbench.core.errors import WorkbenchError

log = logging.getLogger(__name__)


def header(title: str, subtitle: str = "") -> None:
    """The page's name and, in one line, what it is for."""
    st.title(title, anchor=False)
    if subtitle:
        st.caption(subtitle)


def empty(title: str, next_step: str) -> None:
    """What a list without rows shows: what is missing and what to do next."""
    with st.container(border=True):
        st.markdown(f"**{escape_markdown(title)}**")
        st.caption(escape_markdown(next_step))


@contextmanager
def acting(done: str = "") -> Iterator[None]:
    """Around a command: say kindly what went wrong, or `done` in a toast.

    Errors that are not ours rise, so that the app's handler logs them.
    """
    try:
        yield
    except WorkbenchError as error:
        failure(error)
    else:
        if done:
            st.toast(done)


def failure(error: WorkbenchError) -> None:
    """Show an error: what happened, why, and what to do."""
    lines = [f"**{escape_markdown(error.what)}**"]
    lines += [escape_markdown(part) for part in (error.why, error.todo) if part]
    st.error("  \n".join(lines))


def plain(text: str, *, muted: bool = False, mono: bool = False) -> None:
    """Text from outside, shown as it is: wrapped, never as HTML or Markdown, never loading anything."""
    style = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.5;unicode-bidi:plaintext;"
    style += "opacity:.7;" if muted else ""
    style += "font-family:monospace;font-size:.92em;" if mono else ""
    st.html(f'<div dir="auto" style="{style}">{html.escape(text)}</div>')


def escape_markdown(text: str) -> str:
    """Outside text made safe inside a Markdown sentence: every special character is escaped, links and images too."""
    special = set("\\`*_{}[]()<>#+-!|:$~^")
    return "".join("\\" + c if c in special else c for c in text).replace("\n", " ")


def moment(value: datetime | None) -> str:
    """A time as people read it: `today 14:05`, `12 Mar 2026 09:30`, always UTC and saying so."""
    if value is None:
        return "never"
    value = value.astimezone(UTC)
    today = now().date()
    if value.date() == today:
        return f"today {value:%H:%M} UTC"
    if (today - value.date()).days == 1:
        return f"yesterday {value:%H:%M} UTC"
    return f"{value:%-d %b %Y %H:%M} UTC"


def ago(value: datetime | None) -> str:
    """How long ago: `12 s ago`, `3 min ago`, `5 h ago`, `8 days ago`."""
    if value is None:
        return "never"
    seconds = max(0, int((now() - value).total_seconds()))
    if seconds < 60:
        return f"{seconds} s ago"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 86400:
        return f"{seconds // 3600} h ago"
    return f"{seconds // 86400} days ago" if seconds >= 172_800 else "1 day ago"


def duration(seconds: float | None) -> str:
    """A length of time: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 trace`, `1,204 traces`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def short(content_hash: str | None, length: int = 12) -> str:
    """A hash as people read it."""
    return content_hash.removeprefix("sha256:")[:length] if content_hash else "none"


def facts(pairs: dict[str, str]) -> None:
    """A small two-column list of names and values, for receipts; values are plain text."""
    rows = "".join(
        f'<div style="opacity:.65;min-width:7rem;overflow-wrap:anywhere;unicode-bidi:isolate">{html.escape(name)}</div>'
        f'<div style="overflow-wrap:anywhere;white-space:pre-wrap;unicode-bidi:isolate">{html.escape(value)}</div>'
        for name, value in pairs.items()
    )
    st.html(
        '<div style="display:grid;grid-template-columns:fit-content(45%) minmax(0,1fr);gap:.3rem 1rem;line-height:1.45">'
        f"{rows}</div>"
    )


def big(text: str) -> None:
    """A number or a name that is the first thing to see in a card."""
    size = "1.5rem" if len(text) < 12 else "1.1rem"
    st.html(f'<div style="font-size:{size};font-weight:600;line-height:1.2;overflow-wrap:anywhere">{html.escape(text)}</div>')
