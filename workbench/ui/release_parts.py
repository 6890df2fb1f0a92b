"""Small parts that the release page uses in several places: components, changes, evidence, people."""

import html
from collections.abc import Iterable

import pandas as pd
import streamlit as st

from workbench.evaluation.gate import signed
from workbench.knowledge.models import CorpusCommit
from workbench.releases.changes import Behind, Changes, Component, CorpusDelta, SlotChange
from workbench.releases.manifest import SLOT_NAMES, Slot
from workbench.releases.models import Release, ReleaseState
from workbench.releases.queries import Proof, lost_cases
from workbench.ui import charts, links, page, verdict_view
from workbench.ui.guard import Visit

STATE_COLOURS = {
    ReleaseState.PROPOSED: "orange",
    ReleaseState.APPROVED: "green",
    ReleaseState.REJECTED: "red",
    ReleaseState.WITHDRAWN: "gray",
}
_GRID = "display:grid;gap:.35rem 1.2rem;line-height:1.45;"
_CELL = "overflow-wrap:anywhere;"
_MUTED = "opacity:.65;"
_MOST_LOST = 8


def open_release(release_id: str | None) -> None:
    """Show a release by its address, or with None the list again."""
    st.query_params.clear()
    if release_id is not None:
        st.query_params["release"] = release_id
    st.rerun(scope="app")


def badge(release: Release, live_id: str | None) -> None:
    """The state of a release; live comes before approved."""
    if release.id == live_id:
        st.badge("live", color="green")
    else:
        st.badge(release.state, color=STATE_COLOURS[release.status])  # type: ignore[arg-type]


def components(found: dict[Slot, Component]) -> None:
    """Every slot with what fills it."""
    rows = "".join(
        _cell(SLOT_NAMES[slot].capitalize(), muted=True)
        + _cell(component.name, detail=component.detail)
        + _cell(page.short(component.content_hash) if component.content_hash else "", mono=True)
        for slot, component in found.items()
    )
    st.html(f'<div style="{_GRID}grid-template-columns:max-content 1fr max-content">{rows}</div>')


def slot_changes(changes: Iterable[SlotChange]) -> None:
    """Slot by slot: before and after, with the hashes."""
    head = "".join(_cell(name, muted=True) for name in ("", "Now", "Then"))
    rows = "".join(
        _cell(change.title, muted=True)
        + (_component(change.before) if change.before else _cell("nothing", muted=True))
        + _component(change.after, strong=True)
        for change in changes
    )
    st.html(f'<div style="{_GRID}grid-template-columns:max-content 1fr 1fr">{head}{rows}</div>')


def changes_in_words(changes: Changes) -> None:
    """What an approver has to know: the slots, the knowledge since, the people behind."""
    changed = changes.changed
    if changes.parent is None:
        st.caption("This is the first release: nothing is live that it could be compared with.")
    elif not changed:
        st.caption("No component changes; who may publish knowledge does.")
    else:
        st.caption(page.escape_markdown(f"Against {changes.parent.title}, which was live when this was proposed."))
    if changed:
        slot_changes(changed)
    unchanged = [change for change in changes.slots if not change.changed]
    if unchanged:
        with st.expander(f"{page.count(len(unchanged), 'slot')} stay as they are"):
            components({change.slot: change.after for change in unchanged})
    _corpus(changes.corpus)


def evidence(visit: Visit, proofs: list[Proof]) -> None:
    """Each comparison with its verdict, interval, and the cases that were lost."""
    for proof in proofs:
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(proof.verdict, color=verdict_view.COLOURS.get(proof.verdict, "gray"))  # type: ignore[arg-type]
                st.markdown(f"**{page.escape_markdown(proof.headline or 'The comparison is gone.')}**")
            if not proof.intact:
                st.error("This comparison no longer says what it said when the release was proposed. It cannot be approved.")
            if not proof.recorded["against_live"]:
                st.caption("Its incumbent was not what was live, so it proves no slot.")
            _figures(visit, proof)


def people(behind: list[Behind]) -> None:
    """Whose answers the adapters learned from."""
    for item in behind:
        dataset = f"{item.dataset.name} v{item.dataset.number}" if item.dataset else "a dataset that is gone"
        names = ", ".join(f"{name} ({count})" for name, count in item.people.items()) or "nobody on record"
        spoken = ", ".join(f"{name} {count}" for name, count in item.languages.items())
        facts = {
            item.adapter.title: f"{page.count(item.rows, 'example')} in {dataset}, {page.short(item.adapter.dataset_hash)}",
            "Answered by": names,
            "Languages": spoken or "unknown",
        }
        if item.without_consent:
            facts["Without consent"] = page.count(item.without_consent, "example")
        if item.erased:
            facts["Erased since"] = page.count(item.erased, "example")
        page.facts(facts)


def _figures(visit: Visit, proof: Proof) -> None:
    comparison, found = proof.comparison, proof.difference
    if comparison is None or not {"value", "low", "high"} <= found.keys():
        return
    with visit.read() as session:
        lost = lost_cases(session, comparison)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        page.facts(
            {
                "Difference": f"{signed(found['value'])} points",
                "95% interval": f"{signed(found['low'])} to {signed(found['high'])} points",
                "Cases": f"{found.get('pairs', '?')}" + (f" in {proof.golden.title}" if proof.golden else ""),
                "Gained, lost": f"+{found.get('gained', '?')} / −{found.get('lost', '?')}",
                "Launched by": comparison.launched_by_name,
            }
        )
        links.to("compare", "Open the comparison", comparison=comparison.id)
    with right:
        if comparison.rule and comparison.statistics.get("slices") is not None:
            charts.show(verdict_view.forest(comparison), key=f"releases_forest_{comparison.id}")
    if lost:
        shown = lost[:_MOST_LOST]
        st.caption(f"Lost: {page.count(len(lost), 'case')} that the incumbent passed and the candidate did not.")
        st.dataframe(
            pd.DataFrame(
                {
                    "Case": [pair.case.position + 1 for pair in shown],
                    "Asked": [str(pair.case.content.get("text") or pair.case.content.get("question") or "") for pair in shown],
                    "Incumbent": [pair.incumbent.output if pair.incumbent else "" for pair in shown],
                    "Candidate": [pair.candidate.output if pair.candidate else "" for pair in shown],
                }
            ),
            hide_index=True,
            column_config={"Case": st.column_config.NumberColumn(width="small")},
            key=f"releases_lost_{comparison.id}",
        )


def _corpus(delta: CorpusDelta) -> None:
    if delta.head is None:
        st.caption("The project has no knowledge yet.")
        return
    if not delta.commits:
        st.caption(f"Knowledge: corpus commit {delta.head.number}, nothing published since that release's baseline.")
        return
    since = f"commit {delta.baseline.number}" if delta.baseline else "the beginning"
    size = f"{page.count(len(delta.commits), 'commit')}, {page.count(len(delta.changes), 'entry', 'entries')}"
    with st.expander(f"Knowledge since {since}: {size}"):
        st.caption("Experts published these under the corpus policy in force. They are live whether or not this is approved.")
        st.dataframe(
            pd.DataFrame(
                {
                    "Entry": [change.key for change in delta.changes],
                    "What": [change.kind for change in delta.changes],
                    "Title": [_title(change) for change in delta.changes],
                }
            ),
            hide_index=True,
            key=f"releases_corpus_{delta.head.id}",
        )
        st.dataframe(
            pd.DataFrame([_commit(commit) for commit in delta.commits]),
            hide_index=True,
            key=f"releases_commits_{delta.head.id}",
        )


def _title(change: object) -> str:
    version = getattr(change, "after", None) or getattr(change, "before", None)
    return str(getattr(version, "title", ""))


def _commit(commit: CorpusCommit) -> dict[str, object]:
    return {
        "Commit": commit.number,
        "Act": commit.act,
        "By": commit.created_by_name,
        "When": page.moment(commit.created_at),
        "Why": commit.reason,
    }


def _component(component: Component, *, strong: bool = False) -> str:
    return _cell(
        component.name,
        detail=" · ".join(
            filter(None, (component.detail, page.short(component.content_hash) if component.content_hash else ""))
        ),
        strong=strong,
    )


def _cell(text: str, *, detail: str = "", muted: bool = False, mono: bool = False, strong: bool = False) -> str:
    style = _CELL + (_MUTED if muted else "") + ("font-family:monospace;font-size:.92em;opacity:.75;" if mono else "")
    style += "font-weight:600;" if strong else ""
    below = f'<div style="font-weight:400;font-size:.92em;{_MUTED}">{html.escape(detail)}</div>' if detail else ""
    return f'<div style="{style}">{html.escape(text)}{below}</div>'
