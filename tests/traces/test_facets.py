"""Counts of values: what is kept is what counting anew would find, whatever happens to the traces."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session, select

from tests.traces.factories import START, request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.identity.models import Project
from workbench.traces import facets
from workbench.traces.facets import COUNTED, facets_within
from workbench.traces.filters import TraceFilter
from workbench.traces.indexer import index_all
from workbench.traces.models import TraceFacet

DAY = 86_400 * 10**9
FIRST = datetime.fromtimestamp(START / 1e9, UTC)
words = st.sampled_from(["a", "b", "ü"])
acts = st.one_of(
    st.tuples(st.just("span"), st.integers(0, 3), st.integers(-2, 2), words, words),
    st.tuples(st.just("tool"), st.integers(0, 3), st.integers(-2, 2), words, words),
    st.tuples(st.just("tag"), st.integers(0, 3), st.just(0), words, words),
    st.tuples(st.just("untag"), st.integers(0, 3), st.just(0), words, words),
    st.tuples(st.just("judged"), st.integers(0, 3), st.just(0), words, words),
)


def _kept(session: Session, project_id: str) -> dict[tuple[str, str, str], int]:
    rows = session.exec(select(TraceFacet).where(TraceFacet.project_id == project_id))
    return {(row.day, row.name, row.value): row.count for row in rows}


def _sorted(found: dict[str, list[tuple[str, int]]]) -> dict[str, list[tuple[str, int]]]:
    return {name: sorted(values) for name, values in found.items()}


def _counted_anew(session: Session, project_id: str, filters: TraceFilter) -> dict[str, list[tuple[str, int]]]:
    return _sorted(facets._grouped(session, project_id, filters, 1000))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(acts, min_size=1, max_size=10), st.integers(-50, 50), st.integers(0, 90))
def test_kept_counts_are_what_counting_anew_finds(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], plan: list[Any], begin: int, length: int
) -> None:
    engineer = someone(Role.ENGINEER)
    ids = [secrets.token_hex(16) for _ in range(4)]
    other = secrets.token_hex(16)
    for act, number, day, one, two in plan:
        trace_id, values = ids[number], {"workbench.model": one, "workbench.release": two, "workbench.tags": [one]}
        if act == "span":
            services.traces.ingest_otlp(key, project.id, request(span(values, trace_id=trace_id, start=START + day * DAY)))
        elif act == "tool":
            tool = span({"workbench.kind": "tool", "workbench.tool.name": two}, trace_id=trace_id, start=START + day * DAY)
            services.traces.ingest_otlp(key, project.id, request(tool))
        elif act == "judged":  # an evaluation of another trace is no trace of the application
            judging = span({"evaluations.0.evaluation.name": one, "evaluations.0.evaluation.score": 0.5}, trace_id=trace_id)
            judging["links"] = [{"traceId": other, "spanId": "11" * 8}]
            services.traces.ingest_otlp(key, project.id, request(judging))
        index_all(services.context)
        if act in ("tag", "untag"):
            with services.context.database.session() as session:
                here = facets.counts_of(session.connection(), [(project.id, trace_id)])
            if here:
                getattr(services.traces, act)(engineer, project.id, [trace_id], two)
    since = FIRST + timedelta(hours=begin)
    with services.context.database.session() as session:
        kept = _kept(session, project.id)
        assert all(count > 0 for count in kept.values())
        for filters in (
            TraceFilter(),
            TraceFilter(since=since),
            TraceFilter(since=since, until=since + timedelta(hours=length)),
        ):
            found = facets_within(session, project.id, filters, limit=1000)
            assert found.exact
            assert set(found.values) == set(COUNTED)
            assert _sorted(found.values) == _counted_anew(session, project.id, filters)
    facets.rebuild(services.context)
    with services.context.database.session() as session:
        assert _kept(session, project.id) == kept


def test_an_edge_with_many_traces_is_counted_by_whole_days_and_says_so(
    services: Services, project: Project, key: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = START - START % DAY
    spans = [span({"workbench.model": "m"}, start=midnight + hour * 3600 * 10**9) for hour in (1, 2, 30)]
    services.traces.ingest_otlp(key, project.id, request(*spans))
    index_all(services.context)
    monkeypatch.setattr(facets, "EDGE", 0)
    since = datetime.fromtimestamp(midnight / 1e9, UTC) + timedelta(hours=2)
    with services.context.database.session() as session:
        found = facets_within(session, project.id, TraceFilter(since=since))
    assert (found.values["model"], found.exact) == ([("m", 3)], False)


def test_traces_from_before_there_were_counts_are_counted_at_the_first_assembly(
    services: Services, project: Project, key: Actor
) -> None:
    services.traces.ingest_otlp(key, project.id, request(span({"workbench.model": "m", "workbench.tags": ["t"]})))
    index_all(services.context)
    with services.context.database.ingesting.begin() as connection:
        connection.execute(TraceFacet.__table__.delete())  # type: ignore[attr-defined]
    services.context.extras.clear()
    with services.context.database.session() as session:
        assert dict(facets.facets(session, project.id)["model"]) == {"m": 1}  # even before that
    services.traces.ingest_otlp(key, project.id, request(span({"workbench.model": "m"})))
    index_all(services.context)
    with services.context.database.session() as session:
        assert {name: count for (_, name, _), count in _kept(session, project.id).items() if name in ("model", "tag")} == {
            "model": 2,
            "tag": 1,
        }
