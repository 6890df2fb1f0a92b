"""Lists of traces kept under a name: of one person, or shared with the project."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.identity.policy import allowed
from workbench.traces.store import insert
from workbench.traces.view_models import DefaultView, SavedView

Query = Mapping[str, str | Sequence[str]]
"""Query parameter → its value, or several."""

MOST = 200
"""Views that one person may keep in a project."""
_LONGEST_NAME, _LONGEST_DESCRIPTION, _LONGEST_QUERY = 80, 500, 20_000
_NOT_KEPT = ("view", "trace", "after")
"""They say where somebody was in the list, not which list it is."""
_PARAMETER = re.compile(r"[a-z][a-z_]{0,39}")


class SavedViewService(Service):
    """Saving, changing and choosing views. The ledger has ids and hashes only: filters may name end users."""

    def save(
        self,
        actor: Actor,
        project_id: str,
        name: str,
        query: Query,
        *,
        description: str = "",
        shared: bool = False,
        command_id: str | None = None,
    ) -> str:
        """Keep a list under a name; returns the view's id.

        Raises:
            InvalidInput: no name, one too long, a query that is none, or too many views.
            Conflict: this person has a view of that name.
        """
        name, description, kept = _named(name), _described(description), checked_query(query)
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.READ_PROJECT, project_id)
            if (before := work.once(command_id)) is not None:
                return str(before["id"])
            mine = work.session.exec(
                select(SavedView).where(SavedView.project_id == project_id, SavedView.owner_id == actor.id)
            ).all()
            if len(mine) >= MOST:
                raise InvalidInput(f"You have {MOST} views, which is the most.", todo="Delete one that you no longer need.")
            _refuse_taken(name, mine)
            view = work.add(
                SavedView(
                    project_id=project_id, owner_id=actor.id, owner_name=actor.name, name=name, description=description,
                    shared=shared, query=kept,
                )
            )  # fmt: skip
            work.record("traces.view_saved", subject=view, shared=shared, query_hash=content_hash(kept))
            work.remember(id=view.id)
        return view.id

    def change(
        self,
        actor: Actor,
        view_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        shared: bool | None = None,
        query: Query | None = None,
        command_id: str | None = None,
    ) -> SavedView:
        """Change what is given of a view; its owner and admins may.

        Raises:
            NotFound, NotAllowed, InvalidInput
            Conflict: its owner has another view of that name.
        """
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = _named(name)
        if description is not None:
            changes["description"] = _described(description)
        if shared is not None:
            changes["shared"] = shared
        if query is not None:
            changes["query"] = checked_query(query)
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            view = _changeable(work, view_id)
            if work.once(command_id) is not None:
                return view
            changes = {field: value for field, value in changes.items() if getattr(view, field) != value}
            if not changes:
                return view
            if "name" in changes:
                others = select(SavedView).where(
                    SavedView.project_id == view.project_id, SavedView.owner_id == view.owner_id, SavedView.id != view.id
                )
                _refuse_taken(changes["name"], work.session.exec(others).all())
            before = content_hash(view.query)
            for field, value in changes.items():
                setattr(view, field, value)
            view.changed_at = now()
            work.add(view)
            if changes.get("shared") is False:  # nobody else may begin with what they no longer see
                _forget_defaults(work, view, keep=view.owner_id)
            work.record(
                "traces.view_changed", subject=view, changed=sorted(changes), shared=view.shared,
                query_hash_before=before, query_hash=content_hash(view.query),
            )  # fmt: skip
            work.remember(id=view.id)
        return view

    def delete(self, actor: Actor, view_id: str) -> None:
        """Delete a view; its owner and admins may. Deleting it again changes nothing.

        Raises:
            NotAllowed
        """
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            if work.session.get(SavedView, view_id) is None:
                return
            view = _changeable(work, view_id)
            _forget_defaults(work, view)
            work.session.delete(view)
            work.record("traces.view_deleted", subject=view, shared=view.shared, query_hash=content_hash(view.query))

    def begin_with(self, actor: Actor, project_id: str, view_id: str | None) -> None:
        """Let this person's list of traces begin with a view; None: with the ordinary list.

        Raises:
            NotFound: there is no such view that this person sees.
        """
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.READ_PROJECT, project_id)
            if view_id is None:
                work.session.execute(
                    delete(DefaultView).where(col(DefaultView.project_id) == project_id, col(DefaultView.person_id) == actor.id)
                )
            else:
                _visible(work.session, actor.id, project_id, view_id)
                row = {"project_id": project_id, "person_id": actor.id, "view_id": view_id}
                statement = insert(self.context, DefaultView).on_conflict_do_update(
                    index_elements=["project_id", "person_id"], set_={"view_id": view_id}
                )
                work.session.connection().execute(statement, [row])
            work.record(
                "traces.default_view_chosen", subject=("default_view", actor.id), project_id=project_id, view_id=view_id
            )


def list_views(session: Session, project_id: str, person_id: str) -> list[SavedView]:
    """A person's own views and the project's shared ones, by name; their own first."""
    statement = select(SavedView).where(
        SavedView.project_id == project_id, (col(SavedView.owner_id) == person_id) | col(SavedView.shared)
    )
    order = (col(SavedView.owner_id) != person_id, func.lower(col(SavedView.name)), col(SavedView.id))
    return list(session.exec(statement.order_by(*order)))


def find_view(session: Session, project_id: str, person_id: str, view_id: str) -> SavedView:
    """A view that this person sees.

    Raises:
        NotFound
    """
    return _visible(session, person_id, project_id, view_id)


def default_view(session: Session, project_id: str, person_id: str) -> SavedView | None:
    """The view that this person's list begins with."""
    chosen = session.get(DefaultView, (project_id, person_id))
    if chosen is None:
        return None
    try:
        return _visible(session, person_id, project_id, chosen.view_id)
    except NotFound:
        return None


def may_change(actor: Actor, view: SavedView) -> bool:
    """Whether to offer changing it: its owner, and admins where it is shared."""
    is_admin = allowed(actor, Permission.MANAGE_PROJECTS, view.project_id)
    return view.owner_id == actor.id or (view.shared and is_admin)


def checked_query(query: Query) -> dict[str, str | list[str]]:
    """The query parameters that make a view, in a fixed order and without empty ones.

    Raises:
        InvalidInput: a parameter that is none, or too much of it.
    """
    kept: dict[str, str | list[str]] = {}
    for name, value in sorted(query.items()):
        if name in _NOT_KEPT or not value:
            continue
        values = [value] if isinstance(value, str) else list(value)
        if not _PARAMETER.fullmatch(name) or not all(isinstance(one, str) for one in values):
            raise InvalidInput("This is no filter of the traces page.", why=f"{name[:40]!r} is no query parameter.")
        # What a database cannot hold as text cannot be searched for either.
        clean = [one.replace("\x00", "").encode("utf-8", "replace").decode() for one in values]
        kept[name] = clean[0] if isinstance(value, str) else clean
    if len(json.dumps(kept)) > _LONGEST_QUERY:
        raise InvalidInput("This view has too many filters to keep.", todo="Remove some of its values.")
    return kept


def _visible(session: Session, person_id: str, project_id: str, view_id: str) -> SavedView:
    view = session.get(SavedView, view_id)
    if view is None or view.project_id != project_id or not (view.shared or view.owner_id == person_id):
        raise NotFound(
            "There is no such view.",
            why="It was deleted, or its owner keeps it to themselves.",
            todo="Choose another view, or ask its owner to share it.",
        )
    return view


def _changeable(work: UnitOfWork, view_id: str) -> SavedView:
    view = work.get(SavedView, view_id, lock=True)
    work.require(Permission.READ_PROJECT, view.project_id)
    _visible(work.session, work.actor.id, view.project_id, view_id)
    if not may_change(work.actor, view):
        raise NotAllowed(
            "This view is not yours to change.", why=f"It belongs to {view.owner_name}.", todo="Save a view of your own."
        )
    return view


def _forget_defaults(work: UnitOfWork, view: SavedView, *, keep: str | None = None) -> None:
    statement = delete(DefaultView).where(col(DefaultView.view_id) == view.id)
    if keep is not None:
        statement = statement.where(col(DefaultView.person_id) != keep)
    work.session.execute(statement)


def _refuse_taken(name: str, views: Sequence[SavedView]) -> None:
    if any(view.name.casefold() == name.casefold() for view in views):
        raise Conflict("There is a view of that name already.", todo="Choose another name, or update that view.")


def _named(name: str) -> str:
    word = " ".join(name.replace("\x00", "").split())
    if not word or len(word) > _LONGEST_NAME:
        raise InvalidInput(f"A view's name has 1 to {_LONGEST_NAME} characters.")
    return word


def _described(description: str) -> str:
    text = description.replace("\x00", "").strip()
    if len(text) > _LONGEST_DESCRIPTION:
        raise InvalidInput(f"A view's description has at most {_LONGEST_DESCRIPTION} characters.")
    return text
