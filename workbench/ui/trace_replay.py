"""Replaying a trace: its question asked again, now, beside the logged answer."""

import html
from typing import Any

import streamlit as st

from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.knowledge.models import KnowledgeEntryVersion
from workbench.knowledge.queries import versions_by_id
from workbench.traces.models import Trace
from workbench.ui import diff, live_answers, page, trace_origin
from workbench.ui.guard import Visit
from workbench.ui.replay_run import Run
from workbench.ui.trace_list import milliseconds
from workbench.workflows.replay import MOST_ARMS, ReplayArm, Replayed, begin_replay, replay_arms

_OPEN, _RUN = "trace_replay_open", "trace_replay_run"
_MODES = {"generate": "machine-written", "evidence": "the cited sentence itself", "decline": "declined"}


def toggle(trace_id: str) -> None:
    """Open the panel for a trace, or close it."""
    leave() if st.session_state.get(_OPEN) == trace_id else st.session_state.update({_OPEN: trace_id})


def leave() -> None:
    """Close the panel and stop what runs."""
    st.session_state.pop(_OPEN, None)
    run: Run | None = st.session_state.pop(_RUN, None)
    if run is not None:
        run.cancelled = True


def show(visit: Visit, trace: Trace) -> None:
    """The panel, when it is open for this trace."""
    if st.session_state.get(_OPEN) != trace.trace_id:
        return
    with st.container(border=True, key="trace_replay"):
        try:
            with visit.read() as session:
                arms = {arm.key: arm for arm in replay_arms(visit.context, session, trace)}
        except WorkbenchError as error:
            page.failure(error)
            return
        if not arms:
            page.empty("Nothing can answer yet.", "Release something, or train an adapter; then a trace can be replayed.")
            return
        _ask(visit, trace, arms)
        run: Run | None = st.session_state.get(_RUN)
        if run is not None and run.trace_id == trace.trace_id:
            if run.ended:
                _ended(visit, run)
            else:
                _progress(run)


def _ask(visit: Visit, trace: Trace, arms: dict[str, ReplayArm]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            "Answer again, now, by",
            list(arms),
            default=[next(iter(arms))],
            format_func=lambda key: arms[key].name,
            max_selections=MOST_ARMS,
            key=f"trace_replay_arms_{trace.trace_id}",
            width=620,
        )
        go = st.button("Answer again", type="primary", key="trace_replay_go", disabled=not chosen)
        st.button("Close", key="trace_replay_close", on_click=leave)
    st.caption("It is asked with the conversation before it. The act is recorded; the answer is shown here and kept nowhere.")
    if go:
        former: Run | None = st.session_state.pop(_RUN, None)
        if former is not None:
            former.cancelled = True
        try:
            replay = begin_replay(
                visit.context, visit.actor, visit.project.id, trace.trace_id, list(chosen), command_id=new_id()
            )
            run = Run(replay)
            run.start(live_answers.answers(visit))
        except WorkbenchError as error:
            page.failure(error)
            return
        st.session_state[_RUN] = run


@st.fragment(run_every=1.0)
def _progress(run: Run) -> None:
    """How far it is; draws the whole page again when it has ended."""
    run.look()
    if run.ended:
        st.rerun()
    arm = run.replay.arms[min(len(run.done), len(run.replay.arms) - 1)]
    which = f" ({len(run.done) + 1} of {len(run.replay.arms)})" if len(run.replay.arms) > 1 else ""
    words = (
        f"the model has written about {page.count(run.pieces, 'word')}"
        if run.pieces
        else "looking up and waiting for the model"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        page.plain(f"{arm.name}{which}: {words}, {run.seconds:.0f} s. Leaving this trace stops it.", muted=True)
        if st.button("Stop", key="trace_replay_stop", icon=":material/stop_circle:"):
            run.cancelled = True


def _ended(visit: Visit, run: Run) -> None:
    for replayed in run.done:
        _result(visit, run.replay.trace, replayed)
    if run.error is not None:
        page.failure(run.error)
    elif run.cancelled:
        st.caption("It was stopped.")


def _result(visit: Visit, trace: Trace, now: Replayed) -> None:
    answer = now.answer
    same = " ".join(answer.text.split()) == " ".join(trace.output.split())
    with st.container(border=True, key=f"trace_replayed_{now.arm.key.replace(':', '_')[:40]}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{page.escape_markdown(now.arm.name)}**", width="content")
            st.badge("the same answer" if same else "another answer", color="gray" if same else "orange")
            st.badge(_MODES.get(answer.mode, answer.mode), color="violet" if answer.mode == "generate" else "gray")
        diff.side_by_side(
            trace.output or trace.error or "",
            answer.text,
            before_title=f"Logged {page.moment(trace.started_at)}",
            after_title=f"Now, by {now.arm.name}",
        )
        with visit.read() as session:
            before = {
                "commit": trace_origin.commit_words(session, trace).removeprefix("commit "),
                "prompt": trace_origin.prompt_words(session, trace),
            }
            versions = versions_by_id(session, trace.project_id, [str(one.get("version") or "") for one in trace.documents])
        _table(_facts(trace, now, before), ("", "Then", "Now"))
        passages = _passages(trace, now, versions)
        if passages:
            _table(passages, ("Retrieved", "Then", "Now"))
        else:
            st.caption("Nothing was retrieved then or now.")


def _facts(trace: Trace, now: Replayed, before: dict[str, str]) -> list[tuple[str, str, str]]:
    answer = now.answer
    rules_then = "; ".join(f"{one['rule']}: {one['done']}".rstrip(": ") for one in trace_origin.fired(trace))
    rules_now = "; ".join(f"{one.rule.replace('_', ' ')}: {trace_origin.done_words(one.action)}" for one in answer.guard)
    rows = [
        ("Team", trace.triage_label or "", f"{now.triage.label} ({now.triage.score:.0%})" if now.triage else "not asked"),
        ("Guard", rules_then or "nothing fired", rules_now or "nothing fired"),
        ("Corpus commit", before["commit"], str(answer.corpus_number or "")),
        ("Prompt version", before["prompt"], page.short(answer.prompt_version) if answer.prompt_version else "none used"),
        ("Tokens in, out", _pair(trace.input_tokens, trace.output_tokens), _pair(answer.input_tokens, answer.output_tokens)),
        ("Latency", milliseconds(trace.duration_ms), milliseconds(answer.timings.get("total"))),
    ]
    return [row for row in rows if row[1] or row[2]]


def _passages(trace: Trace, now: Replayed, versions: dict[str, KnowledgeEntryVersion]) -> list[tuple[str, str, str]]:
    """One row a document that was retrieved then or now."""
    rows: dict[str, list[str]] = {}
    cited_now = {citation.key for citation in now.answer.citations}
    for document in trace.documents[:50]:
        version = versions.get(str(document.get("version") or ""))
        key = version.key if version else str(document.get("id") or document.get("title") or "passage")[:200]
        words = f"version {version.number}" if version else "retrieved"
        rows.setdefault(key, ["", ""])[0] = words + (", cited" if document.get("cited") else "")
    for passage in now.answer.passages:
        words = f"version {passage.version.number}" + (", cited" if passage.version.key in cited_now else "")
        rows.setdefault(passage.version.key, ["", ""])[1] = words
    return [(key, then or "not retrieved", today or "not retrieved") for key, (then, today) in rows.items()]


def _pair(first: int | None, second: int | None) -> str:
    return "" if first is None and second is None else " · ".join("?" if n is None else f"{n:,}" for n in (first, second))


def _table(rows: list[tuple[str, str, str]], head: tuple[str, str, str]) -> None:
    """Names with two values; what differs stands out by weight."""

    def cell(value: Any, style: str = "") -> str:
        return f'<div dir="auto" style="overflow-wrap:anywhere;{style}">{html.escape(str(value))}</div>'

    cells = [cell(title, "opacity:.65;font-size:.9em") for title in head]
    for name, then, today in rows:
        cells += [cell(name, "opacity:.75"), cell(then), cell(today, "" if then == today else "font-weight:600")]
    st.html(
        '<div style="display:grid;grid-template-columns:minmax(7rem,max-content) 1fr 1fr;gap:.25rem 1rem;line-height:1.45;'
        f'margin-top:.6rem">{"".join(cells)}</div>'
    )
