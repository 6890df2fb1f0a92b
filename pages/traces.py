"""Traces: find a bad answer among what the application said, and read it like a conversation."""

import streamlit as st

from workbench.ui import (
    guard,
    trace_browse,
    trace_clusters,
    trace_coverage,
    trace_detail,
    trace_import,
    trace_recent,
    trace_sessions,
    trace_users,
)

visit = guard.visit()
trace_recent.last(visit)
opened = st.query_params.get("trace")
view = st.query_params.get("view")
if opened:
    trace_detail.show(visit, opened)
elif view == trace_import.VIEW:
    trace_import.show(visit)
elif view == trace_coverage.VIEW:
    trace_coverage.show(visit)
elif view == trace_clusters.VIEW:
    trace_clusters.show(visit)
elif view == trace_sessions.VIEW:
    trace_sessions.show(visit)
elif view == trace_users.VIEW:
    trace_users.show(visit)
else:
    trace_browse.show(visit)
