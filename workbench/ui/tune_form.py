"""The form that launches a fine-tune: recipe, dataset version, settings, checks, estimate."""

from dataclasses import fields
from typing import Any

import streamlit as st

from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.datasets.models import DatasetVersion
from workbench.datasets.queries import list_datasets
from workbench.tuning import queries
from workbench.tuning.models import Adapter
from workbench.tuning.preflight import MAX_HOURS, Level, Preflight
from workbench.tuning.recipes import RECIPES, Recipe
from workbench.ui import page
from workbench.ui.guard import Visit

_COMMAND = "tune_command_id"
_SIGNS = {
    Level.OK: (":material/check_circle:", "green"),
    Level.NOTE: (":material/info:", "blue"),
    Level.STOP: (":material/error:", "red"),
}


def show(visit: Visit, chosen_dataset: str | None = None) -> None:
    """The whole form. On launch the page's query parameter `job` names the new job.

    Args:
        chosen_dataset: id of the dataset version to begin with, from a link.
    """
    with visit.read() as session:
        datasets = list_datasets(session, visit.project.id, frozen_only=True)
        parents = queries.adapters(session, visit.project.id)
    linked = next((item for item in datasets if item.id == chosen_dataset), None)
    recipe = _choose_recipe(linked)
    mine = [item for item in datasets if item.task == recipe.task]
    if not mine:
        page.empty(
            f"There is no frozen dataset version for {recipe.task} yet.",
            "Build one from submitted responses on the Datasets page, and freeze it.",
        )
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        dataset = _choose_dataset(mine, linked, recipe)
        continue_from = _choose_parent([adapter for adapter in parents if adapter.kind == recipe.adapter_kind], recipe)
        settings = _choose_settings(recipe)
        reason = st.text_input(
            "Reason", key="tune_reason", placeholder="What should get better? For the receipt and the ledger"
        )
    with right:
        try:
            found = visit.services.tuning.examine(
                visit.actor,
                visit.project.id,
                recipe=recipe.key,
                dataset_id=dataset.id,
                settings=settings,
                continue_from=continue_from,
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        _what_it_takes(found)
        _launch(visit, recipe, dataset, settings, continue_from, reason, found)
        _checks(found)


def _choose_recipe(linked: DatasetVersion | None) -> Recipe:
    keys = list(RECIPES)
    start = next((key for key in keys if linked is not None and RECIPES[key].task == linked.task), keys[0])
    key = st.radio(
        "Recipe",
        keys,
        index=keys.index(start),
        format_func=lambda item: RECIPES[item].title,
        key="tune_recipe",
        horizontal=True,
    )
    recipe = RECIPES[key or start]
    what, cost, risks = st.columns([2, 1, 2], gap="large")
    for column, title, text in (
        (what, "What it does", recipe.what),
        (cost, "What it costs", recipe.cost),
        (risks, "Beware", recipe.risks),
    ):
        with column:
            st.caption(f"**{title}**")
            page.plain(text)
    return recipe


def _choose_dataset(mine: list[DatasetVersion], linked: DatasetVersion | None, recipe: Recipe) -> DatasetVersion:
    by_id = {item.id: item for item in mine}
    start = list(by_id).index(linked.id) if linked is not None and linked.id in by_id else 0
    chosen = st.selectbox(
        "Dataset version",
        list(by_id),
        index=start,
        format_func=lambda item: (
            f"{by_id[item].name} v{by_id[item].number}: {page.count(by_id[item].train_rows, 'row')} to train on"
        ),
        key=f"tune_dataset_{recipe.key}",
    )
    dataset = by_id[chosen or mine[0].id]
    st.caption(
        f"{page.count(dataset.train_rows, 'row')} to train on, {dataset.validation_rows:,} held out to watch for learning by "
        f"heart · frozen {page.moment(dataset.frozen_at)} · `{page.short(dataset.content_hash)}`"
    )
    return dataset


def _choose_parent(parents: list[Adapter], recipe: Recipe) -> str | None:
    if not parents:
        return None
    by_hash = {adapter.content_hash: adapter for adapter in reversed(parents)}
    options: list[str | None] = [None, *reversed(by_hash)]
    return st.selectbox(
        "Begin with",
        options,
        format_func=lambda item: "a fresh adapter" if item is None else f"{by_hash[item].title} ({page.short(item)})",
        key=f"tune_parent_{recipe.key}",
        help="Going on from an adapter keeps what it has learned; a fresh one depends on this dataset version alone.",
    )


def _choose_settings(recipe: Recipe) -> dict[str, Any]:
    plain = [item for item in fields(recipe.settings) if not item.metadata["expert"]]
    expert = [item for item in fields(recipe.settings) if item.metadata["expert"]]
    settings: dict[str, Any] = {}
    for column, item in zip(st.columns(len(plain)), plain, strict=True):
        with column:
            settings[item.name] = _number(recipe, item)
    with st.expander("More settings"):
        st.caption("The defaults are measured on two CPU cores; change them when you know why.")
        columns = st.columns(3)
        for index, item in enumerate(expert):
            with columns[index % 3]:
                settings[item.name] = _number(recipe, item)
    return {name: value for name, value in settings.items() if value is not None}


def _number(recipe: Recipe, item: Any) -> float | int | None:
    whole = isinstance(item.default, int)
    meta = item.metadata
    unit = f" ({meta['unit']})" if meta["unit"] == "tokens" else ""
    kind = int if whole else float
    small = not whole and item.default < 0.01
    return st.number_input(
        f"{meta['label']}{unit}",
        min_value=kind(meta["low"]),
        max_value=kind(meta["high"]),
        value=kind(item.default),
        step=1 if whole else (1e-4 if small else 0.01),
        format=None if whole else ("%.1e" if small else "%.2f"),
        key=f"tune_{recipe.key}_{item.name}",
    )


def _what_it_takes(found: Preflight) -> None:
    if found.estimate is None:
        return
    guess = found.estimate
    with st.container(border=True, key="tune_estimate"):
        st.caption("It will probably take")
        page.big(f"{_rough(guess.low)} to {_rough(guess.high)}")
        basis = (
            f"from {page.count(guess.measured_runs, 'earlier run')} on this machine"
            if guess.measured_runs
            else "from measurements on two CPU cores; the first run here makes it better"
        )
        page.facts(
            {
                "Steps": f"{found.steps:,}, from {found.train_rows:,} rows and {guess.tokens:,} tokens in all",
                "Time": f"{basis}; the limit is {MAX_HOURS} hours",
                "Memory": f"about {found.memory_mb / 1000:.1f} GB, from {found.memory_basis}",
                **({"Labels": ", ".join(f"{label} {count}" for label, count in found.labels.items())} if found.labels else {}),
            }
        )


def _checks(found: Preflight) -> None:
    passed = sum(finding.level is Level.OK for finding in found.findings)
    with st.expander(f"Checks: {passed} of {len(found.findings)} hold", expanded=passed < len(found.findings)):
        for finding in sorted(found.findings, key=lambda item: list(Level).index(item.level), reverse=True):
            sign, colour = _SIGNS[finding.level]
            text = page.escape_markdown(f"{finding.text} {finding.todo}".strip())
            st.markdown(f":{colour}[{sign}] **{finding.name}** · {text}")


def _launch(
    visit: Visit,
    recipe: Recipe,
    dataset: DatasetVersion,
    settings: dict[str, Any],
    continue_from: str | None,
    reason: str,
    found: Preflight,
) -> None:
    # One id for this launch: a double click, or a click repeated after a lost connection, queues one job.
    command = st.session_state.setdefault(_COMMAND, new_id())
    if found.stops:
        st.error(page.escape_markdown(found.stops[0].text))
    if st.button("Launch the fine-tune", type="primary", key="tune_launch", disabled=bool(found.stops), width="stretch"):
        with page.acting("The fine-tune is queued."):
            job = visit.services.tuning.launch(
                visit.actor,
                visit.project.id,
                recipe=recipe.key,
                dataset_id=dataset.id,
                settings=settings,
                continue_from=continue_from,
                command_id=command,
                reason=reason.strip(),
            )
            st.session_state[_COMMAND] = new_id()
            st.query_params.clear()
            st.query_params["job"] = job.id
            st.rerun()
    st.caption("It runs in the background: you can close this page. One fine-tune runs at a time.")


def _rough(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
