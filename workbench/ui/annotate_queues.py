"""Around the annotation card: choosing and making queues, flagged items, agreement and adjudication."""

from typing import Any

import pandas as pd
import streamlit as st

from workbench.annotation.agreement import Disagreement, NotEnoughOverlap, agreement, disagreements
from workbench.annotation.models import Queue, QueueItem, Response
from workbench.annotation.queries import QueueOverview, adjudications, flagged, get_queue, submitted
from workbench.annotation.schema import Question, default_questions, read_questions
from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.identity.queries import names_of
from workbench.traces.models import Trace
from workbench.traces.queries import TraceFilter, trace_ids, traces_by_id
from workbench.ui import annotate_card, page
from workbench.ui.guard import Visit

_LINKED = "annotate_linked_item"


def choose_queue(visit: Visit, queues: list[QueueOverview]) -> Queue:
    """The queue to work on: that of the address or its item, else the first that has something for this person."""
    by_id = {each.queue.id: each for each in queues}
    if item_id := st.query_params.get("item"):
        with visit.read() as session:
            item = session.get(QueueItem, item_id)
        if item is not None and item.project_id == visit.project.id and st.session_state.get(_LINKED) != item_id:
            st.session_state[_LINKED] = item_id  # once: afterwards the person may choose another queue
            st.query_params["queue"] = item.queue_id
            st.session_state.pop("annotate_queue", None)
    waiting = next((each.queue.id for each in queues if each.for_me), queues[0].queue.id)
    named = st.query_params.get("queue")
    chosen = st.selectbox(
        "Queue",
        list(by_id),
        index=list(by_id).index(named if named in by_id else waiting),
        format_func=lambda key: f"{by_id[key].queue.name} ({by_id[key].for_me} for you)",
        key="annotate_queue",
        label_visibility="collapsed",
    )
    st.query_params["queue"] = chosen
    return by_id[chosen].queue


@st.fragment
def card(visit: Visit, queue: Queue, *, first_item: str | None) -> None:
    """The card as a fragment, so that an act reruns it alone."""
    try:
        annotate_card.show(visit, queue, first_item=first_item)
    except WorkbenchError as error:
        page.failure(error)


def show_queues(visit: Visit, queues: list[QueueOverview]) -> None:
    """Every queue with its progress; making one and filling it."""
    may_manage = visit.can(Permission.MANAGE_QUEUES)
    if may_manage and st.button("New queue", key="queue_new", type="primary"):
        _new_queue(visit)
    if not queues:
        page.empty("There is no queue yet.", "A queue asks a few questions about each of its traces.")
        return
    for each in queues:
        queue, progress = each.queue, each.progress
        with st.container(border=True, key=f"queue_box_{queue.id}"):
            left, right = st.columns([3, 1], vertical_alignment="top")
            with left:
                st.markdown(f"**{page.escape_markdown(queue.name)}**")
                if queue.description:
                    page.plain(queue.description, muted=True)
                flags = f", {progress.flagged} flagged" if progress.flagged else ""
                asked = f"{page.count(queue.min_submitted, 'response')} per item"
                st.caption(
                    f"{progress.done} of {progress.total} items done{flags}. {asked}. Made {page.moment(queue.created_at)}."
                )
                st.progress(progress.done / progress.total if progress.total else 0.0)
            with right:
                if each.for_me and visit.can(Permission.ANNOTATE):
                    st.link_button(f"Annotate {each.for_me}", f"/annotate?queue={queue.id}", key=f"queue_open_{queue.id}")
                if may_manage and st.button("Add traces", key=f"queue_fill_{queue.id}"):
                    _add_traces(visit, queue)
                if may_manage and st.button("Close queue", key=f"queue_close_{queue.id}", type="tertiary"):
                    _close_queue(visit, queue)
            with st.expander("Questions and guidelines"):
                _show_questions(read_questions(queue.questions))
                page.plain(queue.guidelines or "No guidelines were written.")


def _show_questions(questions: list[Question]) -> None:
    for question in questions:
        options = ", ".join(str(option.get("title") or option["value"]) for option in question.options)
        scale = f"{question.lowest} to {question.highest}" if question.kind == "rating" else options or "text"
        page.plain(f"{question.title} ({'required, ' if question.required else ''}{scale})", muted=True)


@st.dialog("New queue")
def _new_queue(visit: Visit) -> None:
    name = st.text_input("Name", key="queue_new_name", max_chars=120, placeholder="Low ratings, week 48")
    description = st.text_input("What is in it", key="queue_new_description")
    guidelines = st.text_area("Guidelines for annotators", key="queue_new_guidelines", height=160)
    left, right = st.columns(2)
    wanted = left.number_input(
        "Responses per item", 1, 10, 1, key="queue_new_min", help="Two or more let you measure agreement."
    )
    triage = bool(visit.project.teams) and right.checkbox("Ask for the team", value=True, key="queue_new_triage")
    consent = right.checkbox("Responses may be used for training", value=True, key="queue_new_consent")
    suggest = right.checkbox("Show suggestions", value=True, key="queue_new_suggest")
    if st.button("Make the queue", type="primary", key="queue_new_make"):
        questions = [q for q in default_questions(visit.project.teams) if triage or q.name != "triage"]
        try:
            queue = visit.services.annotation.create_queue(
                visit.actor,
                visit.project.id,
                name=name,
                description=description,
                guidelines=guidelines,
                questions=questions,
                min_submitted=int(wanted),
                consent_default=consent,
                show_suggestions=suggest,
                command_id=_command("queue_new"),
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        st.session_state.pop("command_queue_new", None)
        st.toast(f"The queue {queue.name} is there. Add traces to it.")
        st.rerun()


@st.dialog("Add traces")
def _add_traces(visit: Visit, queue: Queue) -> None:
    page.plain(f"Into {queue.name}. Traces that are in it already stay as they are.", muted=True)
    rated = st.segmented_control(
        "Customer's rating", ["any", "3 or lower", "2 or lower"], default="any", key=f"fill_rating_{queue.id}"
    )
    languages = st.multiselect("Languages", visit.project.languages, key=f"fill_language_{queue.id}")
    text = st.text_input("Containing the words", key=f"fill_text_{queue.id}")
    limit = st.number_input("At most", 1, 1000, 50, key=f"fill_limit_{queue.id}", help="The newest are taken first.")
    filters = TraceFilter(
        text=text, language=tuple(languages), rating_max={"3 or lower": 3.0, "2 or lower": 2.0}.get(rated or "any")
    )
    with visit.read() as session:
        found = trace_ids(session, visit.project.id, filters, limit=int(limit))
    st.caption(f"{page.count(len(found), 'trace')} found.")
    if st.button("Add them", type="primary", key=f"fill_add_{queue.id}", disabled=not found):
        try:
            added = visit.services.annotation.add_items(visit.actor, queue.id, found)
        except WorkbenchError as error:
            page.failure(error)
            return
        st.toast(f"{page.count(len(added), 'item')} added to {queue.name}.")
        st.rerun()


@st.dialog("Close the queue")
def _close_queue(visit: Visit, queue: Queue) -> None:
    page.plain(f"No more items of {queue.name} are handed out. What was answered stays, and counts for datasets.")
    st.caption("A closed queue cannot be opened again; make a new one for the traces that are left.")
    reason = st.text_input("Why", key=f"close_reason_{queue.id}")
    if st.button("Close it", type="primary", key=f"close_do_{queue.id}", disabled=not reason.strip()):
        try:
            visit.services.annotation.close_queue(visit.actor, queue.id, reason=reason)
        except WorkbenchError as error:
            page.failure(error)
            return
        st.rerun()


def show_flagged(visit: Visit) -> None:
    """Items that somebody set aside, and what to do with each."""
    with visit.read() as session:
        rows = flagged(session, visit.project.id)
        traces = traces_by_id(session, visit.project.id, [item.trace_id for item, _flag in rows])
        names = names_of(session, {flag.person_id for _item, flag in rows})
    if not rows:
        page.empty("Nothing is flagged.", "Annotators flag items that cannot be judged; they wait here for a decision.")
        return
    for item, flag in rows:
        _flagged_item(visit, item, flag, traces.get(item.trace_id), names.get(flag.person_id, "Somebody"))


def _flagged_item(visit: Visit, item: QueueItem, flag: Response, trace: Trace | None, who: str) -> None:
    with st.container(border=True, key=f"flag_box_{item.id}"):
        page.plain(f"{who}: {flag.reason}")
        if trace is not None:
            page.plain(f"{trace.input}\n{trace.output}", muted=True)
            st.link_button("Open the trace", f"/traces?trace={trace.trace_id}", type="tertiary")
        reason = st.text_input("Your decision in a sentence", key=f"flag_reason_{item.id}")
        with st.container(horizontal=True):
            back = st.button("Back into the queue", key=f"flag_back_{item.id}")
            close = st.button("Close the item", key=f"flag_close_{item.id}")
        if back or close:
            try:
                visit.services.annotation.resolve_flag(visit.actor, item.id, reopen=back, reason=reason)
            except WorkbenchError as error:
                page.failure(error)
                return
            st.toast("Back in the queue." if back else "Closed.")
            st.rerun()


def show_agreement(visit: Visit, queues: list[QueueOverview]) -> None:
    """How far people agree, and the items on which they do not."""
    if not queues:
        page.empty("There is no queue yet.", "Agreement is measured on items that two people answered.")
        return
    names = {each.queue.id: each.queue.name for each in queues}
    chosen = st.selectbox("Queue", list(names), format_func=names.__getitem__, key="agreement_queue")
    with visit.read() as session:
        queue = get_queue(session, visit.project.id, chosen)
        responses = submitted(session, visit.project.id, queue_ids=[chosen])
    rows, enough = [], True
    for question in read_questions(queue.questions):
        if question.kind not in ("rating", "label"):
            continue
        try:
            found = agreement(responses, question.name, "ordinal" if question.kind == "rating" else "nominal")
        except NotEnoughOverlap as error:
            page.empty("Agreement cannot be measured yet.", str(error))
            enough = False
            break
        rows.append(
            {
                "Question": question.title,
                "Krippendorff's alpha": f"{found.alpha:.2f}",
                "95% interval": f"{found.low:.2f} to {found.high:.2f}",
                "Items with two answers": found.items,
                "People": found.people,
                "Reading": "good" if found.alpha >= 0.8 else "tentative" if found.alpha >= 0.667 else "too low to rely on",
            }
        )
    if enough:
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="agreement_table")
        st.caption("Alpha is 1 for full agreement and 0 for chance; .800 is good, .667 tentative (Krippendorff).")
    _disagreements(visit, queue, responses)


def _disagreements(visit: Visit, queue: Queue, responses: list[Any]) -> None:
    labels = [question for question in read_questions(queue.questions) if question.kind == "label"]
    for question in labels:
        with visit.read() as session:
            decided = adjudications(session, visit.project.id, question.name)
            open_items = [each for each in disagreements(responses, question.name) if each.trace_id not in decided]
            traces = traces_by_id(session, visit.project.id, [each.trace_id for each in open_items])
            names = names_of(session, {person for each in open_items for person in each.answers})
        st.subheader(f"Disagreements on “{question.title}” ({len(open_items)})", anchor=False)
        if not open_items:
            st.caption("None are open.")
        for each in open_items:
            _decide(visit, question, each, traces.get(each.trace_id), names)


def _decide(visit: Visit, question: Question, each: Disagreement, trace: Trace | None, names: dict[str, str]) -> None:
    titles = {option["value"]: str(option.get("title") or option["value"]) for option in question.options}
    with st.container(border=True, key=f"decide_box_{each.item_id}"):
        if trace is not None:
            page.plain(trace.input)
        said = "; ".join(
            f"{names.get(person, 'Somebody')}: {titles.get(value, value)}" for person, value in each.answers.items()
        )
        page.plain(said, muted=True)
        if not visit.can(Permission.ADJUDICATE):
            return
        left, right, end = st.columns([1, 2, 1], vertical_alignment="bottom")
        value = left.selectbox(
            "Decision", list(titles), format_func=titles.__getitem__, key=f"decide_value_{each.item_id}", index=None
        )
        reason = right.text_input("Because", key=f"decide_reason_{each.item_id}")
        if end.button("Decide", key=f"decide_do_{each.item_id}", disabled=value is None):
            try:
                visit.services.annotation.adjudicate(
                    visit.actor, each.item_id, question=question.name, value=value, reason=reason
                )
            except WorkbenchError as error:
                page.failure(error)
                return
            st.toast("Decided.")
            st.rerun()


def _command(name: str) -> str:
    """One id for one filled-in form, so that a double click makes one thing."""
    return str(st.session_state.setdefault(f"command_{name}", new_id()))
