"""Groups of low-rated traces: what is grouped, how a group is named, that it is kept, counted and shown."""

import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from tests.pages import shower
from tests.traces.factories import request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import NotAllowed
from workbench.identity.models import Project
from workbench.traces import cluster_names, clusters, queries
from workbench.traces.cluster_names import name_groups
from workbench.traces.clusters import Found
from workbench.traces.filters import TraceFilter
from workbench.traces.indexer import index_all
from workbench.ui import guard, links

PAGE = Path(__file__).parents[2] / "pages" / "traces.py"


def test_a_group_is_named_by_its_own_words_and_not_by_everybody_s() -> None:
    flex = ["What does FlexPay 2.0 cost me?", "is the flexpay fee due?", "Can I split the FlexPay fee?"]
    rates = ["储蓄利率是多少", "我的储蓄利率变了吗", "储蓄账户利率"]
    common = ["What does the card cost me?", "is the loan due?", "Can I close the account?"] * 10
    names = name_groups([flex, rates], [common, common])
    assert names[0][0] == "FlexPay"
    assert "fee" in names[0]
    assert not {"the", "is", "can", "me"} & set(names[0])
    assert names[1][0] in ("储蓄", "利率")


def test_masked_values_name_nothing() -> None:
    assert name_groups([["<EMAIL_1> again", "<EMAIL_1> again"]], [[]]) == [["again"]]


@given(st.lists(st.lists(st.text(max_size=20), min_size=1, max_size=4), max_size=3))
def test_any_texts_can_be_named(groups: list[list[str]]) -> None:
    names = name_groups(groups, [[] for _ in groups])
    assert len(names) == len(groups)
    written = [{word for text in group for _, word in cluster_names.words_of(text)} for group in groups]
    assert all(set(terms) <= words for terms, words in zip(names, written, strict=True))


@pytest.fixture
def told(services: Services, project: Project, key: Actor) -> dict[str, list[str]]:
    """Trace ids: flexpay now and before, pots now, and happy ones."""
    plan = {
        "flex": ("FlexPay fee question", [1, 2, 3, 4], 1), "flex before": ("FlexPay fee question", [20], 2),
        "pot": ("locked pot question", [1, 2, 3], 1), "happy": ("what a fine card question", [1, 2, 3], 5),
        "old": ("x", [60], 1),
    }  # fmt: skip
    made: dict[str, list[str]] = {}
    for name, (text, days, rating) in plan.items():
        made[name] = [secrets.token_hex(16) for _ in days]
        spans = [
            span({"workbench.input": text}, trace_id=one, start=int((now() - timedelta(days=day)).timestamp() * 1e9))
            for one, day in zip(made[name], days, strict=True)
        ]
        services.traces.ingest_otlp(key, project.id, request(*spans))
        signals = [{"trace_id": one, "value": rating, "minimum": 1, "maximum": 5} for one in made[name]]
        services.traces.add_feedback_many(key, project.id, signals)
    index_all(services.context)
    return made


def _embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors by what the text begins with, with a little of its own each."""
    topics = ["flexpay", "locked", "what"]
    vectors = np.full((len(texts), 4), 0.05, dtype=np.float32)
    for row, text in enumerate(texts):
        vectors[row, topics.index(text.split()[0].casefold()) if text.split()[0].casefold() in topics else 3] = 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_low_rated_traces_are_grouped_counted_and_listed(
    services: Services, project: Project, told: dict[str, list[str]], someone: Callable[..., Actor]
) -> None:
    from workbench.runtime.engine import Slot
    from workbench.runtime.trace_clusters import TraceGrouper

    assert clusters.due(services.context) == [(project.id, None)]
    run_id = services.clusters.ask(someone(Role.ENGINEER), project.id)
    assert services.clusters.ask(someone(Role.EXPERT), project.id) == run_id
    assert clusters.due(services.context) == [(project.id, run_id)]
    TraceGrouper(services.context, Slot("embedding model")).make(project.id, run_id, _embed)
    assert clusters.due(services.context) == []
    with services.context.database.session() as session:
        found = clusters.latest(session, project.id)
        assert found is not None
        assert (found.run.id, found.run.traces, found.run.left_out, clusters.waiting(session, project.id)) == (
            run_id,
            7,
            0,
            None,
        )
        assert [(one.count, one.before) for one in found.clusters] == [(4, 1), (3, 0)]
        assert "FlexPay" in found.clusters[0].terms
        listed = queries.trace_ids(session, project.id, TraceFilter(cluster=found.clusters[0].id))
    assert sorted(listed) == sorted(told["flex"])


def test_who_may_not_work_on_traces_may_not_ask(services: Services, project: Project, someone: Callable[..., Actor]) -> None:
    with pytest.raises(NotAllowed):
        services.clusters.ask(someone(Role.AUDITOR), project.id)


def test_only_the_last_groupings_are_kept_and_a_failure_hides_none(
    services: Services, project: Project, told: dict[str, list[str]]
) -> None:
    for number in range(6):
        services.clusters.keep(None, project.id, [Found([f"n{number}"], told["flex"], [])], traces=4, left_out=0)
    services.clusters.fail(None, project.id, "no memory")
    with services.context.database.session() as session:
        found = clusters.latest(session, project.id)
        assert found is not None
        assert ([one.terms for one in found.clusters], found.run.failure) == ([["n5"]], "")


def test_groups_are_shown_with_their_trend_and_lead_to_the_list(
    services: Services, project: Project, told: dict[str, list[str]], key: Actor, someone: Callable[..., Actor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(guard, "services", lambda: services)
    monkeypatch.setattr(links, "to", lambda name, label, **options: None)
    show: Callable[..., AppTest] = shower(services, project, monkeypatch, PAGE)
    text = " ".join(one.value for one in show(someone(Role.EXPERT), view="clusters").markdown)
    assert "Nothing is grouped yet" in text
    groups = [Found(["*Flex*Pay"], told["flex"], told["flex before"]), Found(["pot"], told["pot"], [])]
    services.clusters.keep(None, project.id, groups, traces=7, left_out=0)
    page = show(someone(Role.EXPERT), view="clusters")
    text = " ".join(one.value for kind in (page.markdown, page.caption) for one in kind)
    assert "4 about \\*Flex\\*Pay" in text
    assert "1 in the period before" in text
    opened = next(button for button in page.button if (button.key or "").startswith("traces_cluster_open_"))
    opened.click().run()
    assert "4 traces" in " ".join(one.value for one in page.markdown)
    page.button(key="traces_chip_0").click().run()
    assert "12 traces" in " ".join(one.value for one in page.markdown)
