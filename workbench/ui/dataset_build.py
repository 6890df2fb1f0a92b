"""The form that builds a dataset version, with a live preview of what it would hold."""

from collections import Counter
from datetime import UTC, date, datetime, time

import streamlit as st

from workbench.annotation.queries import list_queues
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.datasets.builder import Collected
from workbench.datasets.checks import Check
from workbench.datasets.models import DatasetVersion
from workbench.datasets.settings import TASKS, BuildSettings, Task
from workbench.identity.queries import list_people
from workbench.prompts.queries import list_versions
from workbench.ui import charts, page
from workbench.ui.dataset_view import open_version, show_checks
from workbench.ui.guard import Visit

_TASKS: dict[Task, str] = {"triage": "Classification: which team", "generation": "Supervised pairs: how to answer"}


def show_form(visit: Visit, versions: list[DatasetVersion]) -> None:
    """Settings on the left, what they give on the right."""
    if st.button("All versions", type="tertiary", icon=":material/arrow_back:", key="dataset_back"):
        st.query_params.clear()
        st.rerun()
    st.header("Build a version", anchor=False)
    left, right = st.columns([2, 3], gap="large")
    with left:
        name, settings = _settings(visit, versions)
    with right:
        if settings is None:
            return
        try:
            found, checks = visit.services.datasets.preview(visit.actor, visit.project.id, settings)
        except WorkbenchError as error:
            page.failure(error)
            return
        _preview(settings, found, checks)
        if st.button("Build and check", type="primary", key="dataset_build_do", disabled=not found.rows):
            _build(visit, name, settings)


def _settings(visit: Visit, versions: list[DatasetVersion]) -> tuple[str, BuildSettings | None]:
    with visit.read() as session:
        queues = list_queues(session, visit.project.id, with_closed=True)
        prompts = list_versions(session, visit.project.id)
        people = {person.id: person.name for person in list_people(session)}
    kinds = list(reversed(TASKS))
    task: Task = (
        st.segmented_control("Kind", kinds, format_func=_TASKS.__getitem__, default=kinds[0], key="build_task") or kinds[0]
    )
    earlier = [each.name for each in versions if each.task == task]
    name = st.text_input(
        "Name",
        value=earlier[0] if earlier else {"triage": "triage", "generation": "answers"}[task],
        key=f"build_name_{task}",
        max_chars=80,
        help="A name that exists gets its next version.",
    )
    prompt_hash, passages = "", 2
    if task == "generation":
        if not prompts:
            page.empty(
                "The project has no prompt version.", "Make one first: pairs are built exactly as serving asks the model."
            )
            return name, None
        labels = {prompt.content_hash: f"{prompt.name} v{prompt.number}" for prompt in prompts}
        prompt_hash = st.selectbox("Prompt version", list(labels), format_func=labels.__getitem__, key="build_prompt")
        passages = int(
            st.number_input("Documents in the prompt", 0, 10, 2, key="build_passages", help="As in the release's routing.")
        )
    names = {queue.id: queue.name for queue in queues}
    chosen = st.multiselect("Queues", list(names), format_func=names.__getitem__, key="build_queues", placeholder="All queues")
    since, before = st.columns(2)
    first = since.date_input("Traces from", value=None, key="build_since", format="YYYY-MM-DD")
    last = before.date_input(
        "Traces before", value=None, key="build_before", format="YYYY-MM-DD", help="That day is not included."
    )
    languages = st.multiselect("Languages", visit.project.languages, key="build_languages", placeholder="All languages")
    with st.expander("More"):
        who = st.multiselect("Only responses of", list(people), format_func=people.__getitem__, key="build_people")
        rating = st.number_input("Least rating given", 1, 5, value=None, key="build_rating", help="Of the original answer.")
        rewrites = st.checkbox("Only responses with a rewrite", key="build_rewrites") if task == "triage" else False
        good = (
            st.checkbox("Also answers rated 4 or 5 that no guard rejected", key="build_good") if task == "generation" else False
        )
        limit = st.number_input("At most per end user", 1, 1000, value=None, key="build_limit")
        share = st.slider("Share held out, in %", 0, 50, 15, step=5, key="build_share", help="By session, never split.")
        personal = st.checkbox("Leave out rows with personal data", value=True, key="build_personal")
        leaks = st.checkbox("Leave out rows that share text with a golden set", value=True, key="build_leaks")
    try:
        settings = BuildSettings(
            task=task,
            queue_ids=tuple(chosen),
            since=_moment(first),
            before=_moment(last),
            languages=tuple(languages),
            people=tuple(who),
            minimum_rating=None if rating is None else int(rating),
            only_rewrites=rewrites,
            keep_good_answers=good,
            max_per_user=None if limit is None else int(limit),
            validation_share=share / 100,
            exclude_personal_data=personal,
            exclude_leaks=leaks,
            prompt_version=prompt_hash,
            passages=passages,
        )
    except WorkbenchError as error:
        page.failure(error)
        return name, None
    return name, settings


def _preview(settings: BuildSettings, found: Collected, checks: list[Check]) -> None:
    held_out = sum(row.split == "validation" for row in found.rows)
    rows, train, validation, responses = st.columns(4)
    rows.metric("Rows", len(found.rows))
    train.metric("To train on", len(found.rows) - held_out)
    validation.metric("Held out", held_out)
    responses.metric("Responses", found.considered)
    if not found.rows:
        page.empty("No response fits these settings.", "Widen the dates, queues or languages, or annotate first.")
    elif settings.task == "triage":
        counts = Counter(row.content["label"] for row in found.rows).most_common()
        figure = charts.figure(height=60 + 22 * len(counts))
        figure.add_bar(
            x=[number for _label, number in counts], y=[label for label, _number in counts], orientation="h",
            marker_color=charts.ACCENT, text=[number for _label, number in counts], textposition="outside", cliponaxis=False,
        )  # fmt: skip
        figure.update_yaxes(autorange="reversed", showgrid=False)
        figure.update_xaxes(visible=False)
        st.caption("Rows by team")
        charts.show(figure, key="build_labels")
    else:
        row = found.rows[-1]
        st.caption("The latest row, as the model would see it")
        with st.container(border=True, height=260):
            page.plain(row.content["prompt"] + row.content["completion"], mono=True)
    show_checks([check.as_json() for check in checks])
    page.plain("Near-duplicates of golden cases are looked for by meaning when it is built.", muted=True)


def _build(visit: Visit, name: str, settings: BuildSettings) -> None:
    command = str(st.session_state.setdefault("command_dataset_build", new_id()))
    try:
        with st.spinner("Building and checking…"):
            version = visit.services.datasets.build(visit.actor, visit.project.id, settings, name=name, command_id=command)
    except WorkbenchError as error:
        page.failure(error)
        return
    finally:
        st.session_state.pop("command_dataset_build", None)
    open_version(version.id)


def _moment(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), tzinfo=UTC)
