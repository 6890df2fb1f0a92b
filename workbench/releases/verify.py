"""What is live, believed only because signatures say so.

The database says where to look; what may be served is decided by keys that lie outside it: the newest move must be signed by
the instance and be the newest this installation has seen, its release's manifest must be the one that was proposed, and
enough people who did not make it must have signed their approval.
"""

import threading
from dataclasses import dataclass

from sqlmodel import Session, col, select

from workbench.core.errors import Conflict, IntegrityError, Unavailable
from workbench.core.settings import Settings
from workbench.core.unit_of_work import Context
from workbench.releases.components import check_light_components
from workbench.releases.models import PRODUCTION, Approval, Channel, ChannelMove, Release
from workbench.releases.moves import newest_move
from workbench.releases.pins import HighWater, high_water, high_water_file, is_withdrawn, raise_high_water
from workbench.releases.signing import APPROVED, REJECTED, decision_holds, manifest_holds, move_hash, move_holds
from workbench.serving.configuration import ServingConfiguration

_TODO = "Roll back to a release by name, and look at the Audit page: somebody or something changed the database."
_CACHE = "releases.live"
_LOCK = threading.Lock()


@dataclass(frozen=True)
class LiveRelease:
    """The incumbent of a channel, verified."""

    release: Release
    configuration: ServingConfiguration
    move: ChannelMove
    """The move that put it there."""
    approvals: tuple[Approval, ...]
    """The approvals that count."""


def live(context: Context, project_id: str, channel: str = PRODUCTION) -> LiveRelease:
    """What a channel serves, with every signature checked.

    A full check happens at the first call in a process and whenever the channel or its high-water mark changed; in between
    a call costs one small query.

    Raises:
        Unavailable: nothing is released on the channel yet.
        IntegrityError: a signature, a hash or an artifact does not hold, or an older move was put back.
    """
    settings = context.settings
    # Before the database is looked at: a move made meanwhile must not look like an older one put back.
    seen = high_water(settings, project_id, channel)
    modified = _modified(settings, project_id, channel)
    with context.database.session() as session:
        pointer = _pointer(session, project_id, channel)
        stamp = (*pointer, modified)
        with _LOCK:
            cached = context.extras.setdefault(_CACHE, {}).get((project_id, channel))
        if cached is not None and cached[0] == stamp:
            found: LiveRelease = cached[1]
            return found
        checked = verified(context, session, project_id, channel, seen)
        check_light_components(context, session, checked.configuration)
    mark = HighWater(checked.move.number, move_hash(checked.move))
    raise_high_water(settings, project_id, channel, mark)
    stamp = (*pointer, _modified(settings, project_id, channel))
    with _LOCK:
        context.extras[_CACHE][project_id, channel] = (stamp, checked)
    return checked


def verified(context: Context, session: Session, project_id: str, channel: str, seen: HighWater | None) -> LiveRelease:
    """The same inside a session and without the cache or the artifacts: move, manifest and approvals are checked.

    Args:
        seen: the high-water mark, read before the session's transaction began.

    Raises:
        Unavailable, IntegrityError
    """
    settings = context.settings
    # One statement for both, and once more where the first promotion may have come between two.
    found = _pointer_and_move(session, project_id, channel) or (
        newest_move(session, project_id, channel) and _pointer_and_move(session, project_id, channel)
    )
    number, release_id, move = found or (0, None, newest_move(session, project_id, channel))
    if move is None or release_id is None:
        if move is None and seen is None and release_id is None:
            raise Unavailable(
                "Nothing is released yet.",
                why=f"The channel {channel} has no release.",
                todo="Propose a release, have it approved, and promote it on the Releases page.",
            )
        raise IntegrityError(f"The channel {channel} was emptied in the database.", why="It has had a release.", todo=_TODO)
    if not move_holds(settings, move):
        raise IntegrityError(f"The newest move of the channel {channel} does not carry our signature.", todo=_TODO)
    if move.number != number or move.release_id != release_id:
        raise IntegrityError(
            f"The channel {channel} points to something else than its newest signed move.",
            why=f"Move {move.number} and pointer {number} differ.",
            todo=_TODO,
        )
    if seen is not None and (move.number < seen.number or (move.number == seen.number and move_hash(move) != seen.move_hash)):
        raise IntegrityError(
            f"The channel {channel} was set back to an older move.",
            why=f"The keys folder has seen move {seen.number}, the database ends at move {move.number}.",
            todo="If you restored an older backup, roll back to a release by name; otherwise look at the Audit page.",
        )
    release = session.get(Release, release_id)
    if release is None or release.manifest_hash != move.manifest_hash:
        raise IntegrityError(f"The release behind the channel {channel} was replaced in the database.", todo=_TODO)
    try:
        approvals = check_release(settings, session, release, serving=True)
    except Conflict as error:
        raise IntegrityError(error.what, why=f"Yet the channel {channel} points to it.", todo=_TODO) from error
    return LiveRelease(release, release.configuration, move, tuple(approvals))


def check_release(settings: Settings, session: Session, release: Release, *, serving: bool = False) -> list[Approval]:
    """Whether a release may be live; returns the approvals that count.

    Args:
        serving: whether it is live already, where a missing approval is a breach and no matter of waiting.

    Raises:
        IntegrityError: the manifest is not the one proposed, or an approval does not hold.
        Conflict: it is not approved yet, or was rejected or withdrawn, or rests on a failed comparison.
    """
    if not manifest_holds(settings, release):
        raise IntegrityError(f"The manifest of release {release.number} is not the one that was proposed.", todo=_TODO)
    ended = not serving and release.status.is_terminal
    if ended or is_withdrawn(settings, release.manifest_hash):
        raise Conflict(f"Release {release.number} was withdrawn or rejected.", todo="Propose a new one.")
    decisions = decisions_on(session, release.id)
    if any(decision.meaning == REJECTED for decision in decisions):
        raise Conflict(f"Release {release.number} was rejected.", todo="Propose a new one.")
    manifest = release.manifest
    if any(item["verdict"] == "FAIL" for item in manifest["evidence"]):
        raise Conflict(f"Release {release.number} rests on a comparison that failed.", todo="Propose a better candidate.")
    makers = {maker["id"] for maker in manifest["makers"]}
    counting = [
        decision
        for decision in decisions
        if decision.meaning == APPROVED
        and decision.person_id not in makers
        and (decision.reason.strip() or not needs_justification(release))
        and decision_holds(settings, release, decision)
    ]
    if len({approval.person_id for approval in counting}) < manifest["approval_policy"]["needed"]:
        if decisions or serving:
            raise IntegrityError(
                f"Release {release.number} has no approval that holds.",
                why="The signature was not made with that person's key over this manifest, or a maker of the release gave it.",
                todo=_TODO,
            )
        raise Conflict(f"Release {release.number} is not approved yet.", todo="Ask a reviewer to look at it.")
    return counting


def needs_justification(release: Release) -> bool:
    """Whether an approver has to write why: something is inconclusive, or unproven against what is live."""
    manifest = release.manifest
    inconclusive = any(item["verdict"] != "PASS" for item in manifest["evidence"])
    return inconclusive or bool(manifest["unproven"] and manifest["parent"])


def decisions_on(session: Session, release_id: str) -> list[Approval]:
    """Every decision about a release, oldest first."""
    return list(session.exec(select(Approval).where(Approval.release_id == release_id).order_by(col(Approval.at))))


def _pointer(session: Session, project_id: str, channel: str) -> tuple[int, str | None]:
    row = session.exec(
        select(Channel.number, Channel.release_id).where(Channel.project_id == project_id, Channel.name == channel)
    ).first()
    return (0, None) if row is None else (row[0], row[1])


def _pointer_and_move(session: Session, project_id: str, channel: str) -> tuple[int, str | None, ChannelMove | None] | None:
    of_channel = (col(ChannelMove.project_id) == Channel.project_id) & (col(ChannelMove.channel) == Channel.name)
    row = session.exec(
        select(Channel.number, Channel.release_id, ChannelMove)
        .join_from(Channel, ChannelMove, of_channel, isouter=True)
        .where(Channel.project_id == project_id, Channel.name == channel)
        .order_by(col(ChannelMove.number).desc())
        .limit(1)
    ).first()
    return None if row is None else (row[0], row[1], row[2])


def _modified(settings: Settings, project_id: str, channel: str) -> int:
    try:
        return high_water_file(settings, project_id, channel).stat().st_mtime_ns
    except FileNotFoundError:
        return 0
