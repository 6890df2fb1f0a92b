from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlmodel import Session, select

from tests.evaluation.factories import (
    Attempt,
    FakeArms,
    configuration,
    fake_hash,
    launch_triage,
    make_adapter,
    right,
    triage_set,
)
from tests.tuning.factories import make_dataset
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict, IntegrityError, InvalidInput, NotAllowed, Unavailable
from workbench.core.jobs import Job, LostLease
from workbench.core.recording import AuditOutbox
from workbench.evaluation import queries, runner
from workbench.evaluation.arms import Response
from workbench.evaluation.models import Comparison
from workbench.golden.models import GoldenCase
from workbench.identity.models import Project
from workbench.serving.configuration import ServingConfiguration

Someone = Callable[..., Actor]


def _run(services: Services, comparison: Comparison, respond: Any, **options: Any) -> dict[str, Any]:
    attempt = options.pop("attempt", None) or Attempt(services)
    return runner.run(
        services.context,
        None,  # type: ignore[arg-type]
        comparison.id,
        progress=options.pop("progress", lambda value: None),
        should_stop=options.pop("should_stop", lambda: False),
        write=attempt.write,
        respond=respond,
        sleep=lambda seconds: None,
        **options,
    )


def test_a_better_candidate_passes_and_the_verdict_is_recorded(services: Services, project: Project, someone: Someone) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    said: list[dict[str, Any]] = []
    arms = FakeArms(lambda arm, text: right(text) if arm == "c" else "cards")
    result = _run(services, comparison, arms, progress=said.append)
    assert (result["verdict"], result["stopped"]) == ("PASS", False)
    assert (said[-1]["done"], said[-1]["total"]) == (40, 40)
    with services.context.database.session() as session:
        stored = queries.get_comparison(session, comparison.id)
        pairs = queries.case_pairs(session, stored)
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "evaluation.decided")).one()
    assert stored.statistics["difference"]["value"] == 0.5
    assert [pair.outcome for pair in pairs] == ["gained", "both"] * 10
    assert event.details["results_hash"] == stored.results_hash
    assert event.actor_kind == "service"


def test_a_stopped_run_goes_on_without_asking_again(
    services: Services, project: Project, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.BATCH, "triage", 6)
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    attempt = Attempt(services)
    arms = FakeArms(lambda arm, text: right(text))
    answers = iter([False, False, True])
    stopped = _run(services, comparison, arms, attempt=attempt, should_stop=lambda: next(answers))
    assert stopped == {"stopped": True, "done": 12, "total": 40}
    result = _run(services, comparison, arms, attempt=attempt)
    assert result["verdict"] is not None
    assert len(arms.asked) == len(set(arms.asked)) == 40


def test_a_run_killed_between_storing_and_asking_doubles_nothing(
    services: Services, project: Project, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.BATCH, "triage", 7)
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    attempt = Attempt(services)
    calls = 0

    def dying(arm: ServingConfiguration, texts: Sequence[str]) -> list[Response]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("killed")
        return [Response(right(text)) for text in texts]

    with pytest.raises(RuntimeError):
        _run(services, comparison, dying, attempt=attempt)
    _run(services, comparison, dying, attempt=attempt)
    with services.context.database.session() as session:
        assert len(queries.results(session, comparison.id)) == 40


def test_a_finished_comparison_is_not_run_again(services: Services, project: Project, someone: Someone) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    attempt = Attempt(services)
    first = _run(services, comparison, FakeArms(lambda arm, text: right(text)), attempt=attempt)
    arms = FakeArms(lambda arm, text: "cards")
    assert _run(services, comparison, arms, attempt=attempt) == first
    assert arms.asked == []


def test_an_attempt_that_lost_its_lease_writes_nothing(services: Services, project: Project, someone: Someone) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    attempt = Attempt(services)
    attempt.job = Job(**{**attempt.job.model_dump(), "fence": attempt.job.fence - 1})
    with pytest.raises(LostLease):
        _run(services, comparison, FakeArms(lambda arm, text: right(text)), attempt=attempt)
    with services.context.database.session() as session:
        assert queries.results(session, comparison.id) == []


def test_a_runtime_that_comes_back_is_waited_for(services: Services, project: Project, someone: Someone) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    away = iter([True, True, False, False, False])

    def respond(arm: ServingConfiguration, texts: Sequence[str]) -> list[Response]:
        if next(away):
            raise Unavailable("The runtime does not answer.")
        return [Response(right(text)) for text in texts]

    assert _run(services, comparison, respond)["verdict"] is not None


def test_a_runtime_that_stays_away_fails_the_comparison_without_a_verdict(
    services: Services, project: Project, someone: Someone
) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)

    def respond(arm: ServingConfiguration, texts: Sequence[str]) -> list[Response]:
        raise Unavailable("The runtime does not answer.")

    with pytest.raises(Unavailable):
        _run(services, comparison, respond)
    with services.context.database.session() as session:
        assert queries.get_comparison(session, comparison.id).verdict is None


def test_a_case_changed_in_the_database_stops_the_comparison(services: Services, project: Project, someone: Someone) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    with Session(services.context.database.writing) as session, session.begin():
        case = session.exec(select(GoldenCase)).first()
        assert case is not None
        case.content = {**case.content, "label": "fraud"}
        session.add(case)
    with pytest.raises(IntegrityError, match="case .* was changed"):
        _run(services, comparison, FakeArms(lambda arm, text: right(text)))


def test_no_verdict_without_all_results(services: Services, project: Project, someone: Someone) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    attempt = Attempt(services)
    with pytest.raises(Conflict, match="20 of 20 cases"), attempt.write() as (work, _job):
        services.evaluation.store_verdict(work, comparison.id)


def test_the_same_adapter_twice_is_no_improvement(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    make_adapter(services, project.id, "c")
    arm = configuration(project.id, triage_adapter=fake_hash("c"))
    comparison = services.evaluation.launch(
        actor,
        project.id,
        golden_set_id=triage_set(services, actor, project.id, 300).id,
        candidate=arm,
        incumbent=configuration(project.id, triage_adapter=fake_hash("c"), release_id="live", generator_adapter=fake_hash("f")),
        candidate_name="New",
        incumbent_name="Live",
    )
    result = _run(services, comparison, FakeArms(lambda letter, text: right(text)))
    assert result["verdict"] == "INCONCLUSIVE"
    assert result["headline"].startswith("No difference")


def test_a_repeated_launch_queues_one_comparison(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    make_adapter(services, project.id, "c")
    make_adapter(services, project.id, "a")
    golden = triage_set(services, actor, project.id)
    made = {
        services.evaluation.launch(
            actor,
            project.id,
            golden_set_id=golden.id,
            candidate=configuration(project.id, triage_adapter=fake_hash("c")),
            incumbent=configuration(project.id, triage_adapter=fake_hash("a")),
            candidate_name="New",
            incumbent_name="Old",
            command_id="twice",
        ).id
        for _ in range(2)
    }
    assert len(made) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"triage_adapter": None}, "no triage adapter"),
        ({"triage_adapter": fake_hash("0")}, "has no triage adapter sha256"),
        ({"project_id": "another"}, "another project"),
    ],
)
def test_an_arm_that_cannot_run_is_refused_before_it_is_queued(
    services: Services, project: Project, someone: Someone, changes: dict[str, Any], message: str
) -> None:
    actor = someone(Role.ENGINEER)
    make_adapter(services, project.id, "c")
    good = configuration(project.id, triage_adapter=fake_hash("c"))
    bad = configuration(**{"project_id": project.id, "triage_adapter": fake_hash("c"), **changes})
    with pytest.raises(InvalidInput, match=message):
        services.evaluation.launch(
            actor,
            project.id,
            golden_set_id=triage_set(services, actor, project.id).id,
            candidate=bad,
            incumbent=good,
            candidate_name="New",
            incumbent_name="Old",
        )


def test_a_reviewer_may_not_launch_a_comparison(services: Services, project: Project, someone: Someone) -> None:
    with pytest.raises(NotAllowed):
        services.evaluation.launch(
            someone(Role.REVIEWER),
            project.id,
            golden_set_id="any",
            candidate=configuration(project.id),
            incumbent=configuration(project.id),
            candidate_name="",
            incumbent_name="",
        )


def test_an_adapter_trained_on_a_golden_case_cannot_be_compared_on_it(
    services: Services, project: Project, someone: Someone
) -> None:
    actor = someone(Role.ENGINEER)
    dataset = make_dataset(services, project.id, [{"text": "question NUMBER 7!", "label": "cards"}])
    make_adapter(services, project.id, "c", dataset_id=dataset.id)
    make_adapter(services, project.id, "a")
    with pytest.raises(InvalidInput, match=r"The candidate was trained on text of this golden set.*Case 8"):
        services.evaluation.launch(
            actor,
            project.id,
            golden_set_id=triage_set(services, actor, project.id).id,
            candidate=configuration(project.id, triage_adapter=fake_hash("c")),
            incumbent=configuration(project.id, triage_adapter=fake_hash("a")),
            candidate_name="New",
            incumbent_name="Old",
        )
