"""From a question to the passages that may answer it: vectors and words, fused by rank, hydrated from SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.core.clock import now
from workbench.knowledge.models import CorpusCommit, KnowledgeEntryVersion
from workbench.knowledge.policy import CorpusPolicy
from workbench.serving.corpus_view import CorpusView
from workbench.serving.ports import Runtime

RRF_K = 60
CANDIDATES = 20
"""How many of each ranking are fused."""
COVERED = 0.6
"""Share of the question's words, weighted by rarity, from which an entry is evidence whatever its cosine."""


@dataclass(frozen=True)
class Retrieved:
    """An entry version found for a question."""

    version: KnowledgeEntryVersion
    score: float
    """Cosine similarity; 0 when only its words were found."""
    coverage: float
    """Share of the question's words that it has, weighted by rarity."""
    fused: float
    """Sum of 1/(60 + rank) over both rankings."""
    is_evidence: bool
    """Whether it is near enough to answer from."""


def retrieve(
    view: CorpusView,
    runtime: Runtime,
    question: str,
    *,
    minimum_score: float,
    policy: CorpusPolicy,
    language: str | None = None,
) -> tuple[list[Retrieved], CorpusCommit | None]:
    """Candidates from the view's commit, best first, and that commit; those that are no evidence come too, marked.

    Whatever the index holds, only versions of the commit are returned, and those the corpus policy still serves.

    Raises:
        Unavailable: the runtime does not answer.

    Source: Cormack, Clarke and Büttcher, Reciprocal Rank Fusion (2009), k = 60.
    """
    with view.lock:
        if view.commit is None or not view.versions:
            return [], view.commit
        commit, versions = view.commit, dict(view.versions)
        lexical = view.lexical.rank(question, CANDIDATES)
        coverage = {key: view.lexical.coverage(question, key) for key, _ in lexical}
        altered = set(view.altered)
    answer = runtime.query_index(view.project_id, question, CANDIDATES, tenant=view.tenant, commit_id=commit.id)
    cosine = {hit.version_id: hit.score for hit in answer.hits}
    rankings = [[hit.version_id for hit in answer.hits], [key for key, _ in lexical]]
    moment = now()
    found = []
    for version_id, fused in fuse(rankings).items():
        version = versions.get(version_id)
        if version is None or version_id in altered or not policy.serves(version, moment):
            continue
        score, covered = cosine.get(version_id, 0.0), coverage.get(version_id, 0.0)
        if language is not None and version.language.split("-")[0] == language:
            fused += 1 / (RRF_K + CANDIDATES)  # of two entries that say the same, the one in the asker's language
        found.append(Retrieved(version, score, covered, fused, score >= minimum_score or covered >= COVERED))
    return sorted(found, key=lambda r: (not r.is_evidence, -r.fused, -r.score, r.version.key)), commit


def fuse(rankings: Sequence[Sequence[str]]) -> dict[str, float]:
    """Reciprocal rank fusion: id → sum of 1/(60 + rank), ranks from 1."""
    fused: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            fused[key] = fused.get(key, 0.0) + 1 / (RRF_K + rank)
    return fused
