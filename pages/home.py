"""Home: what waits for me, the loop with its live numbers, and how to bring one's own data."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.monitoring.overview import loop_numbers, waiting_for
from workbench.traces.facets import counts_by_day
from workbench.ui import guard, home_view, page, trace_clusters

visit = guard.visit()
with visit.read() as session:
    numbers = loop_numbers(session, visit.project.id)
    tasks = waiting_for(session, visit.project.id, visit.actor, numbers)
    days = counts_by_day(session, visit.project.id, days=60)

page.header(visit.project.name, visit.project.description)
home_view.preparations(visit)
left, right = st.columns([2, 3], gap="large")
with left:
    home_view.waiting(tasks)
    trace_clusters.on_home(visit)
with right:
    home_view.activity(days)
home_view.loop(numbers)
if visit.can(Permission.MANAGE_KEYS) or not numbers.has_traces:
    home_view.bring_your_own(visit)
