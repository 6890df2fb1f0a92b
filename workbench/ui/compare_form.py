"""The form that launches a comparison, and the receipt of one."""

import streamlit as st

from workbench.core.ids import new_id
from workbench.evaluation.models import Comparison
from workbench.evaluation.rule import Rule
from workbench.golden.models import GoldenSet
from workbench.golden.queries import list_sets
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning.queries import by_hash
from workbench.ui import arm_choice, page
from workbench.ui.arm_choice import Arms
from workbench.ui.guard import Visit

_COMMAND = "compare_command_id"
_MARGINS = (1.0, 2.0, 5.0, 10.0)
_TASKS = {"triage": "triage: which team", "answers": "answers: facts and format"}


def show(visit: Visit, chosen_adapter: str | None = None) -> None:
    """The whole form. On launch the page's query parameter `comparison` names the new comparison.

    Args:
        chosen_adapter: content hash of the candidate's adapter, from a link.
    """
    with visit.read() as session:
        sets = list_sets(session, visit.project.id, newest_only=True)
        linked = by_hash(session, visit.project.id, chosen_adapter) if chosen_adapter else None
    if not sets:
        page.empty("There is no golden set yet.", "Import one as JSON Lines: cases that a release must pass.")
        return
    wanted = None if linked is None else ("triage" if linked.kind == "triage" else "answers")
    by_id = {item.id: item for item in sets}
    start = next((index for index, item in enumerate(sets) if item.task == wanted), 0)
    chosen = st.selectbox(
        "Golden set",
        list(by_id),
        index=start,
        format_func=lambda item: f"{by_id[item].title} · {_TASKS[by_id[item].task]} · {page.count(by_id[item].size, 'case')}",
        key="compare_golden",
    )
    golden = by_id[chosen or sets[0].id]
    arms = arm_choice.choose(visit, golden.task, chosen_adapter)
    if arms is None:
        return
    rule = _rule(golden)
    _launch(visit, golden, arms, rule)


def _rule(golden: GoldenSet) -> Rule:
    margin = st.select_slider(
        "Margin: how much worse still counts as no worse, in points",
        _MARGINS,
        value=5.0,
        format_func=lambda item: f"{item:g}",
        key="compare_margin",
        help="A smaller margin asks for more cases. With 40 cases even equal arms leave an interval of about ±9 points.",
    )
    rule = Rule(margin_points=float(margin or 5.0))
    page.plain(rule.in_words(), muted=True)
    if golden.size < 150:
        st.caption(f"{golden.size} cases can only show a large difference: expect INCONCLUSIVE where the arms are close.")
    return rule


def _launch(visit: Visit, golden: GoldenSet, arms: Arms, rule: Rule) -> None:
    command = st.session_state.setdefault(_COMMAND, new_id())
    reason = st.text_input("Reason", key="compare_reason", placeholder="Optional, for the audit ledger")
    if st.button("Run the comparison", type="primary", key="compare_launch"):
        with page.acting("The comparison is queued."):
            comparison = visit.services.evaluation.launch(
                visit.actor,
                visit.project.id,
                golden_set_id=golden.id,
                candidate=arms.candidate,
                incumbent=arms.incumbent,
                candidate_name=arms.candidate_name,
                incumbent_name=arms.incumbent_name,
                rule=rule,
                reason=reason.strip(),
                command_id=command,
            )
            st.session_state[_COMMAND] = new_id()
            st.query_params.clear()
            st.query_params["comparison"] = comparison.id
            st.rerun()


def receipt(comparison: Comparison, golden: GoldenSet) -> dict[str, str]:
    """What was compared, by hash."""
    facts = {
        "Comparison": comparison.id,
        "Job": comparison.job_id or "none",
        "Golden set": f"{golden.title}, {comparison.golden_hash}",
        "Results": comparison.results_hash or "not decided yet",
    }
    for name, value in (("Candidate", comparison.candidate), ("Incumbent", comparison.incumbent)):
        arm = ServingConfiguration.from_json(value)
        if comparison.task == "triage":
            facts[f"{name}: triage adapter"] = arm.triage_adapter or "none"
            continue
        facts[f"{name}: base model"] = arm.base_model
        facts[f"{name}: generator adapter"] = arm.generator_adapter or "none: the bare base model"
        facts[f"{name}: prompt version"] = arm.prompt_version or "none"
        facts[f"{name}: corpus commit"] = arm.corpus_commit or "the head"
        facts[f"{name}: routing"] = (
            f"{arm.routing.mode}, {arm.routing.passages} passages, evidence from {arm.routing.minimum_score:g}"
        )
        facts[f"{name}: guard policy"] = (
            f"at most {arm.guard.max_sentences} sentences, {'with' if arm.guard.require_citation else 'without'} citation, "
            f"else {arm.guard.on_failure}"
        )
    return facts
