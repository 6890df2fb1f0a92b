"""Whether a version's rows are still what its hash names."""

from sqlmodel import Session

from workbench.core.errors import IntegrityError
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.datasets.queries import examples
from workbench.datasets.rows import leaf_of, root_hash


def leaf_of_example(row: DatasetExample) -> str:
    """The leaf that the row's stored values have now."""
    return leaf_of(
        content=row.content,
        trace_id=row.trace_id,
        responses=row.responses,
        people=row.people,
        consent=row.consent,
        language=row.language,
        split=row.split,
    )


def verify(session: Session, version: DatasetVersion) -> int:
    """Return the number of rows when each has its leaf and the leaves have the version's root.

    An erased row is known by its leaf alone.

    Raises:
        IntegrityError: says which row does not match.
    """
    rows = examples(session, version.id)
    for row in rows:
        if row.erased_at is None and leaf_of_example(row) != row.leaf_hash:
            raise IntegrityError(
                f"Row {row.position + 1} of {version.name} v{version.number} was altered.",
                todo="Do not train on it; restore the database from a backup.",
            )
    if len(rows) != version.rows or root_hash(row.leaf_hash for row in rows) != version.content_hash:
        raise IntegrityError(
            f"{version.name} v{version.number} does not have its hash: a row was added, removed or moved.",
            todo="Do not train on it; restore the database from a backup.",
        )
    return len(rows)
