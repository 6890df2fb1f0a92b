"""The one place that wires services to stores and ports, for every process."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from sqlmodel import Session

from workbench.annotation.service import AnnotationService
from workbench.audit.service import AuditService
from workbench.core.artifacts import ArtifactStore
from workbench.core.database import Database
from workbench.core.errors import Unavailable
from workbench.core.jobs import JobStore
from workbench.core.recording import OutboxRecorder
from workbench.core.settings import Settings, load_settings
from workbench.core.unit_of_work import Context
from workbench.datasets.service import DatasetService
from workbench.evaluation.service import EvaluationService
from workbench.golden.service import GoldenService
from workbench.identity.policy import PolicyAuthorizer
from workbench.identity.service import IdentityService
from workbench.knowledge.policy import POLICY_SOURCE, CorpusPolicy
from workbench.knowledge.service import KnowledgeService
from workbench.prompts.service import PromptService
from workbench.releases.service import ReleaseService
from workbench.releases.verify import live
from workbench.traces.clusters import ClusterService
from workbench.traces.masking.service import MaskingService
from workbench.traces.saved_views import SavedViewService
from workbench.traces.service import TraceService
from workbench.tuning.service import TuningService
from workbench.workflows.bulk import BulkActs


@dataclass
class Services:
    """Every stage's commands over one context."""

    context: Context

    @cached_property
    def identity(self) -> IdentityService:
        return IdentityService(self.context)

    @cached_property
    def audit(self) -> AuditService:
        return AuditService(self.context)

    @cached_property
    def jobs(self) -> JobStore:
        return JobStore(self.context)

    @cached_property
    def traces(self) -> TraceService:
        return TraceService(self.context)

    @cached_property
    def saved_views(self) -> SavedViewService:
        return SavedViewService(self.context)

    @cached_property
    def clusters(self) -> ClusterService:
        return ClusterService(self.context)

    @cached_property
    def masking(self) -> MaskingService:
        return MaskingService(self.context)

    @cached_property
    def annotation(self) -> AnnotationService:
        return AnnotationService(self.context)

    @cached_property
    def knowledge(self) -> KnowledgeService:
        return KnowledgeService(self.context)

    @cached_property
    def prompts(self) -> PromptService:
        return PromptService(self.context)

    @cached_property
    def golden(self) -> GoldenService:
        return GoldenService(self.context)

    @cached_property
    def datasets(self) -> DatasetService:
        return DatasetService(self.context)

    @cached_property
    def tuning(self) -> TuningService:
        return TuningService(self.context)

    @cached_property
    def evaluation(self) -> EvaluationService:
        return EvaluationService(self.context)

    @cached_property
    def releases(self) -> ReleaseService:
        return ReleaseService(self.context)

    @cached_property
    def bulk(self) -> BulkActs:
        return BulkActs(self.context)


def make_context(settings: Settings) -> Context:
    """Stores and policies over one home."""
    context = Context(
        settings=settings,
        database=Database(settings),
        authorizer=PolicyAuthorizer(),
        recorder=OutboxRecorder(),
        artifacts=ArtifactStore(settings.folder("artifacts")),
    )
    context.extras[POLICY_SOURCE] = partial(_policy_of_live_release, context)
    return context


def _policy_of_live_release(context: Context, session: Session, project_id: str, tenant: str) -> CorpusPolicy:
    """The corpus policy that was approved with the live release; the safe default before there is one.

    Raises:
        IntegrityError: what is live does not verify, so nobody may publish under it.
    """
    try:
        return live(context, project_id).release.corpus_policy
    except Unavailable:
        return CorpusPolicy()


def bootstrap(home: Path | None = None, settings: Settings | None = None) -> Services:
    """Services over the home that the settings name."""
    return Services(make_context(settings or load_settings(home)))
