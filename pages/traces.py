"""Traces: find a bad answer among what the application said, and read it like a conversation."""

import streamlit as st

from workbench.ui import guard, trace_acts, trace_browse, trace_detail

visit = guard.visit()
trace_acts.say_done()
opened = st.query_params.get("trace")
if opened:
    trace_detail.show(visit, opened)
else:
    trace_browse.show(visit)
