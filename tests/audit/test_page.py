"""The audit page, with its data functions and widgets but without a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from workbench.audit.sealer import Sealer
from workbench.bootstrap import Services
from workbench.core.actors import Actor, ActorKind, Grant, Role
from workbench.identity.models import Project
from workbench.ui import guard

PAGE = Path(__file__).parents[2] / "pages" / "audit.py"


@pytest.fixture
def bank(services: Services, project: Project) -> Iterator[Services]:
    """A home with three acts of an expert beside those of its making, all sealed, and the sealer in this process."""
    expert = Actor("person-eva", "Eva Expert", ActorKind.PERSON)
    for number in range(3):
        with services.context.unit_of_work(expert) as work:
            work.record(
                "knowledge.certified",
                subject=("knowledge_version", f"version-{number}"),
                project_id=project.id,
                reason=f"Checked <b>sheet {number}</b> ![x](http://elsewhere.example/x.png)",
                key=f"entry-{number}",
                old="a",
                new="b",
            )
    sealer = Sealer(services.context)
    services.context.extras["sealer"] = sealer
    sealer.start()
    deadline = time.monotonic() + 20
    while sealer.outbox.waiting()[0]:
        assert time.monotonic() < deadline, sealer.status
        time.sleep(0.02)
    yield services
    sealer.stop()


def shown(services: Services, project: Project, actor: Actor, monkeypatch: pytest.MonkeyPatch, **address: str) -> AppTest:
    monkeypatch.setattr(guard, "visit", lambda: guard.Visit(services, actor, project, (project,)))
    page = AppTest.from_file(str(PAGE), default_timeout=30)
    for name, value in address.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def auditor(project: Project | None = None) -> Actor:
    grant = Grant(Role.AUDITOR, project.id if project else None)
    return Actor("person-aude", "Aude Auditor", ActorKind.PERSON, frozenset({grant}))


def test_every_event_is_listed_newest_first(bank: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shown(bank, project, auditor(), monkeypatch)
    rows = page.dataframe[0].value
    assert list(rows["What happened"][:2]) == [
        "Eva Expert certified knowledge entry “entry-2”: a → b",
        "Eva Expert certified knowledge entry “entry-1”: a → b",
    ]
    assert rows["No."].is_monotonic_decreasing


def test_the_address_filters_the_list(bank: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shown(bank, project, auditor(), monkeypatch, text="sheet 1", act="knowledge")
    assert len(page.dataframe[0].value) == 1
    assert page.text_input(key="audit_text").value == "sheet 1"


def test_a_filter_that_is_chosen_goes_into_the_address(
    bank: Services, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(bank, project, auditor(), monkeypatch, event="1")
    page.selectbox(key="audit_person").select("person-eva").run()
    assert not page.exception
    assert page.query_params["person"] in ("person-eva", ["person-eva"])
    assert "event" not in page.query_params
    assert len(page.dataframe[0].value) == 3
    page.button(key="audit_clear").click().run()
    assert "person" not in page.query_params


def test_an_opened_event_tells_who_what_when_why_and_where_it_is_proven(
    bank: Services, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = bank.audit.queries.size()
    page = shown(bank, project, auditor(), monkeypatch, event=str(newest))
    event = bank.audit.queries.event(auditor(), newest)
    text = " ".join(block.proto.body for block in page.get("html"))
    for expected in ("Eva Expert", "UTC", event.event_id, event.leaf.hex(), event.prev_hash, "version-2"):
        assert expected in text
    assert "<b>" not in text, "a reason is never HTML"
    assert "&lt;b&gt;sheet 2" in text


def test_an_event_that_does_not_exist_is_said_so(bank: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shown(bank, project, auditor(), monkeypatch, event="999999", before="not a number")
    assert "no event 999,999" in page.error[0].value.replace("\\", "")


def test_verify_now_says_what_it_walked(bank: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shown(bank, project, auditor(), monkeypatch)
    page.button(key="audit_verify").click().run()
    assert f"{bank.audit.queries.size()} events in an unbroken chain" in page.success[0].value.replace("\\", "")


def test_a_project_auditor_is_not_offered_the_whole_ledger(
    bank: Services, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(bank, project, auditor(project), monkeypatch)
    assert not [button for button in page.button if button.key == "audit_export_prepare"]


def test_who_may_not_read_the_ledger_is_told_who_may(
    bank: Services, project: Project, someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(bank, project, someone(Role.ANNOTATOR), monkeypatch)
    assert not page.dataframe
    assert "auditors, reviewers and admins" in page.markdown[0].value.replace("\\", "")
