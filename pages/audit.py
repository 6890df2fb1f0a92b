"""Audit: every act, with who, what, when and why, in a chain that anyone can verify."""

import streamlit as st

from workbench.core.errors import NotAllowed
from workbench.ui import audit_filters, audit_view, guard, page

visit = guard.visit()
page.header("Audit", "Every act, with who, what, when and why, in a chain that anyone can verify.")
queries = visit.services.audit.queries
try:
    choices = queries.choices(visit.actor)
except NotAllowed:
    page.empty("This page is for auditors, reviewers and admins.", "Ask an admin for the role of auditor.")
    st.stop()

chosen = audit_filters.read()
# The list stands still while one reads: newer events are announced above it, and shown when asked for.
top = chosen.before or st.session_state.setdefault("audit_top", queries.size() + 1)
events = queries.page(visit.actor, chosen.wanted, before=top, limit=audit_view.PAGE)
total = queries.count(visit.actor, chosen.wanted, before=top)

audit_view.chain(visit, None if chosen.before else top - 1)
audit_filters.show(visit, choices)
if not events and chosen.wanted.is_empty:
    page.empty("Nothing has happened yet.", "The first act, such as a sign-in or an edit, appears here within a second.")
elif not events:
    page.empty("No event matches these filters.", "Take one away, or clear them all.")
if chosen.event is None:
    if events:
        audit_view.acts(visit, events, total, chosen.before)
else:
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if events:
            audit_view.acts(visit, events, total, chosen.before)
    with right:
        audit_view.details(visit, chosen.event)
