"""Importing, exporting, and what histories and checks promise whatever is done."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.ids import new_id
from workbench.identity.models import Project
from workbench.knowledge import corpus, importing, queries
from workbench.knowledge.conflicts import find_conflicts, numbers_by_unit
from workbench.knowledge.content import EntryContent, suggest_key
from workbench.knowledge.models import KnowledgeEntryVersion

People = Callable[..., Actor]


def line(key: str, text: str = "Some text.", **more: object) -> str:
    return json.dumps({"key": key, "title": f"Title of {key}", "text": text, **more})


def test_a_bad_line_is_reported_by_number_and_keeps_no_other_line_out(
    services: Services, project: Project, someone: People
) -> None:
    text = "\n".join([line("one"), "{not json", "", line("two", risk_tier="enormous"), line("one"), "[1]", line("three")])
    report = services.knowledge.import_jsonl(someone(Role.EXPERT), project.id, text)
    assert report.added == ["one", "three"]
    assert [number for number, _ in report.errors] == [2, 4, 5, 6]
    assert "column 2" in report.errors[0][1]


def test_importing_the_same_file_twice_changes_nothing(services: Services, project: Project, someone: People) -> None:
    text = "\n".join([line("one"), line("two")])
    expert = someone(Role.EXPERT)
    first = services.knowledge.import_jsonl(expert, project.id, text)
    again = services.knowledge.import_jsonl(expert, project.id, text)
    assert again.unchanged == ["one", "two"]
    assert again.commit_id is None
    with services.context.database.session() as session:
        head = queries.head(session, project.id)
    assert head is not None
    assert head.id == first.commit_id


def test_an_export_imports_again_as_the_same_corpus(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    services.knowledge.import_jsonl(expert, project.id, line("uno", "Cómo pagar: 3 días.", language="es", tags=["a", "b"]))
    with services.context.database.session() as session:
        head = queries.head(session, project.id)
        assert head is not None
        exported = importing.export_jsonl(queries.members(session, head).values())
    report = services.knowledge.import_jsonl(expert, project.id, exported)
    assert report.unchanged == ["uno"]
    assert report.errors == []


def test_high_risk_lines_wait_and_a_second_expert_certifies_them_in_one_commit(
    services: Services, project: Project, someone: People
) -> None:
    ann, bob = someone(Role.EXPERT), someone(Role.EXPERT)
    text = "\n".join([line("one"), line("two", risk_tier="high"), line("three", risk_tier="high", review_in_days=20)])
    report = services.knowledge.import_jsonl(ann, project.id, text)
    assert report.drafts == ["two", "three"]
    assert services.knowledge.certify_drafts(ann, project.id, reason="Mine") == []
    made = services.knowledge.certify_drafts(bob, project.id, reason="Checked with the fee schedule")
    assert sorted(version.key for version in made) == ["three", "two"]
    with services.context.database.session() as session:
        head = queries.head(session, project.id)
        assert head is not None
        assert (head.number, head.members) == (2, 3)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=8))
def test_every_commits_members_give_its_hash_and_its_changes_lead_from_its_parent(
    services: Services, project: Project, someone: People, acts: list[tuple[str, int]]
) -> None:
    expert, tenant = someone(Role.EXPERT), new_id()
    for key, value in acts:
        with services.context.database.session() as session:
            found = [s for s in queries.list_entries(session, project.id, tenant) if s.entry.key == key]
        content = EntryContent(title=key, text=f"Value {value}")
        if not found:
            services.knowledge.create(expert, project.id, key=key, content=content, tenant=tenant)
        elif value == 0 and found[0].live:
            services.knowledge.retire(expert, found[0].entry.id, reason="gone")
        elif found[0].live is None or found[0].live.text != content.text:
            services.knowledge.edit(expert, found[0].entry.id, base_version_id=found[0].current.id, content=content)
    with services.context.database.session() as session:
        history = list(reversed(queries.commits(session, project.id, tenant)))
        state: dict[str, str] = {}
        for commit in history:
            for change in queries.changes_of(session, commit):
                assert state.get(change.entry_id) == (change.before.id if change.before else None)
                if change.after:
                    state[change.entry_id] = change.after.id
                else:
                    del state[change.entry_id]
            versions = queries.members(session, commit)
            assert {v.entry_id: v.id for v in versions.values()} == state
            assert commit.content_hash == corpus.corpus_hash({v.entry_id: v.content_hash for v in versions.values()})
        assert [c.parent_id for c in history] == [None, *[c.id for c in history[:-1]]]


def version(key: str, title: str, text: str, language: str = "en") -> KnowledgeEntryVersion:
    return KnowledgeEntryVersion(
        entry_id=key, project_id="p", number=1, key=key, title=title, text=text, kind="fact", language=language,
        risk_tier="low", source="", content_hash="", author_id="a", author_name="A",
    )  # fmt: skip


def test_the_conflict_check_finds_different_numbers_for_alike_titles() -> None:
    notes = find_conflicts(
        [
            version("a", "FlexPay late fee", "The late fee is 5 dollars after 10 days."),
            version("b", "Late fee of FlexPay", "The late fee is 7 dollars after 10 days."),
            version("c", "FlexPay late fee", "El cargo es de 9 dollars.", language="es"),
            version("d", "Opening hours", "Branches open at 9 hours."),
        ]
    )
    assert [(note.first.key, note.second.key, note.kind) for note in notes] == [("a", "b", "numbers")]
    assert "5 and 7 dollars" in notes[0].detail


def test_numbers_are_compared_by_unit() -> None:
    assert numbers_by_unit("3.50% for 12 months, $25 or 1,000 points; 2026.") == {
        "%": {"3.5"},
        "month": {"12"},
        "$": {"25"},
        "points": {"1,000"},
    }


@pytest.mark.parametrize(
    ("title", "key"),
    [("FlexPay 2.0: late fee?", "flexpay-2.0-late-fee"), ("Phí trả chậm đầu tiên", "phi-tra-cham-dau-tien"), ("¿?", "")],
)
def test_a_key_is_suggested_from_a_title(title: str, key: str) -> None:
    assert suggest_key(title) == key


def test_the_hash_of_a_version_names_its_content_and_nothing_else() -> None:
    content = EntryContent(title="T", text="x")
    assert content.hash("k") == replace(content).hash("k")
    assert content.hash("k") != content.hash("other")
    assert content.hash("k") != replace(content, source="s").hash("k")
