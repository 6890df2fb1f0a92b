"""Table of adapters."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.ids import new_id


class Adapter(SQLModel, table=True):
    """A LoRA adapter together with its receipt: all that is needed to say where it came from, or to make it again."""

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    kind: str = Field(index=True)
    """`generator` or `triage`: the slot of a release it can fill."""
    number: int
    """Counts the project's adapters of this kind, from 1."""
    content_hash: str = Field(index=True)
    """Hash of its folder in the artifact store. Two jobs with equal inputs may make equal bytes."""
    base_hash: str
    """Hash of the weights of the base model it belongs to."""
    base_name: str = ""
    dataset_id: str = Field(index=True)
    dataset_hash: str
    parent_hash: str | None = None
    """Content hash of the adapter it went on from; None: it began fresh."""
    recipe: str
    """Key in `recipes.RECIPES`."""
    settings: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """All settings of the recipe as they were used, the seed included."""
    versions: dict[str, str] = Field(default_factory=dict, sa_type=JsonColumn)
    """Versions of Python and the model libraries, and the machine."""
    metrics: dict[str, float] = Field(default_factory=dict, sa_type=JsonColumn)
    """What the trainer measured, such as the loss on the validation split."""
    labels: list[str] = Field(default_factory=list, sa_type=JsonColumn)
    """Triage: the labels it knows, in the order of its head."""
    job_id: str = Field(foreign_key="job.id", unique=True)
    launched_by: str
    launched_by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    seconds: float = 0.0
    """Time spent training, over all attempts that led to it."""
    peak_memory_bytes: int = 0
    tokens: int = 0
    """Tokens read while training."""

    @property
    def title(self) -> str:
        """Name as people read it, such as “Triage adapter 3”."""
        return f"{self.kind.capitalize()} adapter {self.number}"
