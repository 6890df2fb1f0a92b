"""The whole loop in a browser, on the real models, by the demo people, in one sitting.

One test a step, in order, over one running workbench; a step that fails leaves the later ones nothing to stand on, so they
fail too. Each page's picture is saved to WORKBENCH_PICTURES, or else beside the home.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect
from sqlmodel import select

from tests.browser.walking import Person, RunningWorkbench, chromium, wait_for
from workbench.bootstrap import Services, bootstrap
from workbench.core.clock import now
from workbench.core.jobs import Job, JobState, list_jobs
from workbench.core.settings import REPOSITORY
from workbench.releases.models import Channel

pytestmark = [pytest.mark.browser, pytest.mark.real_model, pytest.mark.timeout(1500)]

QUESTION = "How many instalments can I choose with FlexPay 2.0, and what do they cost?"
CONFUSION = "I am abroad and need chargeback grace to send in my proof"
PASSWORD = "demo-password"
ENTRY: dict[str, Any] = json.loads((REPOSITORY / "data/demo/missing_knowledge.json").read_text(encoding="utf-8"))["entry"]


class Walk:
    """What the steps share."""

    def __init__(self, workbench: RunningWorkbench, browser: Browser, pictures: Path) -> None:
        self.workbench = workbench
        self._browser = browser
        self._pictures = pictures
        self._people: dict[str, Person] = {}
        self.key = ""
        self.dataset = ""
        self.adapter = ""
        self.comparison = ""
        self.release = ""

    def person(self, name: str) -> Person:
        """A signed-in person; the same browser window each time."""
        if name not in self._people:
            self._people[name] = Person(self._browser, self.workbench.url, name, self._pictures)
            self._people[name].sign_in()
        return self._people[name]

    @cached_property
    def services(self) -> Services:
        """Services over the same home, to look at what the pages have done."""
        return bootstrap(self.workbench.home)

    def jobs(self) -> list[Job]:
        """Newest first."""
        with self.services.context.database.session() as session:
            return list_jobs(session)

    def live(self) -> str | None:
        """Id of the release that is live."""
        with self.services.context.database.session() as session:
            channel = session.exec(select(Channel)).first()
        return channel.release_id if channel is not None else None

    def ask(self, question: str, **extra: Any) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.workbench.api}/v1/chat/completions",
            headers={"Authorization": f"Bearer {self.key}"},
            json={"model": "live", "messages": [{"role": "user", "content": question}], **extra},
            timeout=180,
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def triage(self, text: str) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.workbench.api}/v1/triage",
            headers={"Authorization": f"Bearer {self.key}"}, json={"text": text}, timeout=60,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def launch(self, person: Person, button: str) -> str:
        """Click a button that queues a job; returns the job's id."""
        known = {job.id for job in self.jobs()}
        person.click(button)

        def queued() -> list[str]:
            return [job.id for job in self.jobs() if job.id not in known]

        wait_for(queued, 60, what="a new job")
        return queued()[0]

    def job(self, job_id: str) -> Job:
        return next(job for job in self.jobs() if job.id == job_id)

    def ended_well(self, job_id: str, seconds: float) -> Job:
        """Wait until the job has ended, and see that it succeeded."""
        wait_for(lambda: self.job(job_id).status.is_terminal, seconds, what="the end of the job")
        job = self.job(job_id)
        assert job.status is JobState.SUCCEEDED, job.error
        return job


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("walk")
    pictures = Path(os.environ.get("WORKBENCH_PICTURES") or folder / "pictures")
    workbench = RunningWorkbench(folder / "home")
    if models := os.environ.get("WORKBENCH_TEST_MODELS"):  # converted before, to save two minutes while working on a test
        shutil.copytree(models, workbench.home / "models")
    try:
        workbench.start()
        with chromium() as browser:
            yield Walk(workbench, browser, pictures)
    finally:
        workbench.stop()


def test_the_demo_project_is_there_and_its_first_release_goes_live_by_itself(walk: Walk) -> None:
    annotator = walk.person("annotator")
    annotator.visit("/")
    annotator.sees("What waits for you")
    annotator.sees("to annotate")
    wait_for(walk.live, 900, what="version 1 being live")
    shown = walk.workbench.command("release", "show", "--channel", "production", "--json")
    assert json.loads(shown.stdout)["release"]
    engineer = walk.person("engineer")
    engineer.visit("/")
    engineer.sees("The loop")
    engineer.picture("home")


def test_an_admin_makes_a_key_and_the_gateway_does_not_know_the_new_product(walk: Walk) -> None:
    admin = walk.person("admin")
    admin.visit("/admin")
    admin.picture("admin")
    made = walk.workbench.command("keys", "create", "walk", "--scope", "gateway", "--scope", "ingest")
    assert made.returncode == 0, made.stderr
    walk.key = made.stdout.strip()
    answer = walk.ask(QUESTION, workbench={"mode": "evidence"})
    assert ENTRY["key"] not in [c["key"] for c in answer["workbench"]["citations"]]


def test_an_engineer_finds_the_bad_answers_and_sends_one_to_the_queue(walk: Walk) -> None:
    engineer = walk.person("engineer")
    engineer.visit("/traces?q=FlexPay+2.0&max=2")
    engineer.sees("FlexPay 2.0")
    engineer.picture("traces")
    rows = engineer.page.locator("a.row")
    for number in range(rows.count()):
        rows.nth(number).click()
        engineer.settled()
        engineer.sees("Spans")
        engineer.click("trace_send")
        confirm = engineer.page.locator(f"{engineer.key('traces_send_confirm')} button").first
        expect(confirm).to_be_visible()
        if confirm.is_enabled():  # otherwise it waits in the queue already
            break
        engineer.page.keyboard.press("Escape")
        engineer.visit("/traces?q=FlexPay+2.0&max=2")
        expect(rows.first).to_be_visible()
    engineer.click("traces_send_confirm")
    engineer.has_no_failure()
    engineer.page.reload()
    engineer.sees("Spans")
    engineer.picture("trace")


def test_an_engineer_follows_a_conversation_a_user_and_a_topic(walk: Walk) -> None:
    engineer = walk.person("engineer")
    engineer.visit("/traces?view=sessions&period=all")
    engineer.page.locator("a.row", has_text="3 turns").first.click()
    engineer.sees("A conversation from")
    engineer.picture("session")
    engineer.page.locator('a[href*="view=users"]').first.click()
    engineer.sees("The journey of")
    engineer.picture("user")
    engineer.visit("/traces?view=clusters")
    if engineer.page.get_by_text("Show them in the list").count() == 0:  # the runtime groups them every hour
        engineer.click("traces_clusters_ask")
    engineer.sees("about FlexPay", 120)
    engineer.picture("topics")
    engineer.page.get_by_text("Show them in the list").first.click()
    expect(engineer.page.locator("a.row").first).to_contain_text("FlexPay", ignore_case=True)
    engineer.has_no_failure()


def test_an_annotator_rates_labels_and_rewrites_by_keyboard(walk: Walk) -> None:
    annotator = walk.person("annotator")
    annotator.visit("/annotate")
    page = annotator.page
    expect(page.locator("#card .option").first).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("i")
    page.keyboard.press("e")
    page.keyboard.press("Control+a")
    page.keyboard.type("I have no approved source for that; the instalments team will answer you.")
    annotator.sees("Saved")
    annotator.picture("annotate")
    shown = page.get_by_text(" by you today").first
    before = int((shown.text_content() or "").split()[0])  # the demo's own may be of today
    page.keyboard.press("Control+Enter")
    annotator.sees(f"{before + 1} by you today")
    annotator.has_no_failure()


def test_an_expert_adds_the_missing_knowledge_and_the_next_answer_cites_it(walk: Walk) -> None:
    expert = walk.person("expert")
    expert.visit("/knowledge")
    expert.picture("knowledge")
    expert.click("knowledge_new")
    form = expert.page.locator('[class*="st-key-knowledge_title_"]').first
    expect(form).to_be_visible()
    suffix = (form.get_attribute("class") or "").split("st-key-knowledge_title_")[1].split()[0]
    expert.fill(f"knowledge_key_{suffix}", ENTRY["key"])
    expert.fill(f"knowledge_title_{suffix}", ENTRY["title"])
    expert.fill(f"knowledge_text_{suffix}", ENTRY["text"])
    expert.fill(f"knowledge_source_{suffix}", ENTRY["source"])
    expert.click("knowledge_add")
    expert.sees("live")
    saved = time.monotonic()
    answer = walk.ask(QUESTION, workbench={"mode": "evidence"})
    assert time.monotonic() - saved < 30
    assert ENTRY["key"] in [c["key"] for c in answer["workbench"]["citations"]]
    expert.has_no_failure()
    expert.picture("knowledge-entry")
    shown = walk.workbench.command("traces", "show", answer["workbench"]["trace_id"], "--json")
    trace = json.loads(shown.stdout)
    assert trace["corpus_commit"] == answer["workbench"]["corpus_commit"]
    assert ENTRY["key"] in str(trace["documents"])


def build_and_freeze(engineer: Person, *, kind: str, since: date | None = None) -> str:
    """Build a version of this kind on the Datasets page, from traces since that day, and freeze it; returns its id."""
    engineer.visit("/datasets?build=new")
    engineer.page.locator(engineer.key("build_task")).get_by_text(kind).click()
    engineer.settled()
    if since is not None:
        engineer.fill("build_since", since.isoformat())
    engineer.sees("To train on")
    engineer.click("dataset_build_do")
    engineer.sees("Checks", seconds=90)
    open_, frozen = engineer.page.locator(engineer.key("dataset_freeze")), engineer.page.get_by_text("Fine-tune on it")
    expect(open_.or_(frozen).first).to_be_visible(timeout=30_000)
    if open_.count():
        engineer.click("dataset_freeze")
        expect(engineer.page.locator(engineer.key("dataset_freeze_do"))).to_be_visible()
        if engineer.page.locator(engineer.key("dataset_freeze_reason")).count():
            engineer.fill("dataset_freeze_reason", "All reviewed traces up to today, the confusions included.")
        engineer.click("dataset_freeze_do")
    expect(engineer.page.get_by_text("Frozen", exact=True).first).to_be_visible()
    engineer.sees("Fine-tune on it")
    engineer.has_no_failure()
    expect(engineer.page).to_have_url(re.compile("dataset="))
    return engineer.page.url.split("dataset=")[1].split("&")[0]


def test_an_engineer_builds_and_freezes_a_dataset(walk: Walk) -> None:
    engineer = walk.person("engineer")
    walk.dataset = build_and_freeze(engineer, kind="Classification")
    engineer.picture("dataset")


def test_an_engineer_fine_tunes_the_triage_adapter_and_watches_the_loss(walk: Walk) -> None:
    engineer = walk.person("engineer")
    engineer.visit(f"/tune?dataset={walk.dataset}")
    engineer.sees("It will probably take")
    launched = walk.launch(engineer, "tune_launch")
    engineer.sees(" of ", seconds=90)
    wait_for(lambda: (walk.job(launched).progress.get("done") or 0) > 5, 240, what="the sixth step")
    engineer.picture("tune")
    job = walk.ended_well(launched, 600)
    walk.adapter = job.result["adapter_hash"]
    engineer.visit("/tune")
    engineer.has_no_failure()
    engineer.picture("adapters")


def test_the_new_adapter_beats_the_incumbent_on_the_golden_set(walk: Walk) -> None:
    engineer = walk.person("engineer")
    engineer.visit(f"/compare?adapter={walk.adapter}")
    engineer.sees("Run the comparison")
    job = walk.ended_well(walk.launch(engineer, "compare_launch"), 300)
    walk.comparison = job.spec["comparison_id"]
    assert job.result["verdict"] == "PASS"
    engineer.visit(f"/compare?comparison={walk.comparison}")
    engineer.sees("PASS")
    engineer.has_no_failure()
    engineer.picture("compare")


def test_rewrites_teach_the_generative_model_and_the_verdict_is_what_it_is(walk: Walk) -> None:
    engineer = walk.person("engineer")
    recent = now().date() - timedelta(days=10)  # few steps are enough here; `scripts/bench loop` takes sixty rewrites
    dataset = build_and_freeze(engineer, kind="Supervised pairs", since=recent)
    engineer.picture("dataset-pairs")
    engineer.visit(f"/tune?dataset={dataset}")
    engineer.fill("tune_generative_epochs", "1")
    engineer.sees("It will probably take")
    job = walk.ended_well(walk.launch(engineer, "tune_launch"), 900)
    assert job.spec["recipe"] == "generative"
    engineer.visit(f"/compare?adapter={job.result['adapter_hash']}")
    engineer.sees("Run the comparison")
    job = walk.ended_well(walk.launch(engineer, "compare_launch"), 900)
    engineer.visit(f"/compare?comparison={job.spec['comparison_id']}")
    engineer.sees(job.result["verdict"])
    engineer.has_no_failure()
    engineer.picture("compare-answers")


def test_an_engineer_proposes_and_may_not_approve_but_a_reviewer_signs(walk: Walk) -> None:
    engineer = walk.person("engineer")
    engineer.visit(f"/releases?comparison={walk.comparison}")
    engineer.fill("releases_name", "Knows chargeback grace")
    engineer.fill("releases_propose_reason", "Routes the new terms to the right teams.")
    engineer.click("releases_propose_now")
    engineer.sees("Knows chargeback grace", seconds=60)
    engineer.has_no_failure()
    assert engineer.page.locator('[class*="st-key-releases_password_"]').count() == 0

    reviewer = walk.person("reviewer")
    reviewer.visit("/releases")
    reviewer.page.locator('[class*="st-key-releases_open_"] button').first.click()
    expect(reviewer.page).to_have_url(re.compile("release="))
    walk.release = reviewer.page.url.split("release=")[1].split("&")[0]
    reviewer.sees("Chargeback" if reviewer.page.get_by_text("Chargeback").count() else "Knows chargeback grace")
    reviewer.picture("approve")
    reviewer.fill(f"releases_password_{walk.release}", PASSWORD)
    reviewer.click(f"releases_approve_{walk.release}")
    reviewer.sees("pproved", seconds=60)
    reviewer.has_no_failure()


def test_an_operator_promotes_and_the_gateway_answers_with_it(walk: Walk) -> None:
    before = walk.live()
    operator = walk.person("operator")
    operator.visit(f"/releases?release={walk.release}")
    operator.click(f"releases_promote_{walk.release}")
    operator.click("releases_promote_now")
    wait_for(lambda: walk.live() != before, 60, what="the promotion")
    operator.visit("/releases")
    operator.sees("Knows chargeback grace")
    operator.has_no_failure()
    operator.picture("releases")
    found = walk.triage(CONFUSION)
    assert found["label"] == "disputes"
    answer = walk.ask(QUESTION)
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["workbench"]["release"] == found["release"]


def test_one_click_takes_it_back(walk: Walk) -> None:
    promoted, named = walk.live(), walk.triage(CONFUSION)["release"]
    operator = walk.person("operator")
    operator.visit("/releases")
    operator.click("releases_roll_back")
    operator.fill("releases_back_reason", "Walking the way back")
    operator.picture("rollback")
    operator.click("releases_back_now")
    wait_for(lambda: walk.live() != promoted, 30, what="the rollback")
    assert walk.triage(CONFUSION)["release"] != named


def test_the_ledger_holds_every_act_and_verifies_while_the_workbench_runs(walk: Walk) -> None:
    auditor = walk.person("auditor")
    auditor.visit("/audit")
    # Cells of a table are drawn on a canvas; what assistive technology reads of them is in the page, but not visible.
    auditor.page.get_by_text("Walking the way back").first.wait_for(state="attached", timeout=60_000)
    auditor.has_no_failure()
    auditor.picture("audit")
    verified = walk.workbench.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    ledger = walk.workbench.command("audit", "export", "--out", str(walk.workbench.home.parent / "export"))
    assert ledger.returncode == 0, ledger.stderr
    text = (walk.workbench.home.parent / "export" / "events.csv").read_text(encoding="utf-8")
    for act in (
        "annotation.", "knowledge.", "datasets.frozen", "tuning.", "evaluation.", "releases.proposed", "releases.approved",
        "releases.promoted", "releases.rolled_back", "identity.signed_in", "identity.key_created",
    ):  # fmt: skip
        assert act in text, act
