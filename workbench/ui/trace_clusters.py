"""What low-rated traces are about: groups with a name, a count, a trend and examples."""

from typing import Literal

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.clock import now
from workbench.core.ids import new_id
from workbench.traces import clusters
from workbench.traces.cluster_models import TraceCluster
from workbench.traces.clusters import Clusters
from workbench.traces.models import Trace
from workbench.traces.queries import traces_by_id
from workbench.ui import links, page
from workbench.ui.guard import Visit

VIEW = "clusters"
_ON_HOME = 3
_COLOURS: dict[str, Literal["orange", "green", "gray"]] = {
    "growing": "orange", "new": "orange", "shrinking": "green", "steady": "gray",
}  # fmt: skip
_PATIENCE_SECONDS = 60


def show(visit: Visit) -> None:
    """The page of groups."""
    page.header("What low ratings are about", "Answers rated 2 or lower, or corrected, grouped by what was asked.")
    with visit.read() as session:
        found = clusters.latest(session, visit.project.id)
        waiting = clusters.waiting(session, visit.project.id)
        examples = traces_by_id(
            session, visit.project.id, [one for cluster in found.clusters for one in cluster.examples] if found else []
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        links.within("All traces", key="traces_clusters_back", icon=":material/arrow_back:")
        if visit.can(Permission.TAG_TRACES) and waiting is None:
            st.button("Group again", key="traces_clusters_ask", icon=":material/refresh:", on_click=_ask, args=(visit,))
    if waiting is not None:
        _wait(visit, waiting.id)
    if found is None:
        if waiting is None:
            page.empty("Nothing is grouped yet.", "The runtime groups low-rated traces every hour while it runs.")
        return
    _about(found)
    if found.run.failure:
        st.warning(page.escape_markdown(f"The last grouping failed: {found.run.failure}"))
    elif not found.clusters:
        page.empty(
            "No group stands out.",
            "At least three low-rated questions about one thing make a group. Few or varied ones make none.",
        )
    for cluster in found.clusters:
        _card(cluster, examples)


def on_home(visit: Visit) -> None:
    """The first few groups, for those who mend what they are about."""
    if not (visit.can(Permission.EDIT_KNOWLEDGE) or visit.can(Permission.MANAGE_QUEUES)):
        return
    with visit.read() as session:
        found = clusters.latest(session, visit.project.id)
    if found is None or found.run.failure or not found.clusters:
        return
    st.subheader("What low ratings are about", anchor=False)
    for number, cluster in enumerate(found.clusters[:_ON_HOME]):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"home_cluster_{number}"):
            with st.container():
                page.plain(f"{cluster.count:,} about {title(cluster)}, {trend(cluster)}")
                page.plain(
                    f"in the last {found.run.days} days; {cluster.before:,} in the {found.run.days} days before", muted=True
                )
            links.to("traces", "Read them", cluster=cluster.id, period="all")
    st.caption(f"Grouped {page.ago(found.run.made_at)}.")


def title(cluster: TraceCluster) -> str:
    """The group's name."""
    return ", ".join(cluster.terms) or "one thing without a word of its own"


def trend(cluster: TraceCluster) -> str:
    """How it moves against the period before."""
    if not cluster.before:
        return "new"
    return "growing" if clusters.grows(cluster) else "shrinking" if clusters.shrinks(cluster) else "steady"


def _about(found: Clusters) -> None:
    run = found.run
    more = f", and {run.left_out:,} more were left out" if run.left_out else ""
    st.caption(
        f"Grouped {page.moment(run.made_at)} ({page.ago(run.made_at)}): {page.count(run.traces, 'low-rated trace')} of the "
        f"last {run.days} days{more}, compared with the {run.days} days before. Names are the questions' own words."
    )


def _card(cluster: TraceCluster, examples: dict[str, Trace]) -> None:
    with st.container(border=True, key=f"traces_cluster_{cluster.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{cluster.count:,} about {page.escape_markdown(title(cluster))}**", width="content")
            st.badge(trend(cluster), color=_COLOURS[trend(cluster)])
            st.caption(f"{cluster.before:,} in the period before", width="content")
            links.within(
                "Show them in the list", key=f"traces_cluster_open_{cluster.id}", icon=":material/arrow_forward:",
                cluster=cluster.id, period="all",
            )  # fmt: skip
        for one in cluster.examples[:3]:
            if one in examples:
                page.plain(examples[one].input_preview or "(no question)", muted=True)


def _ask(visit: Visit) -> None:
    with page.acting():
        visit.services.clusters.ask(visit.actor, visit.project.id, command_id=new_id())


@st.fragment(run_every=2.0)
def _wait(visit: Visit, run_id: str) -> None:
    with visit.read() as session:
        waiting = clusters.waiting(session, visit.project.id)
    if waiting is None or waiting.id != run_id:
        st.rerun()
    if (now() - waiting.asked_at).total_seconds() > _PATIENCE_SECONDS:
        st.info("Waiting for the runtime, which has the embedding model. The admin page shows whether it runs.")
    else:
        st.caption("Being grouped; the page shows it when it is done.")
