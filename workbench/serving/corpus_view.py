"""A corpus commit in memory: its versions, checked against their hashes, and their words.

Versions never change, so moving to a newer head loads only what that commit brought. A head view is looked up in SQL at each
question: an edit counts from the next question on, whatever any cache holds.
"""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from sqlmodel import Session, col, select

from workbench.core.errors import IntegrityError
from workbench.core.unit_of_work import Context
from workbench.knowledge import queries
from workbench.knowledge.content import content_of
from workbench.knowledge.corpus import corpus_hash
from workbench.knowledge.models import CorpusCommit, KnowledgeEntryVersion
from workbench.serving.lexical import LexicalIndex

log = logging.getLogger(__name__)
_KEPT_VIEWS = 12
_IDS_AT_ONCE = 500


@dataclass
class CorpusView:
    """The entry versions of one commit. Hold `lock` while reading it: a head view moves."""

    project_id: str
    tenant: str
    commit: CorpusCommit | None = None
    versions: dict[str, KnowledgeEntryVersion] = field(default_factory=dict)
    """By version id."""
    altered: set[str] = field(default_factory=set)
    """Ids of versions whose text no longer has its hash; they are not used."""
    lexical: LexicalIndex = field(default_factory=LexicalIndex)
    lock: threading.RLock = field(default_factory=threading.RLock)


class CorpusViews:
    """Views of heads and of fixed commits, kept between questions."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._views: OrderedDict[tuple[str, str, str | None], CorpusView] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, session: Session, project_id: str, tenant: str, commit_id: str | None) -> CorpusView:
        """The view of a commit, or with None of the head right now; without any commit it is empty.

        Raises:
            NotFound: no such commit in the project.
            IntegrityError: the rows do not have the hash that the commit names.
        """
        key = (project_id, tenant, commit_id)
        with self._lock:
            view = self._views.pop(key, None) or CorpusView(project_id, tenant)
            self._views[key] = view
            while len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)
        if commit_id is None:
            commit = queries.head(session, project_id, tenant)
        else:
            commit = queries.get_commit(session, project_id, commit_id)
        with view.lock:
            # Forward only: a slower question that saw the former head must not take a faster one's view back to it.
            if commit is not None and (view.commit is None or view.commit.number < commit.number):
                _move(session, view, commit)
        return view


def _move(session: Session, view: CorpusView, commit: CorpusCommit) -> None:
    wanted = queries.member_ids(session, commit)
    ids = set(wanted.values())
    for version_id in set(view.versions) - ids:
        view.lexical.remove(version_id)
        del view.versions[version_id]
        view.altered.discard(version_id)
    missing = sorted(ids - set(view.versions))
    for start in range(0, len(missing), _IDS_AT_ONCE):
        statement = select(KnowledgeEntryVersion).where(
            col(KnowledgeEntryVersion.id).in_(missing[start : start + _IDS_AT_ONCE])
        )
        for version in session.exec(statement).all():
            session.expunge(version)
            view.versions[version.id] = version
            if content_of(version).hash(version.key) == version.content_hash:
                # Tags count like the title: they are how an expert adds the words that askers use, in any language.
                view.lexical.add(version.id, " ".join([version.title, *version.tags]), version.text)
            else:
                view.altered.add(version.id)
                log.error("knowledge version %s of %s does not have its hash; it is not used", version.id, version.key)
    if corpus_hash({v.entry_id: v.content_hash for v in view.versions.values()}) != commit.content_hash:
        view.commit = None
        raise IntegrityError(
            f"The live knowledge does not have the hash of its corpus commit {commit.number}.",
            why="A row was changed or removed without a commit.",
            todo="Restore the database from a backup, or return to an earlier commit.",
        )
    session.expunge(commit)
    view.commit = commit
