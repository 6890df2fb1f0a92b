"""What people get to see of the ledger: filtered pages, proofs, sentences, exports, and only what they may."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlmodel import Session

from tests.audit.factories import START, a_context, act, an_act, quick_sealer
from workbench.audit import merkle
from workbench.audit.events import seal
from workbench.audit.export import export
from workbench.audit.health import ledger_health
from workbench.audit.queries import AuditQueries, EventFilter
from workbench.audit.sealer import Sealer
from workbench.audit.sentences import act_words, sentence
from workbench.audit.service import AuditService
from workbench.audit.verify import verify_home
from workbench.core.actors import Actor, ActorKind, Grant, Role
from workbench.core.errors import InvalidInput, NotAllowed, NotFound, WorkbenchError
from workbench.core.recording import AuditOutbox, OutboxRecorder
from workbench.core.unit_of_work import Context
from workbench.identity.policy import PolicyAuthorizer

AUDITOR = Actor("person-olga", "Olga Auditor", ActorKind.PERSON, frozenset({Grant(Role.AUDITOR, None)}))
BANK_AUDITOR = Actor("person-ben", "Ben Auditor", ActorKind.PERSON, frozenset({Grant(Role.AUDITOR, "project-bank")}))
ANNOTATOR = Actor("person-ana", "Ana", ActorKind.PERSON, frozenset({Grant(Role.ANNOTATOR, "project-bank")}))


def insert(context: Context, *rows: AuditOutbox) -> None:
    with Session(context.database.writing) as session, session.begin():
        session.add_all(rows)


@pytest.fixture(params=["from DuckDB", "from segments"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Context]:
    """A home with eight sealed acts; half of the tests' runs have the sealer in this process, half do not."""
    made = a_context(tmp_path / "home")
    made = Context(made.settings, made.database, PolicyAuthorizer(), OutboxRecorder(), made.artifacts)
    insert(
        made,
        *(an_act(number) for number in range(4)),
        an_act(4, actor_id="person-eve", actor_name="Eve Expert", type="knowledge.certified", subject_kind="knowledge_entry"),
        an_act(5, actor_id="person-eve", actor_name="Eve Expert", type="knowledge.retired", reason="Rates CHANGED in May"),
        an_act(6, project_id="project-other", subject_id="secret"),
        an_act(7, project_id=None, type="identity.signed_in", subject_kind="person", subject_id="person-ana"),
    )
    sealer = quick_sealer(made)
    sealer.seal_waiting()
    if request.param == "from DuckDB":
        made.extras["sealer"] = sealer
        sealer.start()
        _until_open(sealer)
    yield made
    sealer.stop()


def _until_open(sealer: Sealer) -> None:
    deadline = time.monotonic() + 10
    while sealer.ledger is None:
        assert time.monotonic() < deadline, sealer.status
        time.sleep(0.01)


def seqs(context: Context, actor: Actor = AUDITOR, **wanted: object) -> list[int]:
    queries = AuditQueries(context)
    found = [event.seq for event in queries.page(actor, EventFilter(**wanted))]  # type: ignore[arg-type]
    assert queries.count(actor, EventFilter(**wanted)) == len(found)  # type: ignore[arg-type]
    return found


def test_events_come_newest_first_and_page_by_page(context: Context) -> None:
    queries = AuditQueries(context)
    assert [event.seq for event in queries.page(AUDITOR, EventFilter(), limit=3)] == [8, 7, 6]
    assert [event.seq for event in queries.page(AUDITOR, EventFilter(), before=6, limit=3)] == [5, 4, 3]
    assert queries.page(AUDITOR, EventFilter(), before=1) == []


def test_each_filter_leaves_only_what_matches(context: Context) -> None:
    assert seqs(context, actor_id="person-eve") == [6, 5]
    assert seqs(context, type="knowledge") == [6, 5]
    assert seqs(context, type="knowledge.certified") == [5]
    assert seqs(context, type="know") == []
    assert seqs(context, subject_kind="knowledge_entry") == [5]
    assert seqs(context, subject_id="item-2") == [3]
    assert seqs(context, project_id="project-other") == [7]
    assert seqs(context, text="changed IN may") == [6]
    assert seqs(context, text="100% ' _") == []
    assert seqs(context, since=START + timedelta(minutes=3), until=START + timedelta(minutes=5)) == [5, 4]


def test_a_project_auditor_sees_that_project_only(context: Context) -> None:
    assert seqs(context, BANK_AUDITOR) == [6, 5, 4, 3, 2, 1]
    assert seqs(context, BANK_AUDITOR, project_id="project-other") == []
    with pytest.raises(NotFound):
        AuditQueries(context).event(BANK_AUDITOR, 7)
    with pytest.raises(NotFound):
        AuditQueries(context).inclusion(BANK_AUDITOR, 8)
    assert AuditQueries(context).choices(BANK_AUDITOR).project_ids == ["project-bank"]


def test_who_may_not_read_the_ledger_sees_nothing(context: Context) -> None:
    queries = AuditQueries(context)
    for read in (
        lambda: queries.page(ANNOTATOR, EventFilter()),
        lambda: queries.count(ANNOTATOR, EventFilter()),
        lambda: queries.choices(ANNOTATOR),
        lambda: queries.event(ANNOTATOR, 1),
        lambda: AuditService(context).verify(ANNOTATOR),
    ):
        with pytest.raises(NotAllowed):
            read()


def test_the_choices_are_what_occurs(context: Context) -> None:
    choices = AuditQueries(context).choices(AUDITOR)
    assert choices.people == {"person-ana": "Ana Annotator", "person-eve": "Eve Expert"}
    assert choices.types == ["identity.signed_in", "knowledge.certified", "knowledge.retired", "responses.submitted"]


def test_an_event_is_read_back_with_its_hash_intact(context: Context) -> None:
    event = AuditQueries(context).event(AUDITOR, 3)
    assert event.details == {"old": 3, "new": 5, "score": 0.5}
    assert event.at == START + timedelta(minutes=2)
    following = AuditQueries(context).event(AUDITOR, 4)
    assert following.prev_hash == event.leaf.hex()
    for missing in (0, -1, 9):
        with pytest.raises(NotFound):
            AuditQueries(context).event(AUDITOR, missing)


def test_every_event_is_proven_to_be_in_a_kept_checkpoint(context: Context) -> None:
    for seq in range(1, 9):
        inclusion = AuditQueries(context).inclusion(AUDITOR, seq)
        assert inclusion is not None
        assert inclusion.kept
        assert inclusion.holds
        assert merkle.inclusion_holds(
            inclusion.leaf, seq - 1, inclusion.checkpoint.size, inclusion.proof, inclusion.checkpoint.root
        )


def test_a_verification_asked_for_in_a_page_walks_every_event(context: Context) -> None:
    report = AuditService(context).verify(AUDITOR)
    assert (report.ok, report.events) == (True, 8), report.reason


def test_an_export_of_everything_needs_the_right_to_read_everything(tmp_path: Path) -> None:
    made = a_context(tmp_path)
    context = Context(made.settings, made.database, PolicyAuthorizer(), OutboxRecorder(), made.artifacts)
    act(context)
    sealer = quick_sealer(context)
    sealer.start()
    try:
        service = AuditService(context)
        with pytest.raises(NotAllowed):
            service.export_archive(BANK_AUDITOR, reason="yearly audit")
        with pytest.raises(WorkbenchError, match="needs a reason"):
            service.export_archive(AUDITOR, reason=" ")
        archive, exported = service.export_archive(AUDITOR, reason="yearly audit")
    finally:
        sealer.stop()
    assert exported.report.ok
    assert exported.report.events == 2, "the export itself is on record, and in the export"
    with zipfile.ZipFile(archive) as content:
        assert any(name.endswith("/verify.py") for name in content.namelist())
        content.extractall(tmp_path / "taken away")
    (folder,) = (tmp_path / "taken away").iterdir()
    assert verify_home(folder).events == 2


def test_an_export_verifies_with_its_own_verifier_and_reads_as_a_table(context: Context, tmp_path: Path) -> None:
    insert(context, an_act(9, reason="=HYPERLINK(1)"))
    if "sealer" not in context.extras:
        quick_sealer(context).seal_waiting()
    else:
        context.extras["sealer"].stop()
    out = tmp_path / "out"
    exported = export(context.settings.home, out)
    assert str(exported).startswith("Wrote 9 events")
    done = subprocess.run([sys.executable, "-I", "verify.py"], cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (out / "events.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seq"] for row in rows] == [str(seq) for seq in range(1, 10)]
    assert rows[0]["sentence"] == "Ana Annotator submitted item item-0: 3 → 5"
    assert rows[8]["reason"] == "'=HYPERLINK(1)"
    table = pq.read_table(out / "events.parquet").to_pylist()
    assert [row["seq"] for row in table] == list(range(1, 10))
    assert "verify.py" in (out / "README.md").read_text()
    assert "{" not in (out / "README.md").read_text().split("## Verify")[0]
    assert json.loads((out / "report.json").read_text())["ok"]
    with pytest.raises(InvalidInput, match="not an empty folder"):
        export(context.settings.home, out)


def test_a_damaged_ledger_is_exported_as_evidence(tmp_path: Path) -> None:
    context = a_context(tmp_path / "home")
    for number in range(9):
        act(context, number)
    quick_sealer(context).seal_waiting()
    path = next((tmp_path / "home" / "ledger" / "segments").glob("0*.jsonl"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":!', 1))
    exported = export(tmp_path / "home", tmp_path / "out")
    assert not exported.report.ok
    assert exported.unreadable == 1
    assert "does NOT verify" in (tmp_path / "out" / "README.md").read_text()


def test_a_home_without_a_ledger_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no ledger"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"type": "annotation.submitted", "details": {"old": 3, "new": 5}},
            "submitted a response on item i1: 3 → 5",
        ),
        (
            {"type": "knowledge.certified", "subject_kind": "knowledge_version", "details": {"key": "flexpay-limits"}},
            "certified knowledge entry “flexpay-limits”",
        ),
        ({"type": "identity.signed_in", "subject_kind": "person", "details": {}}, "signed in"),
        (
            {"type": "prompts.created", "subject_kind": "prompt_version", "details": {}},
            "created prompt version i1",
        ),
        (
            {"type": "releases.canary_started", "subject_kind": "channel", "details": {"from": 0.0, "to": 0.1}},
            "started canary on channel i1: 0 → 0.1",
        ),
        (
            {"type": "golden.case_changed", "details": {"label": {"old": None, "new": "cards"}, "other": {"a": 1}}},
            "changed case on item i1: label none → cards",
        ),
        (
            {"type": "strange", "details": {"old": "a" * 100, "new": [1, 2, 3, 4, 5]}},
            f"strange item i1: {'a' * 59}… → 5 values",
        ),
    ],
)
def test_an_event_reads_as_a_sentence(changes: dict[str, object], said: str) -> None:
    assert sentence(seal(an_act(1, **{"subject_id": "i1", **changes}), 1, "0" * 64)) == f"Ana Annotator {said}"


def test_types_read_as_words() -> None:
    assert act_words("knowledge.drafts_certified") == "Knowledge: drafts certified"


def test_the_ledger_is_healthy_until_events_wait_too_long(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    assert ledger_health(context) == "ok"
    insert(context, an_act(at=datetime.now(START.tzinfo) - timedelta(minutes=3)))
    assert ledger_health(context).startswith("1 events wait to be sealed")
    quick_sealer(context).seal_waiting()
    assert ledger_health(context) == "ok"
