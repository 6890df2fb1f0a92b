"""An adapter's receipt, as people read it."""

import streamlit as st

from workbench.core.jobs import Job, metrics_of
from workbench.datasets.models import DatasetVersion
from workbench.tuning.models import Adapter
from workbench.tuning.recipes import RECIPES, Recipe
from workbench.ui import charts, job_progress, page
from workbench.ui.guard import Visit

_METRICS = {
    "final_loss": "Loss in the last pass",
    "validation_loss": "Loss on the validation split",
    "final_train_accuracy": "Right on the training examples, in the last pass",
    "validation_accuracy": "Right on the validation split",
    "final_token_accuracy": "Tokens right, in the last pass",
    "validation_token_accuracy": "Tokens right on the validation split",
    "examples": "Examples learned from",
    "left_out_too_long": "Examples left out for being too long",
    "completion_tokens": "Tokens of the answers it learned from",
    "labels": "Labels",
    "fewest_examples_of_a_label": "Fewest examples of a label",
}


def show(visit: Visit, adapter: Adapter) -> None:
    """What it is, what it was made from, by whom, at what cost, and how it learned."""
    with visit.read() as session:
        dataset = session.get(DatasetVersion, adapter.dataset_id)
        job = session.get(Job, adapter.job_id)
        points = metrics_of(session, adapter.job_id)
    recipe = RECIPES.get(adapter.recipe)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Where it comes from", anchor=False)
        page.facts(
            {
                "Adapter hash": adapter.content_hash,
                "Recipe": recipe.title if recipe else adapter.recipe,
                "Dataset version": f"{dataset.name} v{dataset.number}, {dataset.rows:,} rows" if dataset else "removed",
                "Dataset hash": adapter.dataset_hash,
                "Base model": adapter.base_name or "not named",
                "Base hash": adapter.base_hash,
                "Goes on from": adapter.parent_hash or "nothing: it began fresh",
                **({"Labels": ", ".join(adapter.labels)} if adapter.labels else {}),
                "Launched by": adapter.launched_by_name or adapter.launched_by,
                "Reason": (job.spec.get("reason") if job else "") or "none given",
                "Job": adapter.job_id,
                "Registered": page.moment(adapter.created_at),
            }
        )
        st.subheader("What it cost", anchor=False)
        page.facts(
            {
                "Training time": page.duration(adapter.seconds),
                "Peak memory": f"{adapter.peak_memory_bytes / 1e9:.1f} GB" if adapter.peak_memory_bytes else "not measured",
                "Tokens read": f"{adapter.tokens:,}",
                "Attempts": str(job.attempt) if job else "unknown",
            }
        )
    with right:
        if points:
            st.subheader("How it learned", anchor=False)
            charts.show(job_progress.curve_figure(points), key=f"receipt_curve_{adapter.id}")
        st.subheader("What the trainer measured", anchor=False)
        page.facts({_METRICS.get(name, name.replace("_", " ").capitalize()): _number(v) for name, v in adapter.metrics.items()})
        st.caption("These figures say how well it learned its examples. Whether it is better is for a comparison to say.")
        with st.expander("Settings and versions"):
            page.facts(_settings(adapter, recipe) | {name: str(value) for name, value in adapter.versions.items()})


def _settings(adapter: Adapter, recipe: Recipe | None) -> dict[str, str]:
    labels = {}
    if recipe is not None:
        labels = {item: str(field.metadata["label"]) for item, field in recipe.settings.__dataclass_fields__.items()}
    hidden = {"recipe", "continued"} | ({"last_layers"} if adapter.kind == "triage" else {"head_learning_rate"})
    return {
        labels.get(name, name.replace("_", " ").capitalize()): f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in adapter.settings.items()
        if name not in hidden
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 2 else f"{value:.3f}"
