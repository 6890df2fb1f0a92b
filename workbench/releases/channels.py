"""Moving a channel: numbered, compared and set, signed."""

from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import Session, col, select

from workbench.core.clock import now
from workbench.core.errors import Conflict, IntegrityError, NotFound, Unavailable, WorkbenchError
from workbench.core.unit_of_work import Context, UnitOfWork
from workbench.releases.models import Channel, ChannelMove, MoveKind, Release
from workbench.releases.moves import moves_of, trusted, way_of
from workbench.releases.pins import high_water
from workbench.releases.signing import move_statement, sign_move
from workbench.releases.verify import check_release, verified


@dataclass(frozen=True)
class Moved:
    """A move that was made, and the release that is live by it."""

    move: ChannelMove
    release: Release

    @property
    def release_name(self) -> str:
        """The release as people read it."""
        return self.release.title


def move_channel(
    context: Context, work: UnitOfWork, release: Release, *, kind: MoveKind, channel: str, reason: str, expected: int | None
) -> Moved:
    """Point a channel to a release inside a command's transaction.

    Raises:
        Conflict: the channel has moved since `expected`, or somebody moves it at this moment.
    """
    settings, session = context.settings, work.session
    project_id = release.project_id
    try:
        seen = high_water(settings, project_id, channel)
    except IntegrityError:
        if kind is not MoveKind.ROLLED_BACK:
            raise
        seen = None  # Damaged: the rollback writes it anew.
    pointer = lock_channel(session, project_id, channel)
    if pointer is None:
        pointer = Channel(project_id=project_id, name=channel)
        work.add(pointer)
    if expected is not None and expected != pointer.number:
        raise Conflict(f"The channel {channel} has moved since you looked.", todo="Reload the page and see what is live now.")
    moves = moves_of(session, project_id, channel)
    number = 1 + max(pointer.number, moves[-1].number if moves else 0, seen.number if seen else 0)
    previous = next(reversed(trusted(settings, moves)), None)
    at = now()
    statement = move_statement(
        project_id=project_id, channel=channel, number=number, kind=kind.value, release=release, previous=previous,
        by_id=work.actor.id, by_name=work.actor.name, reason=reason, at=at,
    )  # fmt: skip
    move = ChannelMove(
        project_id=project_id, channel=channel, number=number, kind=kind.value, release_id=release.id,
        manifest_hash=release.manifest_hash, previous_release_id=previous.release_id if previous else None,
        by_id=work.actor.id, by_name=work.actor.name, reason=reason, at=at, statement=statement,
        signature=sign_move(settings, statement),
    )  # fmt: skip
    changed = session.exec(
        update(Channel)
        .where(col(Channel.id) == pointer.id, col(Channel.number) == pointer.number)
        .values(number=number, release_id=release.id, previous_release_id=move.previous_release_id, moved_at=at)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:
        raise Conflict(f"Somebody else moves the channel {channel} at this moment.", todo="Reload the page.")
    move.event_id = work.record(
        f"releases.{kind.value}", subject=release, reason=reason, channel=channel, move=number, manifest=release.manifest_hash,
        number=release.number, previous=previous.manifest_hash if previous else None,
        repaired=len(moves) - len(trusted(settings, moves)),
    )  # fmt: skip
    work.add(move)
    work.remember(move_id=move.id)
    return Moved(move, release)


def lock_channel(session: Session, project_id: str, channel: str) -> Channel | None:
    """The channel's row, held against other moves until the end of the transaction; None before the first move."""
    return session.exec(
        select(Channel).where(Channel.project_id == project_id, Channel.name == channel).with_for_update()
    ).first()


def rollback_target(context: Context, session: Session, project_id: str, channel: str, to: str | None) -> Release:
    """The release that a rollback puts back.

    Args:
        to: a release's id; None: the newest one before the present that still holds.

    Raises:
        Unavailable: nothing is live.
        Conflict: there is none to go back to, or the one named is live already or was never live here.
        NotFound, IntegrityError: the one named does not exist or does not hold.
    """
    moves = trusted(context.settings, moves_of(session, project_id, channel))
    if not moves:
        raise Unavailable("Nothing is released yet.", why=f"The channel {channel} has no release.", todo="Promote a release.")
    way = way_of(moves)
    if to is None:
        for release_id in dict.fromkeys(reversed(way[:-1])):
            release = session.get(Release, release_id)
            if release is not None and release_id != way[-1] and _holds(context, session, release):
                return release
        raise Conflict(
            "There is no earlier release to go back to.",
            why="This is the first one on the channel, or the earlier ones were withdrawn.",
            todo="Propose a release that mends what is wrong.",
        )
    release = session.get(Release, to)
    if release is None or release.project_id != project_id:
        raise NotFound(f"There is no release with the id {to!r} in this project.")
    if to not in {move.release_id for move in moves}:
        raise Conflict(
            f"Release {release.number} was never live on {channel}.",
            todo="A release goes live for the first time by a promotion.",
        )
    if to == way[-1] and _is_live(context, session, project_id, channel):
        raise Conflict(f"Release {release.number} is live already.")
    check_release(context.settings, session, release)
    return release


def _holds(context: Context, session: Session, release: Release) -> bool:
    try:
        check_release(context.settings, session, release)
    except WorkbenchError:
        return False
    return True


def _is_live(context: Context, session: Session, project_id: str, channel: str) -> bool:
    try:
        verified(context, session, project_id, channel, high_water(context.settings, project_id, channel))
    except WorkbenchError:
        return False
    return True
