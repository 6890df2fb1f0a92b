"""Where a rollback leads, and races for the channel."""

import itertools
import threading
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.releases.factories import Bank
from workbench.bootstrap import bootstrap
from workbench.core.errors import Conflict, WorkbenchError
from workbench.knowledge.policy import CorpusPolicy
from workbench.releases.manifest import SLOTS, Proposal, changed_slots, configuration_of, hash_of
from workbench.releases.models import MoveKind
from workbench.releases.moves import way_back
from workbench.releases.pins import HighWater, high_water, raise_high_water
from workbench.serving.configuration import GuardPolicy, Routing, ServingConfiguration

Move = tuple[MoveKind, str]
_moves = st.lists(st.tuples(st.sampled_from(MoveKind), st.sampled_from("ABCDE")), max_size=30)


@given(_moves)
def test_the_present_release_is_always_last_on_the_way(moves: list[Move]) -> None:
    way = way_back(moves)
    assert (way[-1:] or [None])[0] == (moves[-1][1] if moves else None)


@given(_moves)
def test_the_way_never_stays_where_it_is(moves: list[Move]) -> None:
    way = way_back(moves)
    assert all(one != next_one for one, next_one in itertools.pairwise(way))


@given(_moves)
def test_rolling_back_to_the_step_before_ends_at_the_first_release_and_never_returns(moves: list[Move]) -> None:
    history = list(moves)
    seen: list[str] = []
    while len(way := way_back(history)) > 1:
        history.append((MoveKind.ROLLED_BACK, way[-2]))
        assert len(way_back(history)) < len(way)
        seen.append(way[-2])
    assert len(seen) <= len(moves)


_hash = st.integers(0, 3).map(lambda n: f"sha256:{n:064x}")
_configurations = st.builds(
    ServingConfiguration,
    project_id=st.just("p"),
    base_model=_hash,
    prompt_version=_hash,
    generator_adapter=st.none() | _hash,
    triage_adapter=st.none() | _hash,
    routing=st.builds(Routing, mode=st.sampled_from(["generate", "evidence"]), passages=st.integers(1, 5)),
    guard=st.builds(GuardPolicy, max_sentences=st.integers(1, 4), require_citation=st.booleans()),
)


def _manifest(configuration: ServingConfiguration) -> dict[str, object]:
    return Proposal(
        project_id="p", project_key="p", number=1, name="", configuration=configuration, adapters={},
        baseline=None, publish=CorpusPolicy(), parent=None, changed=list(SLOTS), evidence=[], unproven={}, makers=[],
        reason="r", despite="", proposed_at="2026-01-01T00:00:00+00:00",
    ).as_json()  # fmt: skip


@given(_configurations)
def test_a_manifest_gives_back_the_configuration_it_was_made_of(configuration: ServingConfiguration) -> None:
    assert configuration_of(_manifest(configuration)) == configuration


@given(_configurations, _configurations)
def test_two_manifests_have_one_hash_exactly_when_no_slot_differs(
    one: ServingConfiguration, other: ServingConfiguration
) -> None:
    assert (hash_of(_manifest(one)) == hash_of(_manifest(other))) == (changed_slots(one, other) == [])


def test_of_promotions_at_the_same_time_one_wins(bank: Bank) -> None:
    bank.release_first()
    rivals = []
    for number in range(4):
        rival = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt(f"Prompt {number}.")), despite="x")
        bank.approve(rival, justification="x")
        rivals.append(rival)
    outcomes = _at_once([lambda rival=rival: bank.promote(rival) for rival in rivals])
    won = [outcome for outcome in outcomes if not isinstance(outcome, WorkbenchError)]
    assert len(won) == 1
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome not in won)
    assert bank.live().release_id == won[0].release.id
    assert won[0].move.number == 2


def test_of_rollbacks_at_the_same_time_by_people_who_saw_the_same_one_wins(bank: Bank) -> None:
    bank.release_first()
    second = bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.release_next(prompt_version=bank.add_prompt("Third."))
    outcomes = _at_once([lambda: bank.rollback(expected_move=3) for _ in range(4)])
    assert sum(not isinstance(outcome, Conflict) for outcome in outcomes) == 1
    assert bank.live().release_id == second.id


def test_a_promotion_and_a_rollback_at_the_same_time_leave_one_verified_release(bank: Bank) -> None:
    bank.release_first()
    second = bank.release_next(prompt_version=bank.add_prompt("Second."))
    third = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Third.")), despite="x")
    bank.approve(third, justification="x")
    outcomes = _at_once([lambda: bank.promote(third, expected_move=2), lambda: bank.rollback(expected_move=2)])
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1
    assert bank.live().release_id != second.id


def test_readers_never_see_a_breach_while_the_channel_moves(bank: Bank) -> None:
    bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    first, second = (move_release for move_release in _live_ids(bank))
    stop = threading.Event()
    breaches: list[WorkbenchError] = []

    def read() -> None:
        from workbench.releases.verify import live

        other = bootstrap(settings=bank.services.context.settings)
        while not stop.is_set():
            try:
                live(other.context, bank.project.id)
            except WorkbenchError as error:
                breaches.append(error)
        other.context.database.dispose()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(12):
        bank.rollback(to=first if turn % 2 == 0 else second)
    stop.set()
    for reader in readers:
        reader.join()
    assert breaches == []


def test_the_high_water_mark_never_falls(bank: Bank) -> None:
    settings = bank.services.context.settings

    def seen() -> int:
        mark = high_water(settings, bank.project.id, "production")
        return mark.number if mark else 0

    raise_high_water(settings, bank.project.id, "production", HighWater(7, "seven"))
    raise_high_water(settings, bank.project.id, "production", HighWater(3, "three"))
    assert seen() == 7
    _at_once(
        [
            lambda number=number: raise_high_water(settings, bank.project.id, "production", HighWater(number, str(number)))
            for number in (12, 9, 20, 15)
        ]
    )
    assert seen() == 20


def _live_ids(bank: Bank) -> list[str]:
    from workbench.releases.moves import moves_of

    with bank.services.context.database.session() as session:
        return [move.release_id for move in moves_of(session, bank.project.id, "production")]


def _at_once(acts: list) -> list:  # type: ignore[type-arg]
    """Run acts in threads that start together; each outcome is what was returned or the WorkbenchError raised."""
    outcomes: list[object] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = acts[index]()
        except WorkbenchError as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
