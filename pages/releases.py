"""Releases: what is live, what waits for a decision, and taking it back."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import NotFound
from workbench.releases import queries
from workbench.releases.models import Release, ReleaseState
from workbench.ui import guard, page, release_detail, release_history, release_live, release_parts, release_propose

visit = guard.visit()
page.header("Releases", "Nothing goes live that a named person did not approve on evidence; anything live can be taken back.")

linked = st.query_params.get("release")
live = release_live.show(visit, briefly=bool(linked))
live_id = live.release.id if live else None


def waiting(proposed: list[Release], ready: list[Release]) -> None:
    """What needs a decision or a promotion, one card each."""
    if not proposed and not ready:
        page.empty("Nothing waits for a decision.", "An engineer proposes a release from a comparison on the Compare page.")
    for release in [*ready, *proposed]:
        with st.container(border=True):
            left, right = st.columns([5, 1], vertical_alignment="center")
            with left:
                with st.container(horizontal=True, vertical_alignment="center"):
                    release_parts.badge(release, live_id)
                    page.big(release.title)
                verdicts = ", ".join(item["verdict"] for item in release.manifest["evidence"]) or "no comparison"
                slots = ", ".join(str(slot).replace("_", " ") for slot in release.manifest["changed"])
                page.plain(f"Changes {slots}. Evidence: {verdicts}. Proposed by {release.proposed_by_name}: “{release.reason}”")
            with right:
                label = "Promote" if release in ready else "Look at it"
                if st.button(label, key=f"releases_open_{release.id}", type="primary", width="stretch"):
                    release_parts.open_release(release.id)


with visit.read() as session:
    every = queries.releases(session, visit.project.id)
    ready = queries.ready_to_promote(session, visit.context.settings, visit.project.id)
proposed = [release for release in every if release.status is ReleaseState.PROPOSED]

if linked:
    if st.button("All releases", icon=":material/arrow_back:", key="releases_back"):
        release_parts.open_release(None)
    chosen = next((release for release in every if linked in (release.id, release.manifest_hash, str(release.number))), None)
    if chosen is None:
        page.failure(NotFound("There is no such release in this project.", todo="Choose one from the list."))
    else:
        release_detail.show(visit, chosen, live)
else:
    may_propose = visit.can(Permission.PROPOSE_RELEASE)
    names = [f"Waiting {len(proposed) + len(ready)}", *(["Propose"] if may_propose else []), "All releases", "History"]
    start = "Propose" if may_propose and st.query_params.get("comparison") else names[0]
    tabs = dict(zip(names, st.tabs(names, default=start, key="releases_tabs", on_change="rerun"), strict=True))
    if tabs[names[0]].open:
        with tabs[names[0]]:
            waiting(proposed, ready)
    if may_propose and tabs["Propose"].open:
        with tabs["Propose"]:
            release_propose.show(visit, live)
    if tabs["All releases"].open:
        with tabs["All releases"]:
            release_history.table(visit, every, live_id)
    if tabs["History"].open:
        with tabs["History"]:
            release_history.timeline(visit)
