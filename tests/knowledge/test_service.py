"""Editing, certifying and taking back knowledge."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed
from workbench.core.recording import AuditOutbox
from workbench.identity.models import Project
from workbench.knowledge import queries
from workbench.knowledge.content import EntryContent
from workbench.knowledge.models import CorpusMembership, RiskTier
from workbench.knowledge.policy import POLICY_SOURCE, CorpusPolicy
from workbench.knowledge.queries import EntryState
from workbench.knowledge.service import EditConflict, Edited
from workbench.knowledge.words import why_live

People = Callable[..., Actor]
FEE = EntryContent(title="FlexPay late fee", text="A late FlexPay payment costs 5 dollars.", source="Fee schedule")


def live_texts(services: Services, project: Project) -> dict[str, str]:
    with services.context.database.session() as session:
        head = queries.head(session, project.id)
        return {v.key: v.text for v in queries.members(session, head).values()} if head else {}


def status(services: Services, edited: Edited) -> queries.EntryStatus:
    with services.context.database.session() as session:
        return queries.status_of(session, edited.entry)


def test_an_experts_edit_is_live_at_once_and_changes_two_membership_rows(
    services: Services, project: Project, someone: People
) -> None:
    expert = someone(Role.EXPERT, name="Eve")
    for number in range(5):
        services.knowledge.create(expert, project.id, key=f"other-{number}", content=replace(FEE, title=f"Other {number}"))
    first = services.knowledge.create(expert, project.id, key="late-fee", content=FEE)
    with services.context.database.session() as session:
        rows_before = len(session.exec(select(CorpusMembership)).all())
    second = services.knowledge.edit(
        expert, first.entry.id, base_version_id=first.version.id, content=replace(FEE, text="It costs 7 dollars.")
    )
    assert second.commit is not None
    assert live_texts(services, project)["late-fee"] == "It costs 7 dollars."
    with services.context.database.session() as session:
        rows = session.exec(select(CorpusMembership)).all()
    assert len(rows) == rows_before + 1
    assert [r.to_number for r in rows if r.version_id == first.version.id] == [second.commit.number]


def test_a_high_risk_edit_waits_for_a_second_person(services: Services, project: Project, someone: People) -> None:
    author, other = someone(Role.EXPERT, name="Ann"), someone(Role.EXPERT, name="Bob")
    draft = services.knowledge.create(author, project.id, key="rates", content=replace(FEE, risk_tier=RiskTier.HIGH))
    assert draft.commit is None
    assert "second person" in draft.why_draft
    until = now() + timedelta(days=30)
    with pytest.raises(NotAllowed, match="second person"):
        services.knowledge.certify(author, draft.version.id, until=until)
    certified = services.knowledge.certify(other, draft.version.id, until=until, reason="Checked the rate sheet")
    assert certified.version.author_id == author.id
    assert certified.version.certified_by == other.id
    assert "rates" in live_texts(services, project)


def test_lowering_the_tier_in_the_edit_does_not_escape_the_second_person(
    services: Services, project: Project, someone: People
) -> None:
    author, other = someone(Role.EXPERT), someone(Role.EXPERT)
    draft = services.knowledge.create(author, project.id, key="rates", content=replace(FEE, risk_tier=RiskTier.HIGH))
    live = services.knowledge.certify(other, draft.version.id, until=now() + timedelta(days=30))
    lowered = services.knowledge.edit(
        other, live.entry.id, base_version_id=live.version.id, content=replace(FEE, text="Free.", risk_tier=RiskTier.LOW)
    )
    assert lowered.commit is None
    assert live_texts(services, project)["rates"] == FEE.text


def test_an_engineer_drafts_and_an_annotator_may_not_even_draft(services: Services, project: Project, someone: People) -> None:
    drafted = services.knowledge.create(someone(Role.ENGINEER), project.id, key="late-fee", content=FEE)
    assert drafted.commit is None
    assert status(services, drafted).state is EntryState.DRAFT
    with pytest.raises(NotAllowed):
        services.knowledge.create(someone(Role.ANNOTATOR), project.id, key="other", content=FEE)
    with pytest.raises(NotAllowed):
        services.knowledge.certify(someone(Role.ENGINEER), drafted.version.id, until=now() + timedelta(days=3))


def test_an_edit_over_a_version_that_is_outdated_is_refused_and_names_the_newest(
    services: Services, project: Project, someone: People
) -> None:
    ann, bob = someone(Role.EXPERT, name="Ann"), someone(Role.EXPERT, name="Bob")
    first = services.knowledge.create(ann, project.id, key="late-fee", content=FEE)
    base = first.version.id
    newer = services.knowledge.edit(bob, first.entry.id, base_version_id=base, content=replace(FEE, text="7 dollars."))
    with pytest.raises(EditConflict, match="by Bob") as caught:
        services.knowledge.edit(ann, first.entry.id, base_version_id=base, content=replace(FEE, text="6 dollars."))
    assert caught.value.newest.id == newer.version.id
    services.knowledge.edit(ann, first.entry.id, base_version_id=newer.version.id, content=replace(FEE, text="6 dollars."))
    assert live_texts(services, project)["late-fee"] == "6 dollars."


def test_undo_restores_the_former_corpus_with_the_same_hash(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    first = services.knowledge.create(expert, project.id, key="late-fee", content=FEE)
    edited = services.knowledge.edit(
        expert, first.entry.id, base_version_id=first.version.id, content=replace(FEE, text="7 dollars.")
    )
    assert first.commit is not None
    assert edited.commit is not None
    back = services.knowledge.undo(expert, edited.commit.id)
    assert back.content_hash == first.commit.content_hash
    assert back.number == 3
    assert live_texts(services, project)["late-fee"] == FEE.text
    assert status(services, first).current.id == first.version.id


def test_undo_is_for_ones_own_commit_and_revert_takes_a_reason(services: Services, project: Project, someone: People) -> None:
    ann, bob = someone(Role.EXPERT, name="Ann"), someone(Role.EXPERT)
    made = services.knowledge.create(ann, project.id, key="late-fee", content=FEE)
    assert made.commit is not None
    with pytest.raises(NotAllowed, match="Ann"):
        services.knowledge.undo(bob, made.commit.id)
    with pytest.raises(InvalidInput):
        services.knowledge.revert(bob, made.commit.id, reason=" ")
    services.knowledge.revert(bob, made.commit.id, reason="Wrong fee")
    assert live_texts(services, project) == {}


def test_a_commit_whose_entries_changed_since_cannot_be_taken_back(
    services: Services, project: Project, someone: People
) -> None:
    expert = someone(Role.EXPERT)
    first = services.knowledge.create(expert, project.id, key="late-fee", content=FEE)
    services.knowledge.edit(expert, first.entry.id, base_version_id=first.version.id, content=replace(FEE, text="7 dollars."))
    assert first.commit is not None
    with pytest.raises(Conflict, match="late-fee changed again"):
        services.knowledge.undo(expert, first.commit.id)


def test_return_to_makes_the_corpus_as_it_was(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    one = services.knowledge.create(expert, project.id, key="one", content=FEE)
    services.knowledge.create(expert, project.id, key="two", content=FEE)
    services.knowledge.edit(expert, one.entry.id, base_version_id=one.version.id, content=replace(FEE, text="9 dollars."))
    assert one.commit is not None
    back = services.knowledge.return_to(expert, one.commit.id, reason="Start again")
    assert back.content_hash == one.commit.content_hash
    assert live_texts(services, project) == {"one": FEE.text}


def test_retired_entries_leave_the_corpus_and_can_be_restored(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    made = services.knowledge.create(expert, project.id, key="late-fee", content=FEE)
    with pytest.raises(InvalidInput):
        services.knowledge.retire(expert, made.entry.id, reason="")
    services.knowledge.retire(expert, made.entry.id, reason="Product ended")
    assert live_texts(services, project) == {}
    assert status(services, made).state is EntryState.RETIRED
    with pytest.raises(Conflict, match="not live"):
        services.knowledge.retire(expert, made.entry.id, reason="Again")
    services.knowledge.restore(expert, made.version.id)
    assert live_texts(services, project) == {"late-fee": FEE.text}


def test_a_repeated_command_edits_once(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    made = services.knowledge.create(expert, project.id, key="late-fee", content=FEE, command_id="c1")
    again = services.knowledge.create(expert, project.id, key="late-fee", content=FEE, command_id="c1")
    assert again.version.id == made.version.id
    assert again.commit is not None
    assert again.commit.number == 1


def test_a_withdrawn_draft_no_longer_waits(services: Services, project: Project, someone: People) -> None:
    expert, engineer = someone(Role.EXPERT), someone(Role.ENGINEER)
    made = services.knowledge.create(expert, project.id, key="late-fee", content=FEE)
    draft = services.knowledge.edit(
        engineer, made.entry.id, base_version_id=made.version.id, content=replace(FEE, text="6 dollars.")
    )
    assert status(services, made).draft is not None
    services.knowledge.withdraw(engineer, draft.version.id)
    after = status(services, made)
    assert after.draft is None
    assert after.current.id == made.version.id


def test_stale_entries_stay_live_and_are_marked(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT, name="Eve")
    line = '{"key":"rates","title":"Savings rates","text":"The rate is 2.1%.","review_in_days":-3}'
    services.knowledge.import_jsonl(expert, project.id, line)
    with services.context.database.session() as session:
        found = queries.list_entries(session, project.id)[0]
        head = queries.head(session, project.id)
    assert found.state is EntryState.STALE
    assert "review was due" in why_live(found, head=head, policy=CorpusPolicy())
    assert not CorpusPolicy(drop_stale=True).serves(found.current, now())
    assert CorpusPolicy().serves(found.current, now())


def test_the_policy_of_the_live_release_replaces_the_default(services: Services, project: Project, someone: People) -> None:
    strict = CorpusPolicy.from_json({"low": {"roles": ["reviewer"], "second_person": False, "review_days": 10}})
    services.context.extras[POLICY_SOURCE] = lambda session, project_id, tenant: strict
    draft = services.knowledge.create(someone(Role.EXPERT), project.id, key="late-fee", content=FEE)
    assert draft.commit is None
    assert "reviewer" in draft.why_draft
    assert CorpusPolicy.from_json(strict.as_json()) == strict


def test_each_act_leaves_an_event_with_the_hashes(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    made = services.knowledge.create(expert, project.id, key="late-fee", content=FEE, reason="New product")
    assert made.commit is not None
    with services.context.database.session() as session:
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "knowledge.published")).one()
    assert event.details["version"] == made.version.content_hash
    assert event.details["corpus"] == made.commit.content_hash
    assert event.reason == "New product"
    assert event.actor_id == expert.id


def test_why_live_names_audience_date_person_and_review(services: Services, project: Project, someone: People) -> None:
    made = services.knowledge.create(someone(Role.EXPERT, name="Eve"), project.id, key="late-fee", content=FEE)
    with services.context.database.session() as session:
        words = why_live(queries.status_of(session, made.entry), head=queries.head(session, project.id), policy=CorpusPolicy())
    assert words.startswith("Live for everyone who asks this application since ")
    assert "certified by Eve until" in words


def test_an_edit_that_changes_nothing_is_refused(services: Services, project: Project, someone: People) -> None:
    expert = someone(Role.EXPERT)
    made = services.knowledge.create(expert, project.id, key="late-fee", content=FEE)
    with pytest.raises(InvalidInput, match="Nothing was changed"):
        services.knowledge.edit(expert, made.entry.id, base_version_id=made.version.id, content=FEE)


@pytest.mark.parametrize(
    "content",
    [replace(FEE, title=" "), replace(FEE, text="\x00"), replace(FEE, text="x" * 9_000), replace(FEE, language="English!")],
)
def test_content_that_cannot_be_used_is_refused_with_a_way_out(
    services: Services, project: Project, someone: People, content: EntryContent
) -> None:
    with pytest.raises(InvalidInput):
        services.knowledge.create(someone(Role.EXPERT), project.id, key="late-fee", content=content)
