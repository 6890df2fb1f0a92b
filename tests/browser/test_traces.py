"""Traces in Chromium: tens of thousands of spans, and text that tries to be a script."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.annotation.factories import make_queue
from tests.browser.walking import chromium, free_ports, wait_for
from tests.datasets.factories import annotated, answer
from tests.datasets.test_versions import build
from tests.golden.factories import triage_row
from tests.traces.factories import agent_trace, request, span
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Actor, ActorKind, Role
from workbench.core.settings import REPOSITORY, Settings
from workbench.identity.models import Project
from workbench.identity.policy import SCOPE_PERMISSIONS
from workbench.identity.service import actor_of_person, local_administrator
from workbench.traces import clusters
from workbench.traces.indexer import index_all

pytestmark = pytest.mark.browser
PASSWORD = "a long password"
EVIL = (
    '<script>window.__owned=1</script><img src=x onerror="window.__owned=1"> ![p](http://192.0.2.1/p.png) '
    "[c](javascript:window.__owned=1) </style></textarea><svg onload=window.__owned=1> <b>bold</b> "
    "\x1b[31mred\x1b[0m \u202etxet\u202c {{ 7*7 }} $\\href{javascript:window.__owned=1}{x}$"
)
SPANS = 30_000
ROOTS = """(() => {
  const roots = [document];
  for (const root of roots)
    for (const one of root.querySelectorAll("*")) if (one.shadowRoot) roots.push(one.shadowRoot);
  return roots;
})()"""
"""The document and every shadow root in it, as JavaScript."""


@dataclass
class Place:
    """A home with hostile traces, and the pages that serve it."""

    services: Services
    project: Project
    person: Actor
    url: str
    hostile: str = ""
    item: str = ""
    dataset: str = ""
    foreign: list[str] = field(default_factory=list)
    """Requests that left for another host."""

    @property
    def key(self) -> Actor:
        return Actor("key:1", "key", ActorKind.KEY, permissions=SCOPE_PERMISSIONS["ingest"], project_id=self.project.id)

    def send(self, *spans: dict[str, object]) -> None:
        for start in range(0, len(spans), 5000):
            self.services.traces.ingest_otlp(self.key, self.project.id, request(*spans[start : start + 5000]))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home: Path = tmp_path_factory.mktemp("traces") / "home"
    services = bootstrap(settings=Settings(home=home))
    services.context.database.create_all()
    admin = local_administrator()
    teams = [{"key": "cards", "name": "Cards"}, {"key": "loans", "name": "Loans"}]
    project = services.identity.add_project(admin, key="bank", name="Bank", teams=teams, languages=["en"])
    ana = services.identity.add_person(admin, email="ana@example.org", name="Ana", password=PASSWORD)
    for role in (Role.ANNOTATOR, Role.EXPERT, Role.ENGINEER, Role.REVIEWER):
        services.identity.grant(admin, ana.id, role, project.id)
    with services.context.database.session() as session:
        person = actor_of_person(session, ana.id)
    port = free_ports()
    made = Place(services, project, person, f"http://127.0.0.1:{port}")
    _plant(made)
    with (home.parent / "web.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "workbench/app/asgi.py", f"--server.port={port}",
             "--server.address=127.0.0.1"],
            cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "WORKBENCH_HOME": str(home)},
        )  # fmt: skip
    try:
        wait_for(lambda: _answers(made.url), 90, what="the pages")
        yield made
    finally:
        process.terminate()
        process.wait(30)
        services.context.database.dispose()


@pytest.fixture(scope="module")
def page(place: Place) -> Iterator[Page]:
    with chromium() as browser:
        yield _signed_in(browser, place)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_stcore/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _signed_in(browser: Browser, place: Place) -> Page:
    page = browser.new_context(base_url=place.url, viewport={"width": 1400, "height": 900}).new_page()
    page.set_default_timeout(40_000)
    page.on("request", lambda sent: place.foreign.append(sent.url) if _is_foreign(sent.url, place.url) else None)
    page.goto("/auth/sign-in?next=/traces")
    page.fill("input[name=email]", "ana@example.org")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("#list .row")
    return page


def _is_foreign(address: str, own: str) -> bool:
    return not address.startswith((own, own.replace("http", "ws", 1), "data:", "blob:", "about:"))


def _plant(place: Place) -> None:
    """A trace with hostile text in every field, and what is made from traces on other pages."""
    place.hostile, root = secrets.token_hex(16), secrets.token_hex(8)
    begun = int((time.time() - 3600) * 1e9)
    asked = [{"role": "system", "content": EVIL}, {"role": "user", "content": EVIL}]
    asked.append(
        {"role": "assistant", "content": f"step {EVIL}", "tool_calls": [{"id": EVIL, "name": EVIL, "arguments": EVIL}]}
    )
    turn = {
        "workbench.name": EVIL, "workbench.input": EVIL, "workbench.output": f"{EVIL} [{EVIL[:60]}]",
        "workbench.session_id": EVIL, "workbench.user_id": EVIL, "workbench.release": EVIL, "workbench.prompt_version": EVIL,
        "workbench.corpus_commit": EVIL, "workbench.environment": EVIL, "workbench.intent": EVIL, "workbench.provider": EVIL,
        "workbench.triage.label": EVIL, "workbench.language": EVIL, "workbench.tags": [EVIL], "workbench.written": EVIL,
        "workbench.guard": [{"rule": EVIL, "action": EVIL, "detail": EVIL}], "workbench.cost": "0.01",
        "workbench.currency": EVIL,
        EVIL: EVIL, "constructor": EVIL, "__proto__": EVIL,
    }  # fmt: skip
    documents = [{"id": EVIL[:150], "title": EVIL, "content": EVIL, "version": EVIL[:150], "score": 0.5, "cited": EVIL[:30]}]
    tool = {
        "workbench.kind": "tool", "workbench.tool.name": EVIL, "workbench.tool.call_id": EVIL, "workbench.tool.arguments": EVIL,
        "workbench.tool.result": {EVIL: EVIL}, "workbench.tool.receipt": EVIL,
    }  # fmt: skip
    chat = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": EVIL, "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": EVIL}]),
    }  # fmt: skip
    common = {"trace_id": place.hostile, "parent": root, "start": begun + 10}
    place.send(
        span(turn, trace_id=place.hostile, span_id=root, name=EVIL, start=begun, error=EVIL, events=[(EVIL, {EVIL: EVIL})]),
        span({"workbench.kind": "retriever", "workbench.documents": documents}, name=EVIL, **common),  # type: ignore[arg-type]
        span(tool, name=EVIL, error=EVIL, **common),  # type: ignore[arg-type]
        span(chat, name=EVIL, **common),  # type: ignore[arg-type]
    )
    for kind in ("comment", "correction"):
        place.services.traces.add_feedback(
            place.key, place.project.id, trace_id=place.hostile, name=EVIL[:60], kind=kind, value=EVIL, user_id=EVIL[:60]
        )
    index_all(place.services.context)
    place.services.traces.tag(place.person, place.project.id, [place.hostile], EVIL[:60])
    _queue, (item,) = make_queue(place.services, place.project, [place.hostile], guidelines=EVIL)
    place.item = item.id
    annotated(place.services, place.project, place.person)
    _other, (done,) = make_queue(place.services, place.project, [place.hostile])
    answer(place.services, place.person, done, {"rating": 2, "triage": "cards", "rewrite": EVIL})
    place.dataset = build(place.services, place.project, place.person).id
    place.services.golden.import_jsonl(
        place.person, place.project.id, name="gold", task="triage", data=json.dumps(triage_row("Something else entirely"))
    )


def _settled(page: Page) -> None:
    page.wait_for_selector('[data-testid="stAppViewContainer"]')
    page.wait_for_function(
        "() => !document.querySelector('[data-testid=stStatusWidget]') && !document.querySelector('[data-stale=true]') && "
        "!document.querySelector('[data-testid=stSkeleton]')"
    )
    page.wait_for_timeout(300)


def _stays_text(page: Page, place: Place) -> None:
    """Nothing ran, nothing became an element, nothing was asked of another host, no page failed."""
    _settled(page)
    assert page.evaluate("window.__owned") is None
    assert place.foreign == []
    made = page.evaluate(
        """() => {
          const roots = ROOTS;
          const of = (selector) => roots.flatMap((root) => [...root.querySelectorAll(selector)]);
          return [
            ...of('img[src="x"], [onerror], [onload], img[src*="192.0.2.1"], a[href^="javascript:"]'),
            ...of("b").filter((one) => one.textContent === "bold"),
            ...of("script").filter((one) => one.textContent.includes("__owned")),
          ].map((one) => one.outerHTML.slice(0, 200));
        }""".replace("ROOTS", ROOTS)
    )
    assert made == []
    assert page.locator("[data-testid=stException], [data-testid=stAlertContentError]").all_inner_texts() == []


def test_hostile_text_stays_text_in_the_list_and_its_filters(place: Place, page: Page) -> None:
    page.goto("/traces?period=all")
    expect(page.locator("#list .row", has_text="<script>window.__owned=1</script>").first).to_be_visible()
    _stays_text(page, place)
    page.locator(".st-key-traces_model input").first.click()
    expect(page.get_by_role("option", name="<script>").first).to_be_visible()
    _stays_text(page, place)
    page.keyboard.press("Escape")
    page.goto("/traces?period=all&q=owned&session=%3Cscript%3E&model=%3Cimg%20src%3Dx%20onerror%3D%22window.__owned%3D1%22%3E")
    _stays_text(page, place)


def test_hostile_text_stays_text_in_the_trace_its_spans_and_its_raw_form(place: Place, page: Page) -> None:
    page.goto(f"/traces?period=all&trace={place.hostile}")
    expect(page.locator("#view .turn.current .assistant")).to_contain_text("<script>window.__owned=1</script>")
    page.evaluate(
        """() => {
          const roots = ROOTS;
          for (const root of roots) for (const one of root.querySelectorAll("#view details")) one.open = true;
        }""".replace("ROOTS", ROOTS)
    )
    _stays_text(page, place)
    page.locator(".st-key-trace_tags button").first.click()
    _stays_text(page, place)
    page.keyboard.press("Escape")
    page.locator(".st-key-trace_spans summary").click()
    expect(page.locator("#spans .span")).to_have_count(4)
    page.locator("#spans .span").first.click()
    expect(page.locator(".st-key-trace_span")).to_contain_text("<script>window.__owned=1</script>")
    page.locator(".st-key-trace_span_json summary").click()
    _stays_text(page, place)
    page.locator(".st-key-trace_raw summary").click()
    expect(page.locator(".st-key-trace_download button")).to_be_visible()
    _stays_text(page, place)


def test_hostile_text_stays_text_on_the_pages_that_work_with_traces(place: Place, page: Page) -> None:
    page.goto(f"/annotate?item={place.item}")
    expect(page.locator(".turn.reviewed .text")).to_contain_text("<script>window.__owned=1</script>")
    _stays_text(page, place)
    for address in ("/", f"/datasets?dataset={place.dataset}", f"/compare?trace={place.hostile}", "/audit", "/monitor"):
        page.goto(address)
        _stays_text(page, place)
    page.goto(f"/traces?period=all&trace={place.hostile}")
    page.locator(".st-key-trace_replay_open_button button").click()
    _stays_text(page, place)
    page.goto("/knowledge?new=1&title=%3Cimg%20src%3Dx%20onerror%3D%22window.__owned%3D1%22%3E&text=%3Cscript%3E&entry=%3Cb%3E")
    _stays_text(page, place)


def test_hostile_text_stays_text_in_sessions_users_topics_and_what_comes_in(place: Place, page: Page) -> None:
    hostile = page.locator("a.row", has_text="<script>").first
    for view, back in (("sessions", "session_back"), ("users", "user_back")):
        page.goto(f"/traces?period=all&view={view}")
        expect(hostile).to_be_visible()
        _stays_text(page, place)
        hostile.click()
        expect(page.locator(f".st-key-{back}")).to_be_visible()
        expect(page.get_by_text("<script>window.__owned=1</script>").first).to_be_visible()
        _stays_text(page, place)
    one = clusters.Found([EVIL], [place.hostile], [])
    place.services.clusters.keep(None, place.project.id, [one], traces=1, left_out=0)
    for address in ("/traces?view=clusters", "/"):
        page.goto(address)
        expect(page.get_by_text("<script>window.__owned=1</script>").first).to_be_visible()
        _stays_text(page, place)
    page.goto("/traces?view=coverage")  # names of attributes are drawn on a canvas there
    expect(page.get_by_text("Rejected", exact=True).first).to_be_visible()
    _stays_text(page, place)


def test_a_trace_of_thirty_thousand_spans_opens_folds_and_is_searched(place: Place, page: Page) -> None:
    trace_id = secrets.token_hex(16)
    place.send(*agent_trace(trace_id, SPANS, start=int((time.time() - 600) * 1e9)))
    index_all(place.services.context)
    page.goto(f"/traces?period=all&trace={trace_id}")
    page.wait_for_selector("#view .turn.current")
    page.locator(".st-key-trace_spans summary").click()
    page.wait_for_selector("#spans .bar")
    rows = page.locator("#spans .span")
    expect(page.locator("#spans .count")).to_have_text("30,000 spans")
    assert 0 < rows.count() < 200
    expect(rows.first).to_contain_text("agent")
    page.locator("#spans .scroll").evaluate("one => { one.scrollTop = one.scrollHeight }")
    page.wait_for_timeout(200)
    assert 0 < rows.count() < 200
    page.locator("#spans .levels").select_option("2")
    expect(page.locator("#spans .count")).to_have_text("3,001 of 30,000 shown")
    page.locator("#spans .levels").select_option("")
    page.locator("#spans .scroll").focus()
    page.keyboard.press("Home")
    page.keyboard.press("e")
    expect(page.locator("#spans .span.picked")).to_have_class("span failed picked at")
    expect(page.locator(".st-key-trace_span")).to_contain_text("account is locked")
    page.locator("#spans .search").fill("account 12345 ")
    page.locator("#spans .search").press("Enter")
    expect(page.locator("#spans .count")).to_have_text("1 of 30,000 match, attributes too")
    expect(rows).to_have_count(3)  # the match, and what it stands under
