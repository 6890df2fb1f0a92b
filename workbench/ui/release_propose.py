"""Proposing a release: from comparisons, or component by component; with what it would change beside it."""

from dataclasses import replace
from typing import Any

import streamlit as st

from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.evaluation.models import Comparison
from workbench.evaluation.queries import comparisons
from workbench.prompts.queries import list_versions
from workbench.releases.changes import SlotChange, components_of
from workbench.releases.components import base_models
from workbench.releases.manifest import SLOT_NAMES, SLOTS
from workbench.releases.models import PRODUCTION
from workbench.releases.proposing import Assessment, assess
from workbench.releases.verify import LiveRelease
from workbench.serving.configuration import GuardPolicy, Routing, ServingConfiguration
from workbench.tuning.queries import adapters
from workbench.ui import page, release_parts, verdict_view
from workbench.ui.guard import Visit
from workbench.workflows.release_proposal import over_live

_FROM, _BY_HAND = "From comparisons", "Component by component"
_NONE = ""
_COMMAND = "releases_propose_command"


def show(visit: Visit, live: LiveRelease | None) -> None:
    """The form, and beside it what the proposal would change and what speaks for it."""
    with visit.read() as session:
        finished = [item for item in comparisons(session, visit.project.id) if item.verdict]
    linked = st.query_params.get("comparison")
    way = st.segmented_control(
        "What to propose",
        [_FROM, _BY_HAND],
        default=_FROM if finished else _BY_HAND,
        required=True,
        key="releases_way",
        label_visibility="collapsed",
    )
    left, right = st.columns([2, 3], gap="large")
    named: list[str] = []
    candidate: ServingConfiguration | None
    with left:
        if way == _FROM:
            candidate, named = _from_comparisons(visit, finished, linked)
        else:
            candidate = _by_hand(visit, live)
    if candidate is None:
        return
    with right:
        found = _preview(visit, candidate, named)
    if found is None:
        return
    with left:
        _form(visit, candidate, named, found)


def _from_comparisons(
    visit: Visit, finished: list[Comparison], linked: str | None
) -> tuple[ServingConfiguration | None, list[str]]:
    if not finished:
        page.empty("No comparison has a verdict yet.", "Run one on the Compare page, or choose component by component.")
        return None, []
    by_id = {item.id: item for item in finished}
    named = st.multiselect(
        "Comparisons it rests on",
        list(by_id),
        default=[linked] if linked in by_id else [finished[0].id],
        format_func=lambda item: (
            f"{by_id[item].verdict} · {by_id[item].candidate_name or by_id[item].task} against "
            f"{by_id[item].incumbent_name or 'the incumbent'}, {page.moment(by_id[item].finished_at)}"
        ),
        key="releases_comparisons",
        help="Their candidates' components are proposed; every other slot stays as it is live.",
    )
    if not named:
        page.empty("Choose a comparison.", "Its candidate is what would be released.")
        return None, []
    try:
        with visit.read() as session:
            return over_live(visit.context, session, visit.project.id, [by_id[item] for item in named]), named
    except WorkbenchError as error:
        page.failure(error)
        return None, []


def _by_hand(visit: Visit, live: LiveRelease | None) -> ServingConfiguration | None:
    with visit.read() as session:
        generators = {item.content_hash: item for item in adapters(session, visit.project.id, "generator")}
        triages = {item.content_hash: item for item in adapters(session, visit.project.id, "triage")}
        prompts = {item.content_hash: item for item in list_versions(session, visit.project.id)}
    bases = base_models(visit.context.settings)
    current = live.configuration if live else None
    if not prompts or not (bases or current):
        missing = "prompt version" if not prompts else "base model"
        page.empty(f"There is no {missing} yet.", "A release needs one. The home page says what is still being prepared.")
        return None
    if current and current.base_model not in bases:
        bases[current.base_model] = "the live base model"

    def choose(label: str, names: dict[str, str], start: str | None, key: str) -> str:
        options = list(names)
        index = options.index(start or _NONE) if (start or _NONE) in names else 0
        return str(st.selectbox(label, options, index=index, format_func=names.__getitem__, key=f"releases_slot_{key}"))

    base = choose("Base model", bases, current.base_model if current else None, "base")
    generator = choose(
        "Generator adapter",
        {_NONE: "none: the bare base model", **{h: f"{a.title} ({page.short(h)})" for h, a in generators.items()}},
        current.generator_adapter if current else None,
        "generator",
    )
    triage = choose(
        "Triage adapter",
        {_NONE: "none: no triage", **{h: f"{a.title} ({page.short(h)})" for h, a in triages.items()}},
        current.triage_adapter if current else None,
        "triage",
    )
    prompt = choose(
        "Prompt version",
        {h: f"{p.name} v{p.number} ({page.short(h)})" for h, p in prompts.items()},
        current.prompt_version if current else None,
        "prompt",
    )
    routing, guard = _settings(current)
    return ServingConfiguration(
        project_id=visit.project.id,
        base_model=base,
        prompt_version=prompt,
        generator_adapter=generator or None,
        triage_adapter=triage or None,
        routing=routing,
        guard=guard,
        tenant=current.tenant if current else "default",
    )


def _settings(current: ServingConfiguration | None) -> tuple[Routing, GuardPolicy]:
    routing, guard = (current.routing, current.guard) if current else (Routing(), GuardPolicy())
    with st.expander("Routing and guard policy"):
        modes = {"generate": "the model writes it", "evidence": "the cited sentence itself"}
        mode: Any = st.selectbox(
            "How an answer is made", list(modes), index=list(modes).index(routing.mode), format_func=modes.__getitem__,
            key="releases_slot_mode",
        )  # fmt: skip
        passages = st.number_input("Passages put before the model", 1, 10, routing.passages, key="releases_slot_passages")
        score = st.slider(
            "Least similarity of a passage", 0.0, 1.0, float(routing.minimum_score), 0.01, key="releases_slot_score"
        )
        sentences = st.number_input("Sentences at most", 1, 10, guard.max_sentences, key="releases_slot_sentences")
        cite = st.checkbox("An answer must cite its evidence", guard.require_citation, key="releases_slot_cite")
        decline = st.checkbox("Decline without evidence", guard.decline_without_evidence, key="releases_slot_decline")
        failures = {"evidence": "the cited sentence instead", "decline": "a polite refusal", "deliver": "as written, marked"}
        failure: Any = st.selectbox(
            "When an answer breaks the policy", list(failures), index=list(failures).index(guard.on_failure),
            format_func=failures.__getitem__, key="releases_slot_failure",
        )  # fmt: skip
    return (
        replace(routing, mode=mode, passages=int(passages), minimum_score=float(score)),
        GuardPolicy(int(sentences), cite, decline, failure),
    )


def _preview(visit: Visit, candidate: ServingConfiguration, named: list[str]) -> Assessment | None:
    settings = visit.context.settings
    try:
        with visit.read() as session:
            found = assess(visit.context, session, candidate, comparison_ids=named, channel=PRODUCTION)
            then_parts = components_of(session, settings, candidate)
            now_parts = components_of(session, settings, found.incumbent.configuration) if found.incumbent else {}
    except WorkbenchError as error:
        page.failure(error)
        return None
    st.caption("What it would change")
    changes = [SlotChange(slot, now_parts.get(slot), then_parts[slot]) for slot in SLOTS]
    changed = [change for change in changes if change.slot in found.changed]
    if not changed:
        page.empty("That is what is live already.", "Choose another component in at least one slot.")
        return None
    release_parts.slot_changes(changed)
    st.caption("What speaks for it")
    for comparison in found.comparisons:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(str(comparison.verdict), color=verdict_view.COLOURS[str(comparison.verdict)])  # type: ignore[arg-type]
            page.plain(str(comparison.statistics.get("headline", "")) or comparison.task)
    if found.failed:
        st.warning("A comparison of this candidate failed. You can propose it for discussion, but nobody can approve it.")
    if found.unproven:
        slots = ", ".join(SLOT_NAMES[slot] for slot in found.unproven)
        if found.incumbent is None:
            page.plain(f"There is no incumbent: this would be the first release. Without comparison: {slots}.")
        else:
            page.plain(f"No comparison with what is live speaks for: {slots}. Say why, or run one on the Compare page.")
    return found


def _form(visit: Visit, candidate: ServingConfiguration, named: list[str], found: Assessment) -> None:
    command = st.session_state.setdefault(_COMMAND, new_id())
    with st.form("releases_propose", border=False):
        name = st.text_input("Name", key="releases_name", placeholder="Such as: knows the instalment terms", max_chars=80)
        reason = st.text_area("What it is meant to improve", key="releases_propose_reason", height=80)
        despite = ""
        if found.needs_explanation:
            despite = st.text_area(
                "Why propose it although the evidence is not complete",
                key="releases_despite",
                height=80,
                help="Approvers see this, and have to justify an approval in writing.",
            )
        st.caption("You and whoever launched a job behind it cannot approve it.")
        sent = st.form_submit_button("Propose", type="primary", key="releases_propose_now")
    if not sent:
        return
    try:
        release = visit.services.releases.propose(
            visit.actor, candidate, reason=reason, name=name, comparison_ids=named, despite=despite, command_id=command
        )
    except WorkbenchError as error:
        page.failure(error)
        return
    st.session_state.pop(_COMMAND, None)
    st.toast(f"{release.title} is proposed. Now a reviewer has to look at it.")
    release_parts.open_release(release.id)
