"""The Knowledge page without a browser: correcting an entry, and what happens when two do it at once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages import Show, shower
from tests.serving.fakes import FakeRuntime
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.identity.models import Project
from workbench.knowledge import queries
from workbench.knowledge.content import EntryContent
from workbench.knowledge.models import RiskTier
from workbench.knowledge.service import Edited

PAGE = Path(__file__).parents[2] / "pages" / "knowledge.py"
People = Callable[..., Actor]
FEE = EntryContent(title="FlexPay late fee", text="A late FlexPay payment costs 5 dollars.", source="Fee schedule")


@pytest.fixture
def show(services: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> Show:
    services.context.extras["runtime_client"] = FakeRuntime(services.context.database)
    return shower(services, project, monkeypatch, PAGE)


def words(page: AppTest) -> str:
    """Everything the page says."""
    html = [str(element.proto.body) for element in page.get("html")]
    return " ".join(
        [
            *html,
            *(
                e.value
                for kind in (page.markdown, page.caption, page.success, page.error, page.info, page.warning)
                for e in kind
            ),
        ]
    )


def field(page: AppTest, label: str) -> object:
    return next(item for item in [*page.text_area, *page.text_input] if item.label == label)


def press(page: AppTest, label: str) -> AppTest:
    button = next(item for item in page.button if item.label == label)
    page = button.click().run()
    assert not page.exception
    return page


def live_text(services: Services, project: Project, key: str) -> str | None:
    with services.context.database.session() as session:
        status = queries.status_of(session, queries.entry_by_key(session, project.id, key))
    return status.live.text if status.live else None


def add(services: Services, project: Project, expert: Actor, key: str = "late-fee", content: EntryContent = FEE) -> Edited:
    return services.knowledge.create(expert, project.id, key=key, content=content)


def test_an_empty_page_says_what_to_do(show: Show, someone: People) -> None:
    assert "Add an entry, or import" in words(show(someone(Role.EXPERT)))


def test_an_expert_corrects_an_entry_and_it_is_live_and_can_be_undone(
    show: Show, services: Services, project: Project, someone: People
) -> None:
    expert = someone(Role.EXPERT, name="Eve")
    add(services, project, expert)
    page = press(show(expert, entry="late-fee"), "Edit")
    field(page, "Text").set_value("A late FlexPay payment costs 7 dollars.")
    page = press(page, "Save")
    assert "Version 2 is live since" in words(page)
    assert live_text(services, project, "late-fee") == "A late FlexPay payment costs 7 dollars."
    page = press(page, "Undo my change")
    assert live_text(services, project, "late-fee") == FEE.text
    page = press(page, "Edit")
    field(page, "Text").set_value("A late FlexPay payment costs 7 dollars.")
    press(page, "Save")
    assert live_text(services, project, "late-fee") == "A late FlexPay payment costs 7 dollars."


def test_an_edit_beside_somebody_elses_keeps_the_text_and_shows_both(
    show: Show, services: Services, project: Project, someone: People
) -> None:
    ann, bob = someone(Role.EXPERT, name="Ann"), someone(Role.EXPERT, name="Bob")
    made = add(services, project, ann)
    page = press(show(ann, entry="late-fee"), "Edit")
    field(page, "Text").set_value("It costs 6 dollars.")
    services.knowledge.edit(
        bob, made.entry.id, base_version_id=made.version.id, content=replace(FEE, text="It costs 7 dollars.")
    )
    page = press(page, "Save")
    assert "Bob saved version 2 while you were writing" in words(page)
    assert field(page, "Text").value == "It costs 6 dollars."
    assert live_text(services, project, "late-fee") == "It costs 7 dollars."
    page = press(page, "Save mine on top")
    assert live_text(services, project, "late-fee") == "It costs 6 dollars."
    assert "Version 3 is live" in words(page)


def test_a_high_risk_entry_waits_and_a_second_expert_certifies_it(
    show: Show, services: Services, project: Project, someone: People
) -> None:
    add(services, project, someone(Role.EXPERT, name="Ann"), content=replace(FEE, risk_tier=RiskTier.HIGH))
    page = show(someone(Role.EXPERT), entry="late-fee")
    assert "Version 1 is a draft by Ann and waits for an expert" in words(page)
    press(page, "Certify and make live")
    assert live_text(services, project, "late-fee") == FEE.text


def test_retiring_without_a_reason_is_refused_and_with_one_is_done(
    show: Show, services: Services, project: Project, someone: People
) -> None:
    expert = someone(Role.EXPERT)
    add(services, project, expert)
    page = press(show(expert, entry="late-fee"), "Retire this entry")
    assert "needs a reason" in words(page)
    field(page, "Why").set_value("Product ended")
    page = press(page, "Retire this entry")
    assert live_text(services, project, "late-fee") is None
    assert "nobody gets answers from it" in words(page)


def test_a_new_entry_is_prefilled_from_the_address_and_gets_a_key(
    show: Show, services: Services, project: Project, someone: People
) -> None:
    page = show(someone(Role.EXPERT), new="1", title="FlexPay 2.0 fees")
    assert field(page, "Title").value == "FlexPay 2.0 fees"
    field(page, "Text").set_value("Three instalments are free.")
    page = press(page, "Add entry")
    assert page.query_params["entry"] in ("flexpay-2.0-fees", ["flexpay-2.0-fees"])
    assert live_text(services, project, "flexpay-2.0-fees") == "Three instalments are free."


def test_a_reader_sees_the_entry_but_no_way_to_change_it(
    show: Show, services: Services, project: Project, someone: People
) -> None:
    add(services, project, someone(Role.EXPERT, name="Eve"))
    page = show(someone(Role.AUDITOR), entry="late-fee")
    assert "certified by Eve until" in words(page)
    labels = {item.label for item in page.button}
    assert not labels & {"Edit", "Certify and make live", "Retire this entry", "New entry", "Undo my change"}


def test_search_and_filters_narrow_the_list(show: Show, services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    add(services, project, expert)
    add(
        services, project, expert, key="hours", content=EntryContent(title="Opening hours", text="Nine to five.", language="es")
    )
    page = show(expert)
    page.text_input(key="knowledge_search").set_value("dollars").run()
    assert "1 of 2 entries" in words(page)
    page.text_input(key="knowledge_search").set_value("").run()
    page.selectbox(key="knowledge_language").set_value("es").run()
    assert "1 of 2 entries" in words(page)


def test_text_of_an_entry_is_never_markup(show: Show, services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    evil = EntryContent(title="![x](https://evil.example/x.png)", text="<img src=https://evil.example/y.png> **b**")
    add(services, project, expert, key="evil", content=evil)
    page = show(expert, entry="evil")
    assert "<img" not in " ".join(str(element.proto.body) for element in page.get("html"))
    assert not any("![x](https" in item.label for item in page.button)
    assert not any("![x](https" in item.value for item in [*page.subheader, *page.markdown])


def test_asking_shows_what_is_found_and_the_span_that_answers(
    show: Show, services: Services, project: Project, someone: People
) -> None:
    expert = someone(Role.EXPERT)
    add(services, project, expert)
    page = show(expert)
    page.segmented_control(key="knowledge_view").set_value("Ask it").run()
    field(page, "Question").set_value("What does a late FlexPay payment cost?")
    page = press(page, "Ask")
    assert "A late FlexPay payment costs 5 dollars. [late-fee]" in words(page)
    assert "From corpus commit 1" in words(page)


@pytest.mark.parametrize("view", ["History", "Checks", "Import and export"])
def test_the_other_views_open(show: Show, services: Services, project: Project, someone: People, view: str) -> None:
    expert = someone(Role.EXPERT)
    add(services, project, expert)
    page = show(expert)
    page.segmented_control(key="knowledge_view").set_value(view).run()
    assert not page.exception
    assert {"History": "Commit 1", "Checks": "None found", "Import and export": "The live versions of 1 entry"}[view] in (
        words(page) + " ".join(item.label for item in page.expander)
    )
