"""Annotate: one item at a time, by keyboard; and the queues behind it."""

import streamlit as st

from workbench.annotation.queries import overview
from workbench.core.actors import Permission
from workbench.ui import annotate_queues, guard, page

visit = guard.visit()
page.header("Annotate", "Judge and rewrite answers, one at a time. Every key is on the card; press ? for all of them.")

with visit.read() as session:
    queues = overview(session, visit.project.id, visit.actor.id)

may_annotate = visit.can(Permission.ANNOTATE)
may_manage = visit.can(Permission.MANAGE_QUEUES)
may_decide = visit.can(Permission.ADJUDICATE) or may_manage
sections = [
    name
    for name, offered in (("Items", may_annotate), ("Queues", True), ("Flagged", may_manage), ("Agreement", may_decide))
    if offered
]
section: str | None = sections[0]
head = st.container(horizontal=True, vertical_alignment="center")
with head:
    if len(sections) > 1:
        section = st.segmented_control("View", sections, default=sections[0], key="annotate_view", label_visibility="collapsed")
    chosen = annotate_queues.choose_queue(visit, queues) if queues and section in ("Items", None) and may_annotate else None

if section == "Queues":
    annotate_queues.show_queues(visit, queues)
elif section == "Flagged":
    annotate_queues.show_flagged(visit)
elif section == "Agreement":
    annotate_queues.show_agreement(visit, queues)
elif chosen is not None:
    annotate_queues.card(visit, chosen, first_item=st.query_params.get("item"))
else:
    page.empty(
        "There is no queue yet.",
        "Make one under Queues, then send traces to it from the Traces page."
        if may_manage
        else "An engineer or admin makes queues and sends traces to them.",
    )
