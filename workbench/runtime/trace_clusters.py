"""Groups low-rated traces by what was asked, in the background, where the embedding model is."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np

from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.core.unit_of_work import Context
from workbench.runtime.embedding import Embedder, Vectors
from workbench.runtime.engine import Slot
from workbench.traces import clusters
from workbench.traces.cluster_names import name_groups
from workbench.traces.clusters import ClusterService, Found, Told

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
FEWEST = 3
"""Traces that make a group."""
_APART = 0.72
"""Mean cosine distance, without what the language brings, at which two groups are no longer one."""
_MOST_GROUPS = 40
_FEWEST_OF_A_LANGUAGE = 20
_NOTHING = 1e-6

Embed = Callable[[Sequence[str]], Vectors]


def group(told: Sequence[Told], others: Sequence[tuple[str, str]], embed: Embed, *, since: datetime) -> list[Found]:
    """Groups of traces about one thing, the largest first.

    Args:
        told: the traces of the period and of the one before.
        others: what else people asked, with its language: what all questions in a language share tells nothing.
        since: begin of the period; only groups with FEWEST traces in it are answered.

    Average linkage over cosine distance (scikit-learn's AgglomerativeClustering): the groups need not be balls, their number is
    not given, and unlike with a density based method a handful of alike questions is a group already.
    """
    if len(told) < FEWEST:
        return []
    from sklearn.cluster import AgglomerativeClustering

    vectors = _without_language(told, others, embed)
    made = AgglomerativeClustering(n_clusters=None, metric="cosine", linkage="average", distance_threshold=_APART)
    labels = made.fit_predict(vectors)
    members: list[tuple[list[Told], list[Told]]] = []
    for label in np.unique(labels):
        chosen = np.flatnonzero(labels == label)
        centre = vectors[chosen].mean(axis=0)
        typical = [told[index] for index in chosen[np.argsort(-(vectors[chosen] @ centre), kind="stable")]]
        inside = [one for one in typical if one.at >= since]
        if len(inside) >= FEWEST:
            members.append((inside, [one for one in typical if one.at < since]))
    members = sorted(members, key=lambda pair: -len(pair[0]))[:_MOST_GROUPS]
    texts = [[one.text for one in (*inside, *before)] for inside, before in members]
    around = [_around({one.language for one in (*inside, *before)}, others) for inside, before in members]
    names = name_groups(texts, around)
    return [
        Found(terms, [one.trace_id for one in inside], [one.trace_id for one in before])
        for terms, (inside, before) in zip(names, members, strict=True)
    ]


def _without_language(told: Sequence[Told], others: Sequence[tuple[str, str]], embed: Embed) -> Vectors:
    """Unit vectors of the texts less what all texts of their language share: otherwise the groups would be languages."""
    vectors = embed([one.text for one in told])
    elsewhere = embed([text for _, text in others])
    spoken, around = np.array([one.language for one in told]), np.array([language for language, _ in others])
    result = vectors.copy()
    for language in np.unique(spoken):
        all_of_it = np.concatenate([vectors[spoken == language], elsewhere[around == language]])
        if len(all_of_it) >= _FEWEST_OF_A_LANGUAGE:
            result[spoken == language] -= all_of_it.mean(axis=0)
    norms = np.linalg.norm(result, axis=1, keepdims=True)
    unit: Vectors = np.where(norms > _NOTHING, result / np.maximum(norms, _NOTHING), vectors)
    return unit


def _around(languages: set[str], others: Sequence[tuple[str, str]]) -> list[str]:
    same = [text for language, text in others if language in languages]
    return same if len(same) >= _FEWEST_OF_A_LANGUAGE else [text for _, text in others]


class TraceGrouper:
    """Groups anew what was asked for at once, and the rest every hour if something was said meanwhile."""

    def __init__(self, context: Context, embedder: Slot[Embedder]) -> None:
        self._context, self._embedder = context, embedder
        self._service = ClusterService(context)

    def follow(self, stopping: threading.Event) -> None:
        """Look now and then until asked to stop."""
        trouble = ""
        while not stopping.wait(LOOK_SECONDS):
            embedder = self._embedder.ready
            if embedder is None:
                continue
            try:
                for project_id, run_id in clusters.due(self._context):
                    self.make(project_id, run_id, embedder.embed)
                trouble = ""
            except Exception as error:  # A home that is being migrated, a locked file: try again, and say it once.
                if trouble != type(error).__name__:
                    trouble = type(error).__name__
                    log.warning("low-rated traces are not grouped: %s: %s", trouble, str(error).splitlines()[:1])

    def make(self, project_id: str, run_id: str | None, embed: Embed) -> None:
        """Group the low-rated traces of one project and keep the groups; a failure is kept too."""
        moment = now()
        with self._context.database.session() as session:
            told, left_out = clusters.low_rated(session, project_id, until=moment)
            others = clusters.what_else_was_asked(session, project_id)
        since = moment - timedelta(days=clusters.DAYS)
        try:
            found = group(told, others, embed, since=since)
        except (WorkbenchError, ValueError, RuntimeError, MemoryError) as error:
            log.exception("the low-rated traces of project %s cannot be grouped", project_id)
            self._service.fail(run_id, project_id, f"{type(error).__name__}: {error}")
            return
        self._service.keep(run_id, project_id, found, traces=sum(one.at >= since for one in told), left_out=left_out)
