"""Choosing the two arms of a comparison, as serving configurations."""

from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from workbench.core.errors import Unavailable, WorkbenchError
from workbench.prompts.models import PromptVersion
from workbench.prompts.queries import list_versions
from workbench.releases.verify import LiveRelease, live
from workbench.serving.configuration import GuardPolicy, Routing, ServingConfiguration
from workbench.tuning import queries as tuning
from workbench.tuning.models import Adapter
from workbench.ui import page
from workbench.ui.guard import Visit

LIVE, BARE = "live", "bare"
_FALLBACKS = {
    "evidence": "the cited sentence is delivered instead",
    "decline": "the assistant declines instead",
    "deliver": "it is delivered as written",
}


@dataclass(frozen=True)
class Arms:
    """Both arms and what people call them."""

    candidate: ServingConfiguration
    candidate_name: str
    incumbent: ServingConfiguration
    incumbent_name: str


def choose(visit: Visit, task: str, chosen_adapter: str | None = None) -> Arms | None:
    """Widgets for both arms; None while they cannot be made, after saying why.

    Args:
        chosen_adapter: content hash of the candidate to begin with, from a link.
    """
    kind = "triage" if task == "triage" else "generator"
    with visit.read() as session:
        adapters = {item.content_hash: item for item in reversed(tuning.adapters(session, visit.project.id, kind))}
        prompts = list_versions(session, visit.project.id)
    adapters = dict(reversed(adapters.items()))
    current = live_release(visit)
    base = _base_hash(visit, current, adapters)
    if task == "triage" and not adapters:
        page.empty("There is no triage adapter to compare yet.", "Train one with the triage recipe on the Tune page.")
        return None
    if task == "answers" and not prompts:
        page.empty("There is no prompt version yet.", "Create one: an answer needs a system prompt and a template.")
        return None
    if base is None:
        page.empty(
            "The base model is not ready yet.", "It is prepared once in the background; the admin page shows how far it is."
        )
        return None
    left, right = st.columns(2, gap="large")
    with left:
        st.caption("**Candidate**: what you would release")
        candidate, candidate_name = _candidate(visit, task, adapters, prompts, current, base, chosen_adapter)
    with right:
        st.caption("**Incumbent**: what it has to stand up to")
        incumbent, incumbent_name = _incumbent(task, adapters, current, candidate)
    return Arms(candidate, candidate_name, incumbent, incumbent_name)


def live_release(visit: Visit) -> LiveRelease | None:
    """What is live; None when nothing is, or, after saying so, when a signature does not hold."""
    try:
        return live(visit.context, visit.project.id)
    except Unavailable:
        return None
    except WorkbenchError as error:
        page.failure(error)
        return None


def _candidate(
    visit: Visit,
    task: str,
    adapters: dict[str, Adapter],
    prompts: list[PromptVersion],
    current: LiveRelease | None,
    base: str,
    chosen: str | None,
) -> tuple[ServingConfiguration, str]:
    start = current.configuration if current else _first(visit, base, prompts)
    options: list[str] = [*adapters, *([BARE] if task == "answers" else [])]
    picked = st.selectbox(
        "Adapter",
        options,
        index=options.index(chosen) if chosen in options else 0,
        format_func=lambda item: "none: the bare base model" if item == BARE else _adapter_name(adapters[item]),
        key=f"compare_candidate_{task}",
    )
    if task == "triage":
        return replace(start, triage_adapter=picked, release_id=None, manifest_hash=None), adapters[str(picked)].title
    adapter = None if picked == BARE else picked
    by_hash = {version.content_hash: version for version in prompts}
    hashes = list(by_hash)
    prompt = st.selectbox(
        "Prompt version",
        hashes,
        index=hashes.index(start.prompt_version) if start.prompt_version in hashes else 0,
        format_func=lambda item: f"{by_hash[item].name} v{by_hash[item].number} ({page.short(item)})",
        key="compare_prompt",
    )
    mode = st.radio(
        "How the answer is made",
        ["generate", "evidence"],
        index=0 if start.routing.mode == "generate" else 1,
        format_func=lambda item: "the model writes it" if item == "generate" else "the cited sentence itself",
        key="compare_mode",
        horizontal=True,
    )
    fallback = st.selectbox(
        "When an answer breaks the guard policy",
        list(_FALLBACKS),
        index=list(_FALLBACKS).index(start.guard.on_failure),
        format_func=_FALLBACKS.__getitem__,
        key="compare_fallback",
        help="To see what the model itself writes, choose “as written” here; both arms are asked the same way.",
    )
    routing: Any = {**vars(start.routing), "mode": mode}
    guard: Any = {**vars(start.guard), "on_failure": fallback}
    configuration = replace(
        start,
        base_model=adapters[adapter].base_hash if adapter else base,
        generator_adapter=adapter,
        prompt_version=str(prompt),
        routing=Routing(**routing),
        guard=GuardPolicy(**guard),
        corpus_commit=None,
        release_id=None,
        manifest_hash=None,
    )
    name = adapters[adapter].title if adapter else "Bare base model"
    return configuration, name if mode == "generate" else f"{name}, evidence only"


def _incumbent(
    task: str, adapters: dict[str, Adapter], current: LiveRelease | None, candidate: ServingConfiguration
) -> tuple[ServingConfiguration, str]:
    can_live = current is not None and (task == "answers" or current.configuration.triage_adapter is not None)
    options = [*([LIVE] if can_live else []), *([BARE] if task == "answers" else []), *adapters]
    words = {BARE: "the bare base model", LIVE: f"what is live: {_release_name(current)}" if current else ""}
    picked = st.selectbox(
        "Incumbent",
        options,
        format_func=lambda item: words.get(item) or _adapter_name(adapters[item]),
        key=f"compare_incumbent_{task}",
    )
    if current is not None and picked == LIVE:
        st.caption("Only a comparison with what is live counts as evidence for a release.")
        return replace(current.configuration, corpus_commit=None), f"Live: {_release_name(current)}"
    if task == "triage":
        return replace(candidate, triage_adapter=picked), adapters[str(picked)].title
    st.caption("It is asked with the candidate's prompt version, mode and guard policy, so that only the model differs.")
    if picked == BARE:
        return replace(candidate, generator_adapter=None), "Bare base model"
    return replace(candidate, generator_adapter=picked, base_model=adapters[str(picked)].base_hash), adapters[str(picked)].title


def _first(visit: Visit, base: str, prompts: list[PromptVersion]) -> ServingConfiguration:
    """What a first release would be made of."""
    return ServingConfiguration(
        project_id=visit.project.id, base_model=base, prompt_version=prompts[0].content_hash if prompts else ""
    )


def _base_hash(visit: Visit, current: LiveRelease | None, adapters: dict[str, Adapter]) -> str | None:
    if current is not None:
        return current.configuration.base_model
    base = (visit.services.tuning.runtime_health() or {}).get("base") or {}
    if base.get("hash"):
        return str(base["hash"])
    return next((adapter.base_hash for adapter in adapters.values()), None)


def _adapter_name(adapter: Adapter) -> str:
    return f"{adapter.title} ({page.short(adapter.content_hash)}), {page.moment(adapter.created_at)}"


def _release_name(current: LiveRelease) -> str:
    return str(getattr(current.release, "name", "") or f"release {current.release.number}")
