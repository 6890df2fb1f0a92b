"""What changed between two versions of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.datasets.models import DatasetExample


@dataclass(frozen=True)
class Difference:
    """Rows by trace: only in the newer version, only in the older one, or with other content or another side."""

    added: list[DatasetExample]
    removed: list[DatasetExample]
    changed: list[tuple[DatasetExample, DatasetExample]]
    """(older, newer)"""
    same: int

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed)


def compare(older: Sequence[DatasetExample], newer: Sequence[DatasetExample]) -> Difference:
    """What became of each trace. Rows with one leaf are the same whatever their position."""
    before = {row.trace_id: row for row in older}
    after = {row.trace_id: row for row in newer}
    both = [(before[key], after[key]) for key in after if key in before]
    changed = [(old, new) for old, new in both if old.leaf_hash != new.leaf_hash]
    return Difference(
        added=[row for key, row in after.items() if key not in before],
        removed=[row for key, row in before.items() if key not in after],
        changed=changed,
        same=len(both) - len(changed),
    )
