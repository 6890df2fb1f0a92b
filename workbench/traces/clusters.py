"""Groups of low-rated traces: which texts are grouped, keeping what the runtime found, and reading it.

The runtime has the vectors and does the grouping (`runtime/trace_clusters.py`); what it found is kept here, so that pages show
it at once, with its time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlmodel import Session, col
from sqlmodel import select as choose
from sqlmodel.sql.expression import SelectOfScalar

from workbench.core.actors import Actor, Permission, process_actor
from workbench.core.clock import now
from workbench.core.unit_of_work import Context, Service
from workbench.identity.queries import list_projects
from workbench.traces.cluster_models import ClusterRun, TraceCluster, TraceClusterMember
from workbench.traces.models import Feedback, Trace
from workbench.traces.store import table

DAYS = 14
"""The period, which is compared with as many days before it."""
MOST = 2_000
"""Low-rated traces that one grouping looks at, the newest ones."""
EVERY = timedelta(hours=1)
_LONGEST = 1_000
_KEPT_RUNS = 3
_RUNTIME = process_actor("runtime", Permission.TAG_TRACES)
_TRACE = table(Trace)


@dataclass(frozen=True)
class Told:
    """What a low-rated trace was about."""

    trace_id: str
    at: datetime
    language: str
    """ISO 639-1, or empty."""
    text: str


@dataclass(frozen=True)
class Found:
    """A group: its name, and its traces, the most typical first."""

    terms: list[str]
    now: list[str]
    before: list[str]


@dataclass(frozen=True)
class Clusters:
    """The last grouping of a project."""

    run: ClusterRun
    clusters: list[TraceCluster]
    """Those that grow first, then by count."""


class ClusterService(Service):
    """Asking for a grouping, and keeping one."""

    def ask(self, actor: Actor, project_id: str, *, command_id: str | None = None) -> str:
        """Let the runtime group anew; returns the run's id. While one waits, asking again gives that one.

        Raises:
            NotAllowed: the actor may not work on traces.
        """
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(actor) as work:
            work.require(Permission.TAG_TRACES, project_id)
            if (before := work.once(command_id)) is not None:
                return str(before["id"])
            waiting = work.session.exec(_waiting(project_id)).first()
            if waiting is not None:
                return waiting.id
            run = work.add(ClusterRun(project_id=project_id, asked_by=actor.name, days=DAYS))
            work.record("traces.clusters_asked", subject=run)
            work.remember(id=run.id)
        return run.id

    def keep(self, run_id: str | None, project_id: str, found: Sequence[Found], *, traces: int, left_out: int) -> None:
        """Keep what was found; groups of former runs are deleted but for the last few, so that recent links still work.

        Args:
            run_id: the run that was asked for; None where it was due.
        """
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(_RUNTIME) as work:
            run = work.session.get(ClusterRun, run_id) if run_id else None
            if run is None:
                run = work.add(ClusterRun(project_id=project_id, days=DAYS))
            run.made_at, run.traces, run.left_out, run.failure = now(), traces, left_out, ""
            work.add(run)
            for one in found:
                cluster = TraceCluster(
                    run_id=run.id, project_id=project_id, terms=one.terms, count=len(one.now), before=len(one.before),
                    examples=one.now[:5],
                )  # fmt: skip
                work.add(cluster)
                rows = [{"cluster_id": cluster.id, "trace_id": trace_id} for trace_id in one.now]
                work.session.connection().execute(table(TraceClusterMember).insert(), rows)
            made = choose(ClusterRun.id).where(ClusterRun.project_id == project_id, col(ClusterRun.made_at).is_not(None))
            old = list(work.session.exec(made.order_by(col(ClusterRun.made_at).desc()).offset(_KEPT_RUNS)))
            if old:
                gone = select(col(TraceCluster.id)).where(col(TraceCluster.run_id).in_(old))
                work.session.execute(delete(TraceClusterMember).where(col(TraceClusterMember.cluster_id).in_(gone)))
                work.session.execute(delete(TraceCluster).where(col(TraceCluster.run_id).in_(old)))
                work.session.execute(delete(ClusterRun).where(col(ClusterRun.id).in_(old)))
            work.record(
                "traces.clustered", subject=run, traces=traces, left_out=left_out, clusters=[len(one.now) for one in found]
            )

    def fail(self, run_id: str | None, project_id: str, reason: str) -> None:
        """Keep that it could not be done, and why."""
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(_RUNTIME) as work:
            run = (work.session.get(ClusterRun, run_id) if run_id else None) or ClusterRun(project_id=project_id, days=DAYS)
            run.made_at, run.failure = now(), reason[:300]
            work.add(run)
            work.record("traces.clustering_failed", subject=run)


def due(context: Context) -> list[tuple[str, str | None]]:
    """(project id, id of the run that was asked for) of what is to be grouped: asked for, or an hour old with news since."""
    with context.database.session() as session:
        asked = {run.project_id: run.id for run in session.exec(choose(ClusterRun).where(col(ClusterRun.made_at).is_(None)))}
        found: list[tuple[str, str | None]] = [*asked.items()]
        for project_id in (project.id for project in list_projects(session)):
            some = choose(Trace.id).where(Trace.project_id == project_id).limit(1)
            if project_id in asked or session.exec(some).first() is None:
                continue
            last = session.execute(
                select(func.max(table(ClusterRun).c.made_at)).where(table(ClusterRun).c.project_id == project_id)
            ).scalar()
            if last is None or (now() - last >= EVERY and _changed_since(session, project_id, last)):
                found.append((project_id, None))
    return found


def _changed_since(session: Session, project_id: str, moment: datetime) -> bool:
    said = choose(Feedback.id).where(Feedback.project_id == project_id, col(Feedback.received_at) > moment).limit(1)
    return session.exec(said).first() is not None or now() - moment >= 24 * EVERY


def low_rated(session: Session, project_id: str, *, until: datetime | None = None) -> tuple[list[Told], int]:
    """Low-rated or corrected traces of both periods, newest first, and how many more there are."""
    until = until or now()
    unhappy = or_(_TRACE.c.rating <= 2, _TRACE.c.has_correction.is_(True))
    conditions = [
        _TRACE.c.project_id == project_id, _TRACE.c.started_at >= until - timedelta(days=2 * DAYS),
        _TRACE.c.started_at <= until, unhappy,
    ]  # fmt: skip
    count = int(session.execute(select(func.count()).select_from(_TRACE).where(*conditions)).scalar_one())
    chosen = select(_TRACE.c.id).where(*conditions).order_by(_TRACE.c.started_at.desc()).limit(MOST)
    ids = list(session.execute(chosen).scalars())
    found: list[Told] = []
    for start in range(0, len(ids), 500):
        language = func.coalesce(_TRACE.c.language, "")
        rows = select(_TRACE.c.trace_id, _TRACE.c.started_at, language, func.substr(_TRACE.c.input, 1, _LONGEST))
        rows = rows.where(_TRACE.c.id.in_(ids[start : start + 500])).order_by(_TRACE.c.started_at.desc())
        found += [Told(*row) for row in session.execute(rows) if row[3].strip()]
    return found, max(0, count - len(ids))


def what_else_was_asked(session: Session, project_id: str, *, limit: int = 600) -> list[tuple[str, str]]:
    """(language, beginning) of the newest questions that were not rated low: what is common among them tells nothing."""
    rows = select(func.coalesce(_TRACE.c.language, ""), _TRACE.c.input_preview)
    rows = rows.where(_TRACE.c.project_id == project_id, func.coalesce(_TRACE.c.rating, 5) > 2)
    newest = rows.order_by(_TRACE.c.started_at.desc()).limit(limit)
    return [(language, text) for language, text in session.execute(newest) if text]


def latest(session: Session, project_id: str) -> Clusters | None:
    """The last grouping that was made, or failed."""
    made = choose(ClusterRun).where(ClusterRun.project_id == project_id, col(ClusterRun.made_at).is_not(None))
    runs = list(session.exec(made.order_by(col(ClusterRun.made_at).desc()).limit(_KEPT_RUNS + 3)))
    if not runs:
        return None
    run = next((one for one in runs if not one.failure), runs[0])
    found = list(session.exec(choose(TraceCluster).where(TraceCluster.run_id == run.id)))
    return Clusters(run, sorted(found, key=lambda one: (not grows(one), -one.count, one.id)))


def waiting(session: Session, project_id: str) -> ClusterRun | None:
    """A grouping that was asked for and waits for the runtime."""
    return session.exec(_waiting(project_id)).first()


def get_cluster(session: Session, project_id: str, cluster_id: str) -> TraceCluster | None:
    """A group, as long as it is kept."""
    found = session.get(TraceCluster, cluster_id)
    return found if found is not None and found.project_id == project_id else None


def grows(cluster: TraceCluster) -> bool:
    """Whether there are clearly more than before: half as many again, and at least three more."""
    return cluster.count >= max(1.5 * cluster.before, cluster.before + 3)


def shrinks(cluster: TraceCluster) -> bool:
    """Whether there are clearly fewer."""
    return cluster.before >= max(1.5 * cluster.count, cluster.count + 3)


def _waiting(project_id: str) -> SelectOfScalar[ClusterRun]:
    return choose(ClusterRun).where(ClusterRun.project_id == project_id, col(ClusterRun.made_at).is_(None))
