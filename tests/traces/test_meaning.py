"""Search by meaning: vectors follow SQL, hits are read from SQL and filtered, and without the runtime the page says so."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from sqlalchemy import delete
from sqlmodel import col
from streamlit.testing.v1 import AppTest

from tests.pages import shower
from tests.traces.factories import request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import NotFound, Unavailable
from workbench.core.runtime_client import RuntimeClient
from workbench.identity.models import Project
from workbench.runtime import trace_meaning
from workbench.runtime.embedding import Embedder
from workbench.runtime.engine import Slot
from workbench.runtime.trace_meaning import TraceMeaning
from workbench.traces import queries
from workbench.traces.filters import TraceFilter
from workbench.traces.indexer import index_all
from workbench.traces.models import Trace
from workbench.ui import guard, links

PAGE = Path(__file__).parents[2] / "pages" / "traces.py"
QUESTIONS = ["card lost", "card stolen", "loan rate", "loan term", "   "]


def _embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of letters' counts: alike texts are near."""
    vectors = np.array([[text.casefold().count(chr(97 + n)) + 0.01 for n in range(26)] for text in texts], dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def ids(services: Services, project: Project, key: Actor) -> list[str]:
    made = [secrets.token_hex(16) for _ in QUESTIONS]
    start = int(now().timestamp() * 1e9)
    spans = [
        span({"workbench.input": text, "workbench.model": f"m{n % 2}"}, trace_id=made[n], span_id="ab" * 8, start=start)
        for n, text in enumerate(QUESTIONS)
    ]
    services.traces.ingest_otlp(key, project.id, request(*spans))
    index_all(services.context)
    return made


@pytest.fixture
def embedder() -> Slot[Embedder]:
    slot: Slot[Embedder] = Slot("embedding model")
    slot.put(cast(Embedder, SimpleNamespace(embed=_embed, content_hash="sha256:" + "ab" * 32)))
    return slot


def test_the_nearest_questions_are_found_within_the_project(
    services: Services, project: Project, key: Actor, ids: list[str], embedder: Slot[Embedder]
) -> None:
    meaning = TraceMeaning(services.context, embedder)
    assert meaning.nearest(project.id, 3, text="card") == []
    assert meaning.look() == 4
    assert meaning.look() == 0
    near = meaning.nearest(project.id, 2, text="the card was lost")
    assert near[0].trace_id == ids[0]
    assert near[0].score > near[1].score
    assert [one.trace_id for one in meaning.nearest(project.id, 1, trace_id=ids[2])] == [ids[3]]
    assert meaning.nearest("another", 3, text="card") == []
    for nothing in (ids[4], "00" * 16):
        with pytest.raises(NotFound):
            meaning.nearest(project.id, 3, trace_id=nothing)


def test_vectors_follow_what_sql_holds_across_a_restart(
    services: Services, project: Project, key: Actor, ids: list[str], embedder: Slot[Embedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    TraceMeaning(services.context, embedder).look()
    again = TraceMeaning(services.context, embedder)
    assert again.look() == 0  # kept
    monkeypatch.setattr(trace_meaning, "_AGAIN_SECONDS", -1.0)
    with services.context.database.ingesting.begin() as connection:
        connection.execute(delete(Trace).where(col(Trace.trace_id) == ids[0]))
        connection.execute(
            Trace.__table__.update().where(col(Trace.trace_id) == ids[1]).values(input="zzz zebra")  # type: ignore[attr-defined]
        )
    assert again.look() == 1
    assert again.nearest(project.id, 1, text="zebra")[0].trace_id == ids[1]
    assert ids[0] not in [one.trace_id for one in again.nearest(project.id, 10, text="card lost")]


def test_one_look_embeds_a_bounded_number(
    services: Services, project: Project, ids: list[str], embedder: Slot[Embedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_meaning, "_EMBED", 3)
    meaning = TraceMeaning(services.context, embedder)
    assert [meaning.look() for _ in range(3)] == [3, 1, 0]
    assert len(meaning.nearest(project.id, 10, text="a")) == 4


def test_hits_are_read_in_their_order_and_filtered(services: Services, project: Project, ids: list[str]) -> None:
    with services.context.database.session() as session:
        asked = [ids[2], "00" * 16, ids[1], ids[0]]
        assert [row.trace_id for row in queries.traces_among(session, project.id, asked)] == [ids[2], ids[1], ids[0]]
        only = queries.traces_among(session, project.id, asked, TraceFilter(model=("m0",)))
    assert [row.trace_id for row in only] == [ids[2], ids[0]]


@pytest.fixture
def show(services: Services, project: Project, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    monkeypatch.setattr(guard, "services", lambda: services)
    monkeypatch.setattr(links, "to", lambda name, label, **options: None)
    return shower(services, project, monkeypatch, PAGE)


def _text(page: AppTest) -> str:
    return " ".join(str(one.value) for kind in (page.markdown, page.caption, page.error) for one in kind)


def test_the_page_lists_what_is_near_with_the_other_filters(
    show: Callable[..., AppTest], someone: Callable[..., Actor], ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def nearest(self: RuntimeClient, project_id: str, k: int, **of: Any) -> list[tuple[str, float]]:
        asked.append(of)
        return [(ids[0], 0.9), (ids[1], 0.8), (ids[2], 0.1)]

    monkeypatch.setattr(RuntimeClient, "nearest_traces", nearest)
    engineer = someone(Role.ENGINEER)
    page = show(engineer, q="plastic gone", by="meaning")
    assert "3 traces" in _text(page)
    assert "traces_send_all" not in {button.key for button in page.button}
    assert "2 traces" in _text(show(engineer, q="plastic gone", by="meaning", model="m0"))
    page = show(engineer, similar=ids[3])
    assert asked[-1]["trace_id"] == ids[3]
    page.button(key="traces_chip_0").click().run()
    assert "5 traces" in _text(page)


def test_without_the_runtime_the_page_says_so_and_shows_the_ordinary_list(
    show: Callable[..., AppTest], someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("The runtime does not answer.")

    monkeypatch.setattr(RuntimeClient, "nearest_traces", away)
    text = _text(show(someone(Role.ENGINEER), q="card", by="meaning"))
    assert "The runtime does not answer" in text
    assert "2 traces" in text
