"""The moves of a channel: reading them, trusting them, and where a rollback leads."""

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from workbench.core.settings import Settings
from workbench.releases.models import ChannelMove, MoveKind
from workbench.releases.signing import move_holds


def moves_of(session: Session, project_id: str, channel: str) -> list[ChannelMove]:
    """Every move of a channel, oldest first, as the database has them."""
    return list(
        session.exec(
            select(ChannelMove)
            .where(ChannelMove.project_id == project_id, ChannelMove.channel == channel)
            .order_by(col(ChannelMove.number))
        )
    )


def newest_move(session: Session, project_id: str, channel: str) -> ChannelMove | None:
    """The move with the highest number, as the database has it."""
    return session.exec(
        select(ChannelMove)
        .where(ChannelMove.project_id == project_id, ChannelMove.channel == channel)
        .order_by(col(ChannelMove.number).desc())
        .limit(1)
    ).first()


def trusted(settings: Settings, moves: Iterable[ChannelMove]) -> list[ChannelMove]:
    """Those moves that the instance signed as they stand; altered rows count for nothing."""
    return [move for move in moves if move_holds(settings, move)]


def way_back(moves: Sequence[tuple[MoveKind, str]]) -> list[str]:
    """The releases a channel came along, oldest first, its present one last.

    A promotion goes a step on. A rollback returns to its release and forgets what came after it, so that rolling back twice
    goes back twice and never to what was just taken out. A rollback to a release off this way goes a step on.

    Args:
        moves: kind and release id, oldest first.
    """
    way: list[str] = []
    for kind, release_id in moves:
        if kind is MoveKind.ROLLED_BACK and release_id in way:
            last = len(way) - 1 - way[::-1].index(release_id)
            del way[last + 1 :]
        elif not way or way[-1] != release_id:
            way.append(release_id)
    return way


def way_of(moves: Iterable[ChannelMove]) -> list[str]:
    """`way_back` over rows."""
    return way_back([(MoveKind(move.kind), move.release_id) for move in moves])
