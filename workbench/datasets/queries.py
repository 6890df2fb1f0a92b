"""Reads over dataset versions."""

from sqlmodel import Session, col, select

from workbench.core.errors import NotFound
from workbench.datasets.models import DatasetExample, DatasetVersion


def get_dataset(session: Session, dataset_id: str, project_id: str | None = None) -> DatasetVersion:
    """The dataset version with this id.

    Raises:
        NotFound: there is none, or not in the project.
    """
    found = session.get(DatasetVersion, dataset_id)
    if found is None or project_id not in (None, found.project_id):
        raise NotFound(f"There is no dataset version with the id {dataset_id!r}.", todo="Choose one from the list.")
    return found


def list_datasets(
    session: Session, project_id: str, *, task: str | None = None, frozen_only: bool = False, with_discarded: bool = False
) -> list[DatasetVersion]:
    """Dataset versions, newest first."""
    statement = select(DatasetVersion).where(DatasetVersion.project_id == project_id)
    if task is not None:
        statement = statement.where(DatasetVersion.task == task)
    if frozen_only:
        statement = statement.where(col(DatasetVersion.frozen_at).is_not(None))
    if not with_discarded:
        statement = statement.where(col(DatasetVersion.discarded_at).is_(None))
    return list(session.exec(statement.order_by(col(DatasetVersion.created_at).desc(), col(DatasetVersion.id).desc())))


def by_hash(session: Session, project_id: str, content_hash: str) -> DatasetVersion:
    """A frozen dataset version by its content hash.

    Raises:
        NotFound
    """
    statement = (
        select(DatasetVersion)
        .where(DatasetVersion.project_id == project_id, DatasetVersion.content_hash == content_hash)
        .where(col(DatasetVersion.frozen_at).is_not(None))
        .order_by(col(DatasetVersion.created_at))
    )
    found = session.exec(statement).first()
    if found is None:
        raise NotFound(f"There is no frozen dataset version {content_hash[:19]}… in this project.")
    return found


def examples(session: Session, dataset_id: str, split: str | None = None) -> list[DatasetExample]:
    """The rows of a version in order; of one split when it is named. An erased row has no content."""
    statement = select(DatasetExample).where(DatasetExample.dataset_id == dataset_id)
    if split is not None:
        statement = statement.where(DatasetExample.split == split)
    return list(session.exec(statement.order_by(col(DatasetExample.position))))


def of_trace(session: Session, project_id: str, trace_id: str) -> list[tuple[DatasetVersion, DatasetExample]]:
    """Where the answers to one trace went: versions and examples, newest version first."""
    statement = (
        select(DatasetVersion, DatasetExample)
        .join(DatasetExample, col(DatasetExample.dataset_id) == col(DatasetVersion.id))
        .where(DatasetExample.project_id == project_id, DatasetExample.trace_id == trace_id)
        .order_by(col(DatasetVersion.created_at).desc())
    )
    return [(version, example) for version, example in session.exec(statement)]
