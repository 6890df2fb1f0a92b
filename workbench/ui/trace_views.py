"""Saved views of the list of traces: opening, saving, changing them, and beginning with one."""

from dataclasses import replace
from typing import Any

import streamlit as st

from workbench.core.errors import NotFound, WorkbenchError
from workbench.core.ids import new_id
from workbench.traces import saved_views
from workbench.traces.view_models import SavedView
from workbench.ui import page, trace_filters
from workbench.ui.guard import Visit
from workbench.ui.trace_filters import View

_COMMAND, _DONE = "traces_view_command", "traces_view_done"


def open_address(visit: Visit) -> None:
    """Put a view's filters into an address that only names it, or into an empty one what this person begins with."""
    if message := st.session_state.pop(_DONE, None):
        st.toast(message)
    asked = trace_filters.saved_id(st.query_params)
    if set(st.query_params) - ({"view"} if asked else set()):
        return
    with visit.read() as session:
        try:
            found = (
                saved_views.find_view(session, visit.project.id, visit.actor.id, asked)
                if asked
                else saved_views.default_view(session, visit.project.id, visit.actor.id)
            )
        except NotFound as error:
            page.failure(error)
            st.query_params.from_dict({"period": trace_filters.DEFAULT_PERIOD})
            return
    if found is not None:
        trace_filters.go(_view_of(found))


def menu(visit: Visit, view: View) -> None:
    """The views to choose from, and what can be done with the one that is open."""
    with visit.read() as session:
        views = saved_views.list_views(session, visit.project.id, visit.actor.id)
        first = saved_views.default_view(session, visit.project.id, visit.actor.id)
    opened = next((one for one in views if one.id == view.saved), None)
    changed = opened is not None and _kept(view) != _kept(_view_of(opened))
    label = page.escape_markdown(opened.name) + (" (changed)" if changed else "") if opened else "Views"
    with st.popover(label, key="traces_views", icon=":material/bookmark:"):
        if opened is not None:
            _opened(visit, view, opened, changed=changed, is_first=first is not None and first.id == opened.id)
        mine = [one for one in views if one.owner_id == visit.actor.id]
        _choices("Mine", mine, first)
        _choices("Shared", [one for one in views if one.owner_id != visit.actor.id], first)
        if not views:
            st.caption("Save filters and order under a name to come back to them, or to share them.")
        if st.button("Save as a new view", key="traces_view_new", icon=":material/add:"):
            st.session_state[_COMMAND] = new_id()
            _save_dialog(visit, view)


def _opened(visit: Visit, view: View, opened: SavedView, *, changed: bool, is_first: bool) -> None:
    who = "yours" if opened.owner_id == visit.actor.id else f"from {page.escape_markdown(opened.owner_name)}"
    st.caption(f"{who}, {'shared' if opened.shared else 'only for you'}, last changed {page.moment(opened.changed_at)}")
    if opened.description:
        page.plain(opened.description, muted=True)
    with st.container(horizontal=True):
        if changed:
            st.button("Reset", key="traces_view_reset", on_click=_open, args=(opened,))
        st.button(
            "Do not begin with it" if is_first else "Begin with it", key="traces_view_first", on_click=_begin,
            args=(visit, None if is_first else opened.id), help="What the list of traces shows you when you come to it.",
        )  # fmt: skip
        if saved_views.may_change(visit.actor, opened):
            if changed:
                st.button(
                    "Update", key="traces_view_update", type="primary", on_click=_update, args=(visit, opened.id, _kept(view))
                )
            if st.button("Rename, share", key="traces_view_edit"):
                _edit_dialog(visit, opened)
            if st.button("Delete", key="traces_view_delete"):
                _delete_dialog(visit, opened)


def _choices(title: str, views: list[SavedView], first: SavedView | None) -> None:
    if not views:
        return
    st.caption(title)
    for one in views:
        words = page.escape_markdown(one.name) + (" · begins here" if first is not None and one.id == first.id else "")
        st.button(words, key=f"traces_view_{one.id}", type="tertiary", on_click=_open, args=(one,), help=_help(one))


def _help(one: SavedView) -> str:
    return page.escape_markdown(one.description or f"From {one.owner_name}")


def _view_of(saved: SavedView) -> View:
    return replace(trace_filters.read(saved.query), saved=saved.id, after=None)


def _kept(view: View) -> dict[str, Any]:
    return saved_views.checked_query(trace_filters.write(replace(view, saved=None, after=None)))


def _open(saved: SavedView) -> None:
    trace_filters.go(_view_of(saved))


def _begin(visit: Visit, view_id: str | None) -> None:
    with page.acting("Your list begins with it." if view_id else "Your list begins without filters."):
        visit.services.saved_views.begin_with(visit.actor, visit.project.id, view_id)


def _update(visit: Visit, view_id: str, query: dict[str, Any]) -> None:
    with page.acting("Updated."):
        visit.services.saved_views.change(visit.actor, view_id, query=query)


@st.dialog("Save as a view")
def _save_dialog(visit: Visit, view: View) -> None:
    with st.form("traces_view_form", border=False):
        name = st.text_input("Name", max_chars=80, key="traces_view_name", placeholder="for example: FlexPay, low ratings")
        description = st.text_area("What it is for (optional)", max_chars=500, key="traces_view_description", height=80)
        shared = st.toggle("Share with the project", key="traces_view_shared")
        st.caption("Filters, period and order are kept. Periods such as the last 7 days move on with the calendar.")
        pressed = st.form_submit_button("Save", type="primary", key="traces_view_save")
    if pressed:
        try:
            view_id = visit.services.saved_views.save(
                visit.actor, visit.project.id, name, _kept(view), description=description, shared=shared,
                command_id=st.session_state.get(_COMMAND),
            )  # fmt: skip
        except WorkbenchError as error:
            page.failure(error)
            return
        trace_filters.go(replace(view, saved=view_id, after=None))
        _close("Saved.")


@st.dialog("Rename or share")
def _edit_dialog(visit: Visit, saved: SavedView) -> None:
    with st.form("traces_view_edit_form", border=False):
        name = st.text_input("Name", saved.name, max_chars=80, key=f"traces_view_name_{saved.id}")
        description = st.text_area("What it is for (optional)", saved.description, max_chars=500, height=80)
        shared = st.toggle("Share with the project", saved.shared)
        pressed = st.form_submit_button("Save", type="primary", key="traces_view_edit_save")
    if pressed:
        try:
            visit.services.saved_views.change(visit.actor, saved.id, name=name, description=description, shared=shared)
        except WorkbenchError as error:
            page.failure(error)
            return
        _close("Saved.")


@st.dialog("Delete this view?")
def _delete_dialog(visit: Visit, saved: SavedView) -> None:
    others = " Everybody in the project loses it." if saved.shared else ""
    st.markdown(f"**{page.escape_markdown(saved.name)}** will be gone; the traces stay.{others} This cannot be undone.")
    if st.button("Delete", type="primary", key="traces_view_delete_confirm"):
        try:
            visit.services.saved_views.delete(visit.actor, saved.id)
        except WorkbenchError as error:
            page.failure(error)
            return
        view = trace_filters.read(st.query_params)
        trace_filters.go(replace(view, saved=None))
        _close("Deleted.")


def _close(message: str) -> None:
    st.session_state[_DONE] = message
    st.rerun()
