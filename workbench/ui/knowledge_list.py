"""The list of knowledge entries: search, filters, and one row an entry that opens it."""

from dataclasses import dataclass

import streamlit as st

from workbench.knowledge.content import KINDS
from workbench.knowledge.models import RiskTier
from workbench.knowledge.queries import EntryState, EntryStatus
from workbench.ui import page

PAGE_SIZE = 18
STATE_COLOURS = {"live": "green", "stale": "orange", "draft": "blue", "retired": "gray"}
_STATES = {"live": "live", "stale": "past review", "draft": "draft waiting", "retired": "retired"}


@dataclass(frozen=True)
class Wanted:
    """What the filters say."""

    text: str
    state: EntryState | None
    kind: str | None
    risk_tier: str | None
    language: str | None

    @property
    def is_empty(self) -> bool:
        return not self.text and not (self.state or self.kind or self.risk_tier or self.language)


def filters(entries: list[EntryStatus]) -> Wanted:
    """Search and filters; the choices are those that occur."""
    text = st.text_input(
        "Search", placeholder="words in title, text, key or tags", key="knowledge_search", label_visibility="collapsed"
    )
    kinds = sorted({e.current.kind for e in entries} | set(KINDS[:1]))
    languages = sorted({e.current.language for e in entries})
    columns = st.columns(4)
    state = columns[0].selectbox(
        "State", ["any", *EntryState], format_func=lambda s: s if s == "any" else _STATES[s], key="knowledge_state"
    )
    kind = columns[1].selectbox("Kind", ["any", *kinds], key="knowledge_kind")
    risk = columns[2].selectbox("Risk", ["any", *(tier.value for tier in RiskTier)], key="knowledge_risk")
    language = columns[3].selectbox("Language", ["any", *languages], key="knowledge_language")
    return Wanted(
        text=(text or "").strip(),
        state=None if state == "any" else EntryState(state),
        kind=None if kind == "any" else kind,
        risk_tier=None if risk == "any" else risk,
        language=None if language == "any" else language,
    )


def matching(entries: list[EntryStatus], wanted: Wanted) -> list[EntryStatus]:
    """The entries that the filters keep. A search looks in the same places as the query of the stage."""
    words = wanted.text.casefold().split()
    kept = []
    for entry in entries:
        current = entry.current
        everything = " ".join([current.key, current.title, current.text, *current.tags]).casefold()
        waiting = wanted.state is EntryState.DRAFT and entry.draft is not None
        if (
            (wanted.state is None or entry.state is wanted.state or waiting)
            and wanted.kind in (None, current.kind)
            and wanted.risk_tier in (None, current.risk_tier)
            and wanted.language in (None, current.language)
            and all(word in everything for word in words)
        ):
            kept.append(entry)
    return kept


def rows(entries: list[EntryStatus], opened: str | None) -> None:
    """One row an entry; choosing one puts its key into the address."""
    pages = -(-len(entries) // PAGE_SIZE)
    # A deep link opens the list where its entry is.
    position = next((index for index, entry in enumerate(entries) if entry.entry.key == opened), 0)
    first = position // PAGE_SIZE + 1
    number = min(int(st.session_state.get("knowledge_page") or first), max(pages, 1))
    with st.container(gap="xxsmall", key="knowledge_rows"):
        for entry in entries[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]:
            _row(entry, is_open=entry.entry.key == opened)
    if pages > 1:
        st.pagination(pages, default=first, key="knowledge_page")


def _row(entry: EntryStatus, *, is_open: bool) -> None:
    marked = f"**{page.escape_markdown(entry.current.title)}**" if is_open else page.escape_markdown(entry.current.title)
    with st.container(
        horizontal=True,
        gap="xsmall",
        vertical_alignment="center",
        horizontal_alignment="distribute",
        key=f"knowledge_row_{entry.entry.id}",
    ):
        st.button(
            marked,
            key=f"knowledge_open_{entry.entry.key}",
            type="tertiary",
            on_click=_open,
            args=(entry.entry.key,),
            help=entry.entry.key,
        )
        with st.container(horizontal=True, gap="xsmall", width="content"):
            badges(entry, quiet=True)


def badges(entry: EntryStatus, *, quiet: bool = False) -> None:
    """State, risk where it is high, and language, as small marks; `quiet` leaves out what is as usual."""
    if not (quiet and entry.state is EntryState.LIVE):
        st.badge(_STATES[entry.state], color=STATE_COLOURS[entry.state])  # type: ignore[arg-type]
    if entry.draft is not None and entry.live is not None:
        st.badge("draft waiting", color="blue")
    if entry.current.risk_tier == RiskTier.HIGH:
        st.badge("high risk", color="red")
    if entry.current.language != "en":
        st.badge(entry.current.language, color="gray")


def _open(key: str) -> None:
    st.query_params.clear()
    st.query_params["entry"] = key
