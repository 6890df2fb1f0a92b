"""What a candidate rests on: comparisons read as evidence, and the makers who may not approve."""

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from workbench.core.actors import Actor
from workbench.core.canonical import content_hash
from workbench.core.errors import Conflict, InvalidInput, NotFound
from workbench.evaluation.models import Comparison
from workbench.golden.models import GoldenSet
from workbench.releases.manifest import SLOT_NAMES, SLOTS_BY_TASK, Evidence, Maker, Slot, same_slots
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning.models import Adapter
from workbench.tuning.queries import by_hash

_RECENT = 500
"""How many comparisons are looked through for one that the proposer did not name."""


def gather(
    session: Session,
    *,
    candidate: ServingConfiguration,
    incumbent: ServingConfiguration | None,
    changed: Sequence[Slot],
    named: Sequence[str],
) -> list[Comparison]:
    """The comparisons behind a candidate: those named, and every finished one of the same candidate that was not.

    A comparison that went badly cannot be left out: whichever compares this candidate with what is live now, on the
    newest version of its golden set, is evidence whether or not somebody names it.

    Raises:
        NotFound: a named comparison does not exist in the project.
        Conflict: a named one has no verdict.
        InvalidInput: a named one compares something else than this candidate.
    """
    found: dict[str, Comparison] = {}
    for comparison_id in named:
        comparison = session.get(Comparison, comparison_id)
        if comparison is None or comparison.project_id != candidate.project_id:
            raise NotFound(f"There is no comparison {comparison_id!r} in this project.")
        if comparison.verdict is None:
            raise Conflict("That comparison has no verdict yet.", todo="Wait until it has finished, or run it again.")
        if not same_slots(_candidate(comparison), candidate, SLOTS_BY_TASK[comparison.task]):
            raise InvalidInput(
                "That comparison is about something else than what you propose.",
                why=f"Its candidate differs in {_differences(_candidate(comparison), candidate, comparison.task)}.",
                todo="Compare exactly this candidate, or leave it out.",
            )
        found[comparison.id] = comparison
    fitting = [c for c in of_candidate(session, candidate, changed) if against(c, incumbent)]
    sets = _golden_sets(session, [*found.values(), *fitting])
    newest: dict[str, int] = {}
    for comparison in [*found.values(), *fitting]:
        golden = sets[comparison.golden_set_id]
        newest[golden.name] = max(newest.get(golden.name, 0), golden.number)
    for comparison in fitting:
        golden = sets[comparison.golden_set_id]
        if golden.number == newest[golden.name]:
            found.setdefault(comparison.id, comparison)
    return sorted(found.values(), key=lambda comparison: (comparison.created_at, comparison.id))


def of_candidate(session: Session, candidate: ServingConfiguration, changed: Sequence[Slot]) -> list[Comparison]:
    """Finished comparisons that speak of a changed slot of exactly this candidate, newest first."""
    finished = session.exec(
        select(Comparison)
        .where(Comparison.project_id == candidate.project_id, col(Comparison.verdict).is_not(None))
        .order_by(col(Comparison.created_at).desc())
        .limit(_RECENT)
    )
    return [
        comparison
        for comparison in finished
        if set(SLOTS_BY_TASK[comparison.task]) & set(changed)
        and same_slots(_candidate(comparison), candidate, SLOTS_BY_TASK[comparison.task])
    ]


def against(comparison: Comparison, incumbent: ServingConfiguration | None) -> bool:
    """Whether the comparison's incumbent is this one, in the slots that it speaks for."""
    if incumbent is None:
        return False
    return same_slots(ServingConfiguration.from_json(comparison.incumbent), incumbent, SLOTS_BY_TASK[comparison.task])


def as_evidence(comparison: Comparison, *, incumbent: ServingConfiguration | None, changed: Sequence[Slot]) -> Evidence:
    """A comparison as the manifest records it.

    Raises:
        Conflict: it has no verdict.
    """
    if comparison.verdict is None:
        raise Conflict("A comparison without a verdict is no evidence.")
    return Evidence(
        comparison_id=comparison.id,
        task=comparison.task,
        verdict=comparison.verdict,
        statistics_hash=content_hash(comparison.statistics),
        golden_set_hash=comparison.golden_hash,
        slots=[slot for slot in SLOTS_BY_TASK[comparison.task] if slot in changed],
        against_live=against(comparison, incumbent),
    )


def still_says(comparison: Comparison | None, evidence: dict[str, object]) -> bool:
    """Whether the comparison's row still says what the manifest recorded of it."""
    return (
        comparison is not None
        and comparison.verdict == evidence["verdict"]
        and comparison.golden_hash == evidence["golden_set_hash"]
        and content_hash(comparison.statistics) == evidence["statistics_hash"]
    )


def unproven_slots(changed: Sequence[Slot], evidence: Iterable[Evidence]) -> list[Slot]:
    """Changed slots that no comparison against the live release speaks for."""
    proven = {slot for item in evidence if item.against_live for slot in item.slots}
    return [slot for slot in changed if slot not in proven]


def adapters_of(session: Session, configuration: ServingConfiguration) -> dict[str, Adapter]:
    """The records of a configuration's adapters by content hash.

    Raises:
        NotFound: the project has no record of an adapter.
        InvalidInput: the adapter belongs to another base model, or fills another slot.
    """
    wanted = {"generator": configuration.generator_adapter, "triage": configuration.triage_adapter}
    found: dict[str, Adapter] = {}
    for kind, name in wanted.items():
        if name is None:
            continue
        adapter = by_hash(session, configuration.project_id, name)
        if adapter is None:
            raise NotFound(f"This project has no adapter {name[:19]}….", todo="Choose an adapter from the Tune page.")
        if adapter.kind != kind:
            raise InvalidInput(f"{adapter.title} cannot fill the slot of the {kind} adapter.")
        if kind == "generator" and adapter.base_hash != configuration.base_model:
            raise InvalidInput(
                f"{adapter.title} belongs to another base model.",
                why="An adapter only means something on the weights it was trained on.",
                todo="Choose its own base model, or train it anew on this one.",
            )
        found[name] = adapter
    return found


def makers(
    actor: Actor, comparisons: Iterable[Comparison], adapters: Iterable[Adapter], *, first: str = "proposed this release"
) -> list[Maker]:
    """Everybody whose work is up for decision: the proposer, and who launched the jobs behind the evidence."""
    made = [Maker(actor.id, actor.name, first)]
    made += [
        Maker(adapter.launched_by, adapter.launched_by_name, f"launched the fine-tune of {adapter.title.lower()}")
        for adapter in adapters
    ]
    made += [Maker(c.launched_by, c.launched_by_name, f"launched the {c.task} comparison") for c in comparisons]
    return list({(maker.id, maker.did): maker for maker in made}.values())


def _candidate(comparison: Comparison) -> ServingConfiguration:
    return ServingConfiguration.from_json(comparison.candidate)


def _differences(one: ServingConfiguration, other: ServingConfiguration, task: str) -> str:
    return " and ".join(SLOT_NAMES[slot] for slot in SLOTS_BY_TASK[task] if not same_slots(one, other, (slot,)))


def _golden_sets(session: Session, comparisons: Iterable[Comparison]) -> dict[str, GoldenSet]:
    ids = {comparison.golden_set_id for comparison in comparisons}
    return {row.id: row for row in session.exec(select(GoldenSet).where(col(GoldenSet.id).in_(ids)))}
