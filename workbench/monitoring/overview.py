"""How the loop stands, in a few counts, and what waits for a person."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from workbench.annotation.models import ItemState, Queue, QueueItem, ResponseStatus, Standing
from workbench.core.actors import Actor, Permission
from workbench.core.clock import now
from workbench.core.jobs import Job, JobState
from workbench.datasets.models import DatasetVersion
from workbench.evaluation.models import Comparison
from workbench.identity.policy import allowed
from workbench.knowledge.models import CorpusCommit, CorpusHead, CorpusMembership, KnowledgeEntryVersion
from workbench.releases.models import PRODUCTION, Channel, ChannelMove, Release, ReleaseState
from workbench.traces.models import Trace
from workbench.tuning.models import Adapter

LOW_RATING = 2.0
"""Stars (1 to 5) at or below which an answer counts as low-rated."""


@dataclass(frozen=True)
class LoopNumbers:
    """Live counts of each stage of one project."""

    traces_week: int
    low_rated_week: int
    has_traces: bool
    open_items: int
    submitted_week: int
    datasets: int
    dataset_rows: int
    live_entries: int
    stale_entries: int
    adapters: int
    jobs_running: int
    comparisons: int
    last_verdict: str | None
    live_release: str | None
    live_since: datetime | None
    proposed: int
    approved_waiting: int


@dataclass(frozen=True)
class Waiting:
    """One thing that waits for a person, with the page where it is done."""

    title: str
    detail: str
    page: str
    """Name of the page, such as `annotate`."""
    action: str
    """The button's words."""


def loop_numbers(session: Session, project_id: str) -> LoopNumbers:
    """Counts for the loop on the home page. A dozen indexed counts; the week is the last seven days."""
    week = now() - timedelta(days=7)
    recent = (Trace.project_id == project_id, col(Trace.started_at) >= week)
    channel = session.exec(select(Channel).where(Channel.project_id == project_id, Channel.name == PRODUCTION)).first()
    live = session.get(Release, channel.release_id) if channel is not None and channel.release_id else None
    head = _head(session, project_id)
    verdict = session.exec(
        select(Comparison.verdict)
        .where(Comparison.project_id == project_id, col(Comparison.verdict).is_not(None))
        .order_by(col(Comparison.finished_at).desc())
    ).first()
    rows = session.exec(select(func.coalesce(func.sum(DatasetVersion.rows), 0)).where(DatasetVersion.project_id == project_id))
    return LoopNumbers(
        traces_week=_count(session, Trace, *recent),
        low_rated_week=_count(session, Trace, *recent, col(Trace.rating) <= LOW_RATING),
        has_traces=session.exec(select(Trace.id).where(Trace.project_id == project_id).limit(1)).first() is not None,
        open_items=_count(session, QueueItem, QueueItem.project_id == project_id, QueueItem.state == ItemState.OPEN),
        submitted_week=_count(
            session,
            Standing,
            Standing.project_id == project_id,
            Standing.status == ResponseStatus.SUBMITTED,
            col(Standing.acted_at) >= week,
        ),
        datasets=_count(session, DatasetVersion, DatasetVersion.project_id == project_id),
        dataset_rows=int(rows.one()),
        live_entries=head.members if head else 0,
        stale_entries=_stale(session, head) if head else 0,
        adapters=_count(session, Adapter, Adapter.project_id == project_id),
        jobs_running=_count(
            session, Job, Job.project_id == project_id, col(Job.state).in_([JobState.RUNNING, JobState.QUEUED])
        ),
        comparisons=_count(session, Comparison, Comparison.project_id == project_id),
        last_verdict=verdict,
        live_release=live.title if live else None,
        live_since=channel.moved_at if channel is not None and live else None,
        proposed=_releases(session, project_id, ReleaseState.PROPOSED),
        approved_waiting=_count(
            session,
            Release,
            Release.project_id == project_id,
            Release.state == ReleaseState.APPROVED,
            col(Release.id).not_in(select(ChannelMove.release_id).where(ChannelMove.project_id == project_id)),
        ),
    )


def waiting_for(session: Session, project_id: str, actor: Actor, numbers: LoopNumbers) -> list[Waiting]:
    """What this person can do next, most urgent first."""

    def may(permission: Permission) -> bool:
        return allowed(actor, permission, project_id)

    tasks: list[Waiting] = []
    if may(Permission.APPROVE_RELEASE) and numbers.proposed:
        names = _others_proposals(session, project_id, actor)
        if names:
            tasks.append(
                Waiting(
                    f"{_things(len(names), 'release')} to approve or reject",
                    ", ".join(names),
                    "releases",
                    "Look at the evidence",
                )
            )
    if may(Permission.PROMOTE_RELEASE) and numbers.approved_waiting:
        tasks.append(
            Waiting(
                f"{_things(numbers.approved_waiting, 'approved release')} to promote",
                "Approved, not live yet.",
                "releases",
                "Promote",
            )
        )
    if may(Permission.ANNOTATE):
        tasks.extend(_queues(session, project_id))
    if may(Permission.CERTIFY_KNOWLEDGE) and numbers.stale_entries:
        tasks.append(
            Waiting(
                f"{_things(numbers.stale_entries, 'entry', 'entries')} past the review date",
                "Still live. Certify them again or retire them.",
                "knowledge",
                "Review",
            )
        )
    if may(Permission.TUNE) and numbers.jobs_running:
        tasks.append(Waiting(f"{_things(numbers.jobs_running, 'job')} running", "Watch the loss, or cancel.", "tune", "Watch"))
    if may(Permission.BUILD_DATASETS) and numbers.submitted_week:
        tasks.append(
            Waiting(
                f"{_things(numbers.submitted_week, 'response')} submitted this week",
                "Turn them into a dataset version.",
                "datasets",
                "Build a dataset",
            )
        )
    if (may(Permission.TAG_TRACES) or may(Permission.READ_AUDIT)) and numbers.low_rated_week:
        tasks.append(
            Waiting(
                f"{_things(numbers.low_rated_week, 'low-rated answer')} in the last seven days",
                "Find out which ones share a cause.",
                "traces",
                "Read them",
            )
        )
    return tasks


def _queues(session: Session, project_id: str) -> list[Waiting]:
    statement = (
        select(Queue.name, func.count())
        .join(QueueItem, col(QueueItem.queue_id) == col(Queue.id))
        .where(Queue.project_id == project_id, col(Queue.closed_at).is_(None), QueueItem.state == ItemState.OPEN)
        .group_by(Queue.name)
        .order_by(func.count().desc())
    )
    return [
        Waiting(f"{_things(number, 'answer')} to annotate", f"Queue {name}", "annotate", "Start annotating")
        for name, number in session.exec(statement)
    ]


def _others_proposals(session: Session, project_id: str, actor: Actor) -> list[str]:
    statement = select(Release).where(
        Release.project_id == project_id, Release.state == ReleaseState.PROPOSED, Release.proposed_by != actor.id
    )
    return [release.title for release in session.exec(statement)]


def _head(session: Session, project_id: str) -> CorpusCommit | None:
    statement = (
        select(CorpusCommit)
        .join(CorpusHead, col(CorpusHead.commit_id) == col(CorpusCommit.id))
        .where(CorpusHead.project_id == project_id)
        .order_by(CorpusHead.tenant)
    )
    return session.exec(statement).first()


def _stale(session: Session, head: CorpusCommit) -> int:
    statement = (
        select(func.count())
        .select_from(CorpusMembership)
        .join(KnowledgeEntryVersion, col(KnowledgeEntryVersion.id) == col(CorpusMembership.version_id))
        .where(
            CorpusMembership.project_id == head.project_id,
            CorpusMembership.tenant == head.tenant,
            col(CorpusMembership.from_number) <= head.number,
            col(CorpusMembership.to_number).is_(None) | (col(CorpusMembership.to_number) > head.number),
            col(KnowledgeEntryVersion.review_at) < now(),
        )
    )
    return int(session.exec(statement).one())


def _releases(session: Session, project_id: str, state: ReleaseState) -> int:
    return _count(session, Release, Release.project_id == project_id, Release.state == state)


def _count(session: Session, model: type, *conditions: object) -> int:
    return int(session.exec(select(func.count()).select_from(model).where(*conditions)).one())  # type: ignore[arg-type]


def _things(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
