"""Saved views: whose they are, who may change them, and that a link or a default opens them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import select
from streamlit.testing.v1 import AppTest

from tests.pages import shower
from tests.traces.factories import request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from workbench.core.recording import TraceOutbox
from workbench.identity.models import Project
from workbench.traces import saved_views
from workbench.traces.indexer import index_all
from workbench.ui import guard, trace_filters

PAGE = Path(__file__).parents[2] / "pages" / "traces.py"


def _names(services: Services, project: Project, person: Actor) -> list[str]:
    with services.context.database.session() as session:
        return [one.name for one in saved_views.list_views(session, project.id, person.id)]


def test_a_view_is_seen_by_its_owner_and_by_others_once_it_is_shared(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    eve, bob = someone(Role.EXPERT, name="Eve"), someone(Role.ANNOTATOR, name="Bob")
    view_id = services.saved_views.save(eve, project.id, " Low  ratings ", {"rating_max": "2", "after": "x", "trace": "y"})
    assert (_names(services, project, eve), _names(services, project, bob)) == (["Low ratings"], [])
    with services.context.database.session() as session:
        assert saved_views.find_view(session, project.id, eve.id, view_id).query == {"rating_max": "2"}
        with pytest.raises(NotFound):
            saved_views.find_view(session, project.id, bob.id, view_id)
    services.saved_views.change(eve, view_id, shared=True)
    assert _names(services, project, bob) == ["Low ratings"]


def test_only_the_owner_and_admins_change_a_view(services: Services, project: Project, someone: Callable[..., Actor]) -> None:
    eve, bob, admin = someone(Role.EXPERT), someone(Role.EXPERT), someone(Role.ADMIN)
    private = services.saved_views.save(eve, project.id, "Private", {})
    shared = services.saved_views.save(eve, project.id, "Shared", {}, shared=True)
    for other in (bob, admin):
        with pytest.raises(NotFound):
            services.saved_views.change(other, private, name="Taken")
    with pytest.raises(NotAllowed):
        services.saved_views.change(bob, shared, name="Taken")
    with pytest.raises(NotAllowed):
        services.saved_views.delete(bob, shared)
    services.saved_views.change(admin, shared, name="Tidied")
    services.saved_views.delete(admin, shared)
    services.saved_views.delete(admin, shared)
    assert _names(services, project, eve) == ["Private"]


def test_saving_twice_keeps_one_and_a_taken_name_is_refused(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    eve = someone(Role.EXPERT)
    first = services.saved_views.save(eve, project.id, "A", {"model": ["m"]}, command_id="c")
    assert services.saved_views.save(eve, project.id, "A", {"model": ["m"]}, command_id="c") == first
    with pytest.raises(Conflict):
        services.saved_views.save(eve, project.id, "a", {})
    second = services.saved_views.save(eve, project.id, "B", {})
    with pytest.raises(Conflict):
        services.saved_views.change(eve, second, name="A")
    services.saved_views.save(someone(Role.EXPERT), project.id, "A", {})


@pytest.mark.parametrize(
    ("name", "query"), [("", {}), ("x" * 81, {}), ("ok", {"q": "x" * 30_000}), ("ok", {"Q;": "x"}), ("ok", {"q": [1]})]
)
def test_what_cannot_be_a_view_is_refused(
    services: Services, project: Project, someone: Callable[..., Actor], name: str, query: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput):
        services.saved_views.save(someone(Role.EXPERT), project.id, name, query)  # type: ignore[arg-type]


def test_the_ledger_learns_of_a_view_but_not_what_it_filters(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    eve = someone(Role.EXPERT)
    view_id = services.saved_views.save(eve, project.id, "About Ann Example", {"user": "ann-example", "q": "iban"})
    services.saved_views.change(eve, view_id, query={"user": "bob"})
    services.saved_views.begin_with(eve, project.id, view_id)
    services.saved_views.delete(eve, view_id)
    with services.context.database.session() as session:
        events = session.exec(select(TraceOutbox)).all()
        assert saved_views.default_view(session, project.id, eve.id) is None
    kinds = [event.type for event in events]
    assert kinds == ["traces.view_saved", "traces.view_changed", "traces.default_view_chosen", "traces.view_deleted"]
    said = " ".join(str(event.model_dump()) for event in events).casefold()
    assert not [word for word in ("ann-example", "about ann", "iban") if word in said]


def test_nobody_begins_with_a_view_that_is_no_longer_shared(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    eve, bob = someone(Role.EXPERT), someone(Role.EXPERT)
    view_id = services.saved_views.save(eve, project.id, "A", {}, shared=True)
    for person in (eve, bob):
        services.saved_views.begin_with(person, project.id, view_id)
    services.saved_views.change(eve, view_id, shared=False)
    with services.context.database.session() as session:
        assert saved_views.default_view(session, project.id, bob.id) is None
        assert saved_views.default_view(session, project.id, eve.id) is not None


def test_a_view_survives_its_address() -> None:
    view = trace_filters.read({"model": ["m"], "sort": "slowest", "view": "0" * 32})
    assert trace_filters.write(view) == {"view": "0" * 32, "period": "90d", "sort": "slowest", "model": ["m"]}
    assert trace_filters.read(trace_filters.write(replace(view, saved=None))).saved is None
    assert trace_filters.read({"view": "coverage"}).saved is None


@pytest.fixture
def show(services: Services, project: Project, key: Actor, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    start = int(now().timestamp() * 1e9)
    spans = [span({"workbench.input": f"q{n}", "workbench.model": f"m{n % 2}"}, start=start) for n in range(3)]
    services.traces.ingest_otlp(key, project.id, request(*spans))
    index_all(services.context)
    monkeypatch.setattr(guard, "services", lambda: services)
    return shower(services, project, monkeypatch, PAGE)


def _text(page: AppTest) -> str:
    return " ".join(str(one.value) for kind in (page.markdown, page.caption, page.error) for one in kind)


def test_a_link_opens_a_shared_view_and_says_when_it_was_changed(
    services: Services, project: Project, someone: Callable[..., Actor], show: Callable[..., AppTest]
) -> None:
    view_id = services.saved_views.save(someone(Role.EXPERT), project.id, "Model *0*", {"model": ["m0"]}, shared=True)
    page = show(someone(Role.ANNOTATOR), view=view_id)
    assert "2 traces" in _text(page)
    assert page.query_params["model"] == "m0"
    page.multiselect(key="traces_model").set_value(["m1"]).run()
    assert page.query_params["view"] == view_id
    assert "1 trace" in _text(page)
    page.button(key="traces_view_reset").click().run()
    assert "2 traces" in _text(page)
    page.multiselect(key="traces_model").set_value([]).run()
    assert "3 traces" in _text(page)


def test_a_person_begins_with_their_default_view_until_they_clear_it(
    services: Services, project: Project, someone: Callable[..., Actor], show: Callable[..., AppTest]
) -> None:
    eve = someone(Role.EXPERT)
    view_id = services.saved_views.save(eve, project.id, "Zero", {"model": ["m0"]})
    services.saved_views.begin_with(eve, project.id, view_id)
    page = show(eve)
    assert "2 traces" in _text(page)
    page.button(key="traces_clear").click().run()
    assert "3 traces" in _text(page)
    page.run()
    assert "3 traces" in _text(page)


def test_a_link_to_a_view_that_is_not_theirs_says_so_and_shows_the_list(
    services: Services, project: Project, someone: Callable[..., Actor], show: Callable[..., AppTest]
) -> None:
    view_id = services.saved_views.save(someone(Role.EXPERT), project.id, "Mine", {"model": ["m0"]})
    text = _text(show(someone(Role.ANNOTATOR), view=view_id))
    assert "no such view" in text
    assert "3 traces" in text
