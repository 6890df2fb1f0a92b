"""Errors a user can cause, as one tree: what happened, why, and what to do about it."""

from typing import ClassVar


class WorkbenchError(Exception):
    """Something a person can understand and act on.

    Pages and the API show `str(error)`, never a traceback.
    """

    status: ClassVar[int] = 400
    """The HTTP status an API answers with."""

    def __init__(self, what: str, *, why: str = "", todo: str = "") -> None:
        self.what = what
        self.why = why
        self.todo = todo
        super().__init__(" ".join(part for part in (what, why, todo) if part))


class InvalidInput(WorkbenchError):
    """The values given cannot be used as they are."""

    status = 422


class NotSignedIn(WorkbenchError):
    """Nobody is signed in, or the session or key is no longer valid."""

    status = 401


class NotAllowed(WorkbenchError):
    """The actor's roles do not permit this action."""

    status = 403


class NotFound(WorkbenchError):
    """The thing named does not exist, or not in this project."""

    status = 404


class Conflict(WorkbenchError):
    """The thing was changed meanwhile, or its state does not allow the action."""

    status = 409


class TooLarge(WorkbenchError):
    """The input is over a limit."""

    status = 413


class Unavailable(WorkbenchError):
    """A part of the workbench cannot answer right now; trying again later may work."""

    status = 503


class IntegrityError(WorkbenchError):
    """Bytes do not have the hash or signature that names them. Nothing is served or released from them."""

    status = 500
