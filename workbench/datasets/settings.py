"""What a dataset version is built from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal

from workbench.core.clock import from_iso
from workbench.core.errors import InvalidInput

Task = Literal["generation", "triage"]
TASKS: tuple[Task, ...] = ("generation", "triage")


@dataclass(frozen=True)
class BuildSettings:
    """Which submitted responses become examples, and how."""

    task: Task
    """generation: prompt and completion. triage: text and label."""
    queue_ids: tuple[str, ...] = ()
    """Empty: every queue of the project."""
    since: datetime | None = None
    """Traces that began then or later."""
    before: datetime | None = None
    """Traces that began earlier than that."""
    languages: tuple[str, ...] = ()
    """Empty: every language."""
    people: tuple[str, ...] = ()
    """Only responses of these people. Empty: of everybody."""
    minimum_rating: int | None = None
    """Only responses that rate the answer so or higher."""
    only_rewrites: bool = False
    """Only responses with a rewrite."""
    keep_good_answers: bool = False
    """generation: an answer rated 4 or 5 that no guard rejected is an example too, where nobody rewrote it."""
    max_per_user: int | None = None
    """At most so many examples of one end user's traces; None: no limit."""
    validation_share: float = 0.15
    """Share of sessions that is held out, from 0 to 0.5. A session is never split."""
    exclude_personal_data: bool = True
    """Leave out rows that look as if they held personal data; else they are only marked."""
    exclude_leaks: bool = True
    """Leave out rows that share text with a golden set; else the version cannot be frozen."""
    prompt_version: str = ""
    """generation: content hash of the prompt version that serving would use."""
    passages: int = 2
    """generation: how many of a trace's documents the prompt shows, as in the routing of a release."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise InvalidInput(f"{self.task!r} is no task.", todo=f"Tasks are {' and '.join(TASKS)}.")
        for moment in (self.since, self.before):
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput("A date needs its time zone.")
        if self.since is not None and self.before is not None and self.since >= self.before:
            raise InvalidInput("The first date must come before the last one.")
        if not 0 <= self.validation_share <= 0.5:
            raise InvalidInput("The share held out is a number from 0 to 0.5.")
        if self.max_per_user is not None and self.max_per_user < 1:
            raise InvalidInput("The limit per end user is 1 or more.")
        if not 0 <= self.passages <= 10:
            raise InvalidInput("A prompt shows 0 to 10 passages.")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for the version's row and the audit event."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "BuildSettings":
        """The inverse of `as_json`; a field that is missing has its default.

        Raises:
            InvalidInput: an unknown field or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(stored) - known):
            raise InvalidInput(f"There is no setting {', '.join(unknown)}.")
        values = dict(stored)
        for name in ("since", "before"):
            if isinstance(values.get(name), str):
                values[name] = from_iso(values[name])
        for name in ("queue_ids", "languages", "people"):
            values[name] = tuple(values.get(name) or ())
        return cls(**values)
