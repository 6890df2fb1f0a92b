"""The annotation card as a person uses it, in Chromium."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlmodel import select

from tests.annotation.factories import make_queue, make_trace
from tests.browser.walking import chromium, free_ports, wait_for
from workbench.annotation.models import QueueItem, Response
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Role
from workbench.core.settings import REPOSITORY, Settings
from workbench.identity.models import Project
from workbench.identity.service import local_administrator

pytestmark = pytest.mark.browser
PASSWORD = "a long password"
expect.set_options(timeout=30_000)
HOSTILE = "<img src=x onerror=\"document.title='broken'\"> ![pixel](http://192.0.2.1/p.png) **bold** </textarea>"


@dataclass
class Place:
    """A home with a project, and the pages that serve it."""

    services: Services
    project: Project
    url: str

    def add_queue(self, count: int, *, output: str = "The fee is unknown.") -> str:
        numbers = range(self.used + 1, self.used + 1 + count)
        self.used += count
        traces = [make_trace(self.services, self.project, number, output=output) for number in numbers]
        return make_queue(self.services, self.project, traces)[0].id

    used: int = 0

    def acts(self, queue_id: str) -> list[Response]:
        """Everything in the queue's history but drafts, oldest first."""
        with self.services.context.database.session() as session:
            rows = session.exec(select(Response).where(Response.queue_id == queue_id).order_by(Response.id))  # type: ignore[arg-type]
            return [row for row in rows if row.status != "draft"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home: Path = tmp_path_factory.mktemp("card") / "home"
    services = bootstrap(settings=Settings(home=home))
    services.context.database.create_all()
    admin = local_administrator()
    teams = [{"key": "cards", "name": "Cards"}, {"key": "loans", "name": "Loans"}]
    project = services.identity.add_project(admin, key="bank", name="Bank", teams=teams, languages=["en"])
    for name in ("ana", "ben"):
        person = services.identity.add_person(admin, email=f"{name}@example.org", name=name.title(), password=PASSWORD)
        services.identity.grant(admin, person.id, Role.ANNOTATOR, project.id)
    port = free_ports()
    with (home.parent / "web.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "workbench/app/asgi.py", f"--server.port={port}",
             "--server.address=127.0.0.1"],
            cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "WORKBENCH_HOME": str(home)},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(url), 90, what="the pages")
        yield Place(services, project, url)
    finally:
        process.terminate()
        process.wait(30)
        services.context.database.dispose()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_stcore/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def open_queue(browser: Browser, place: Place, queue_id: str, who: str = "ana") -> Page:
    page = browser.new_context(base_url=place.url, viewport={"width": 1400, "height": 900}).new_page()
    page.set_default_timeout(40_000)
    page.goto(f"/auth/sign-in?next=/annotate%3Fqueue%3D{queue_id}")
    page.fill("input[name=email]", f"{who}@example.org")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("#card .option")
    return page


def test_twenty_items_answered_by_keyboard_without_a_pause_are_twenty_submissions(place: Place, browser: Browser) -> None:
    queue_id = place.add_queue(20)
    page = open_queue(browser, place, queue_id)
    for number in range(20):
        page.keyboard.press("4")
        page.keyboard.press("a" if number % 2 else "l")
        page.keyboard.press("Control+Enter")
    expect(page.locator("#done")).to_be_visible(timeout=90_000)
    expect(page.locator("#done-title")).to_have_text("The queue is done.")
    acts = place.acts(queue_id)
    assert [act.status for act in acts] == ["submitted"] * 20
    assert len({act.item_id for act in acts}) == 20
    assert [act.values for act in acts] == [{"rating": 4, "triage": "cards" if n % 2 else "loans"} for n in range(20)]


def test_a_half_typed_rewrite_survives_a_refresh_and_shows_what_changed(place: Place, browser: Browser) -> None:
    queue_id = place.add_queue(2)
    page = open_queue(browser, place, queue_id)
    page.keyboard.press("e")
    expect(page.locator("#text-rewrite")).to_have_value("The fee is unknown.")
    page.locator("#text-rewrite").fill("The fee is three eur")
    page.reload()
    expect(page.locator("#text-rewrite")).to_have_value("The fee is three eur")
    expect(page.locator("#diff del")).to_have_text(["unknown."])
    expect(page.locator("#diff ins")).to_have_text(["three eur"])
    expect(page.locator("#saved")).to_contain_text("Saved")
    with place.services.context.database.session() as session:
        (draft,) = session.exec(select(Response).where(Response.queue_id == queue_id)).all()
    assert (draft.status, draft.values) == ("draft", {"rewrite": "The fee is three eur"})


def test_undo_flag_and_skip_work_from_the_keyboard(place: Place, browser: Browser) -> None:
    queue_id = place.add_queue(3)
    page = open_queue(browser, place, queue_id)
    question = page.locator(".turn.user .text")
    first = question.inner_text()
    page.keyboard.press("2")
    page.keyboard.press("Control+Enter")
    expect(question).not_to_have_text(first)
    page.keyboard.press("u")
    expect(question).to_have_text(first)
    expect(page.locator("input[name=rating][value='2']")).to_be_checked()
    page.keyboard.press("f")
    page.keyboard.type("The question is cut off")
    page.keyboard.press("Enter")
    expect(question).not_to_have_text(first)
    page.keyboard.press("s")
    wait_for(lambda: len(place.acts(queue_id)) == 4, 20)
    acts = place.acts(queue_id)
    assert sorted(act.status for act in acts) == ["discarded", "flagged", "submitted", "withdrawn"]
    assert next(act.reason for act in acts if act.status == "flagged") == "The question is cut off"


def test_what_is_missing_is_said_and_nothing_is_submitted(place: Place, browser: Browser) -> None:
    queue_id = place.add_queue(1)
    page = open_queue(browser, place, queue_id)
    page.keyboard.press("a")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#alert")).to_contain_text("Still open: How good is the answer?")
    assert place.acts(queue_id) == []


def test_text_from_outside_is_shown_as_it_is_and_runs_nothing(place: Place, browser: Browser) -> None:
    page = open_queue(browser, place, place.add_queue(1, output=HOSTILE))
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    expect(page.locator(".turn.reviewed .text")).to_have_text(HOSTILE)
    page.keyboard.press("e")
    page.keyboard.type(" <b>more</b>")
    expect(page.locator("#diff")).to_contain_text("<b>more</b>")
    assert page.locator("#card img, #card b").count() == 0
    assert page.title() != "broken"
    assert not any("192.0.2.1" in url for url in requested)


def test_two_people_see_each_other_and_never_the_same_item(place: Place, browser: Browser) -> None:
    queue_id = place.add_queue(4)
    ana = open_queue(browser, place, queue_id, "ana")
    ben = open_queue(browser, place, queue_id, "ben")
    assert ana.locator(".turn.user .text").inner_text() != ben.locator(".turn.user .text").inner_text()
    expect(ben.locator("#others")).to_have_text("Ana also works here")


def test_asking_the_live_release_says_when_nothing_is_live_and_keeps_what_was_typed(place: Place, browser: Browser) -> None:
    page = open_queue(browser, place, place.add_queue(1))
    page.locator("#text-rewrite").fill("Half a thought")
    page.locator("#ask").click()
    expect(page.locator("#alert")).to_contain_text("Nothing is released yet")
    expect(page.locator("#text-rewrite")).to_have_value("Half a thought")
    expect(page.locator("#saved")).to_contain_text("Saved")


def test_a_suggestion_that_arrives_later_appears_beside_what_was_typed(place: Place, browser: Browser) -> None:
    queue_id = place.add_queue(1)
    page = open_queue(browser, place, queue_id)
    with place.services.context.database.session() as session:
        (item,) = session.exec(select(QueueItem).where(QueueItem.queue_id == queue_id)).all()
    place.services.annotation.suggest(
        local_administrator(), item.id, question="triage", value="loans", agent="Version 2", score=0.8
    )
    page.locator("#text-rewrite").press_sequentially("Words")
    expect(page.locator("#proposed-triage")).to_contain_text("Suggested by Version 2, 80% sure")
    expect(page.locator("#text-rewrite")).to_have_value("Words")
    page.keyboard.press("Escape")
    page.keyboard.press("y")
    expect(page.locator("input[name=triage][value=loans]")).to_be_checked()
