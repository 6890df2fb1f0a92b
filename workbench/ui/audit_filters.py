"""The audit page's filters. The address holds them, so that a link shows what its sender saw."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import streamlit as st

from workbench.audit.queries import Choices, EventFilter
from workbench.audit.sentences import act_words, kind_words
from workbench.core.clock import now
from workbench.ui.guard import Visit

PERIODS: dict[str, tuple[str, timedelta | None]] = {
    "": ("Any time", None),
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
    "quarter": ("Last 90 days", timedelta(days=90)),
}

NAMES = ("period", "person", "act", "kind", "subject", "project", "text")
PLACE = ("before", "event")
"""Where in the list one is; a changed filter starts at the newest again."""


@dataclass(frozen=True)
class Chosen:
    """What the address asks for."""

    wanted: EventFilter
    before: int | None
    """Show events below this seq; None: from the newest."""
    event: int | None
    """The event whose details are open."""


def read() -> Chosen:
    """The filters of the address. What it cannot mean is left out."""
    period = PERIODS.get(_parameter("period"), ("", None))[1]
    return Chosen(
        EventFilter(
            since=_since(period),
            actor_id=_parameter("person") or None,
            type=_parameter("act") or None,
            subject_kind=_parameter("kind") or None,
            subject_id=_parameter("subject") or None,
            project_id=_parameter("project") or None,
            text=_parameter("text"),
        ),
        before=_number("before"),
        event=_number("event"),
    )


def show(visit: Visit, choices: Choices) -> None:
    """Draw the filters; a change goes into the address and reruns the page."""
    acts = _acts(choices)
    projects = {project.id: project.name for project in visit.projects}
    row = st.columns([1.2, 1.4, 1.6, 1.3], vertical_alignment="bottom")
    with row[0]:
        _choice("period", "Period", {key: label for key, (label, _) in PERIODS.items()})
    with row[1]:
        _choice("person", "Person", {"": "Anyone", **choices.people})
    with row[2]:
        _choice("act", "Act", {"": "Any act", **acts})
    with row[3]:
        _choice("kind", "Kind of subject", {"": "Any kind", **{kind: kind_words(kind) for kind in choices.subject_kinds}})
    row = st.columns([1.6, 1.6, 1.2, 1.1], vertical_alignment="bottom")
    with row[0]:
        _text("text", "Words in the reason", "such as: stale rates")
    with row[1]:
        _text("subject", "Id of a subject", "such as a release or entry id")
    with row[2]:
        names = {key: projects.get(key, f"…{key[-8:]}") for key in choices.project_ids}
        _choice("project", "Project", {"": "All that I may see", **names})
    with row[3]:
        if any(_parameter(name) for name in NAMES):
            st.button("Clear filters", on_click=clear, key="audit_clear", width="stretch")


def only(**values: str) -> None:
    """Set the filters to exactly these; for buttons such as "everything about this subject"."""
    clear()
    for name, value in values.items():
        st.query_params[name] = value
        st.session_state[f"audit_{name}"] = value


def clear() -> None:
    """Take every filter away."""
    for name in NAMES:
        st.session_state.pop(f"audit_{name}", None)
        _put(name, "")
    _start_again()


def go(*, before: int | None) -> None:
    """Show the events below `before`, or the newest."""
    _put("before", "" if before is None else str(before))


def open_event(seq: int | None) -> None:
    """Open an event's details, or close them."""
    _put("event", "" if seq is None else str(seq))


def _choice(name: str, label: str, options: dict[str, str]) -> None:
    current = _parameter(name)
    if current and current not in options:
        # A link may name what does not occur here: say so rather than dropping it silently.
        options = {**options, current: f"{current} (no events)"}
    keys = list(options)
    key = f"audit_{name}"
    if st.session_state.get(key) not in keys:
        st.session_state[key] = current
    st.selectbox(label, keys, format_func=options.__getitem__, key=key, on_change=_changed, args=(name,))


def _text(name: str, label: str, placeholder: str) -> None:
    key = f"audit_{name}"
    if key not in st.session_state:
        st.session_state[key] = _parameter(name)
    st.text_input(label, key=key, placeholder=placeholder, on_change=_changed, args=(name,))


def _changed(name: str) -> None:
    _put(name, str(st.session_state[f"audit_{name}"]).strip())
    _start_again()


def _start_again() -> None:
    for name in PLACE:
        _put(name, "")


def _acts(choices: Choices) -> dict[str, str]:
    """Each stage followed by its own acts."""
    acts: dict[str, str] = {}
    for type_ in choices.types:
        stage = type_.split(".")[0]
        acts.setdefault(stage, f"{stage.replace('_', ' ').capitalize()}: any act")
        acts[type_] = act_words(type_)
    return acts


def _since(period: timedelta | None) -> datetime | None:
    return None if period is None else now() - period


def _parameter(name: str) -> str:
    return st.query_params.get(name, "").strip()


def _number(name: str) -> int | None:
    value = _parameter(name)
    return int(value) if value.isdecimal() and len(value) < 16 else None


def _put(name: str, value: str) -> None:
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]
