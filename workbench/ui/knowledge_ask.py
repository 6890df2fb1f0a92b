"""Ask it: what is retrieved for a question right now, with scores, and what would be answered."""

from dataclasses import replace

import streamlit as st

from workbench.core.errors import Unavailable, WorkbenchError
from workbench.releases.verify import live
from workbench.serving.configuration import ServingConfiguration
from workbench.serving.result import Answer
from workbench.serving.retrieve import Retrieved
from workbench.ui import live_answers, page
from workbench.ui.guard import Visit

_SHOWN = 6


def show(visit: Visit) -> None:
    """A question, its evidence with scores, the answer by evidence, and the answer by the model when there is one."""
    with st.form("knowledge_ask_form", border=False):
        question = st.text_input("Question", key="knowledge_question", placeholder="as a customer would ask it", max_chars=1000)
        asked = st.form_submit_button("Ask", type="primary", key="knowledge_ask")
    if asked:
        st.session_state["knowledge_asked"] = (question or "").strip()
    text = st.session_state.get("knowledge_asked", "")
    if not text:
        st.caption("You see which entries are found at this moment, how near they are, and what would be answered.")
        return
    configuration, release = _configuration(visit)
    evidence = replace(configuration, routing=replace(configuration.routing, mode="evidence"))
    try:
        with st.spinner("Looking it up"):
            found, commit = live_answers.answers(visit).retrieve(evidence, text)
            answer = live_answers.answers(visit).answer(evidence, text)
    except WorkbenchError as error:
        page.failure(error)
        return
    st.caption(
        (f"From corpus commit {commit.number}, as of this moment. " if commit else "Nothing is live yet. ")
        + (page.escape_markdown(f"Settings of {release}.") if release else "Default settings: nothing is released yet.")
    )
    _answer("By evidence: the span itself", answer)
    _found(found, configuration)
    if release is None:
        st.caption("The answer in the model's words can be seen here once a release is live.")
    elif configuration.routing.mode == "generate" and st.button("Answer with the model too", key="knowledge_ask_model"):
        try:
            with st.spinner("The model writes; on two cores that takes some seconds"):
                _answer("By the live release, guarded", live_answers.answers(visit).answer(configuration, text))
        except WorkbenchError as error:
            page.failure(error)


def _configuration(visit: Visit) -> tuple[ServingConfiguration, str | None]:
    """The live release's settings, or defaults that can only look up."""
    try:
        found = live(visit.context, visit.project.id)
    except Unavailable:
        return ServingConfiguration(project_id=visit.project.id, base_model="", prompt_version=""), None
    return found.configuration, found.release.title


def _answer(title: str, answer: Answer) -> None:
    with st.container(border=True):
        page.plain(title, muted=True)
        page.plain(answer.text)
        cited = ", ".join(f"{c.key} ({c.title})" for c in answer.citations) or "nothing cited"
        took = f"{answer.timings.get('total', 0):.0f} ms"
        page.plain(f"Cites {cited}. {took}." if answer.citations else f"No citation. {took}.", muted=True)
        for fired in answer.guard:
            page.plain(f"Guard: {fired.rule.replace('_', ' ')}, {fired.action}. {fired.detail}", muted=True)


def _found(found: list[Retrieved], configuration: ServingConfiguration) -> None:
    if not found:
        page.empty("Nothing was found.", "Add an entry that answers it.")
        return
    st.markdown("**Found**")
    used = configuration.routing.passages
    st.caption(
        f"Evidence from a nearness of {configuration.routing.minimum_score:.2f} or when it has most of the question's words; "
        f"the best {used} are used."
    )
    for rank, one in enumerate(found[:_SHOWN]):
        with st.container(border=True, key=f"knowledge_hit_{rank}"):
            mark = "used" if one.is_evidence and rank < used else "evidence, not used" if one.is_evidence else "too far"
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(mark, color="green" if mark == "used" else "gray")
                page.plain(f"nearness {one.score:.2f}, words {one.coverage:.0%}", muted=True)
            page.plain(f"{one.version.title} ({one.version.key}, version {one.version.number})")
            page.plain(one.version.text, muted=True)
