"""A project's own mapping: attributes that no convention knows, named by a person as one of our columns."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlmodel import Session, col, select

from workbench.core.errors import InvalidInput
from workbench.traces.coverage_models import ProjectMapping
from workbench.traces.dialects import Dialect

COLUMNS: dict[str, str] = {
    "input": "Question",
    "output": "Answer",
    "session_id": "Session",
    "user_id": "User",
    "model": "Model",
    "provider": "Provider",
    "name": "Name",
    "language": "Language",
    "intent": "Intent",
    "triage_label": "Triage label",
    "release": "Release",
    "prompt_version": "Prompt version",
    "environment": "Environment",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "cost": "Cost",
    "currency": "Currency",
    "first_token_ms": "Time to first token (ms)",
    "tags": "Tags",
    "tool_name": "Tool name",
    "tool_arguments": "Tool arguments",
    "tool_result": "Tool result",
    "error": "Error",
    "messages_in": "Messages given to the model",
    "messages_out": "Messages from the model",
    "documents": "Retrieved documents",
}
"""Our column → its name for people."""

FAMILIES = ("messages_in", "messages_out", "documents")
"""Columns that a family of numbered attributes may spell."""

_MOST = 200
_NUMBERED = re.compile(r"\.N(\.|$)")


@dataclass(frozen=True)
class OwnMapping:
    """The mapping that counts now."""

    version: int
    dialect: Dialect


def own_mappings(session: Session, project_ids: Iterable[str]) -> dict[str, OwnMapping]:
    """The current mapping of each project that has one."""
    found: dict[str, OwnMapping] = {}
    rows = session.exec(
        select(ProjectMapping).where(col(ProjectMapping.project_id).in_(set(project_ids))).order_by(col(ProjectMapping.version))
    )
    for row in rows:  # the highest version comes last
        found[row.project_id] = OwnMapping(
            row.version, _dialect(tuple((column, tuple(names)) for column, names in row.columns.items()))
        )
    return found


def current(session: Session, project_id: str) -> ProjectMapping | None:
    """The newest version of a project's mapping."""
    statement = select(ProjectMapping).where(ProjectMapping.project_id == project_id)
    return session.exec(statement.order_by(col(ProjectMapping.version).desc()).limit(1)).first()


def checked(columns: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """A mapping in its stored form.

    Raises:
        InvalidInput: an unknown column, a bad attribute name, an attribute mapped twice, or a family where one value belongs.
    """
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for column, names in columns.items():
        if column not in COLUMNS:
            raise InvalidInput(f"There is no column {column[:60]!r} to map to.", todo=f"Columns are {', '.join(COLUMNS)}.")
        for name in names:
            spelled = attribute_pattern(name)
            if not spelled or len(spelled) > 200:
                raise InvalidInput("An attribute's name has 1 to 200 characters.")
            if spelled.endswith(".*") and column not in FAMILIES:
                raise InvalidInput(
                    f"{name[:80]!r} is a numbered family, and {COLUMNS[column]!r} takes one value.",
                    todo=f"Families can be {', '.join(COLUMNS[one].lower() for one in FAMILIES)}.",
                )
            if spelled in seen:
                raise InvalidInput(f"The attribute {name[:80]!r} is mapped twice.")
            seen.add(spelled)
            found.setdefault(column, []).append(spelled)
    if len(seen) > _MOST:
        raise InvalidInput(f"At most {_MOST} attributes can be mapped.")
    return found


def attribute_pattern(name: str) -> str:
    """An attribute as the coverage names it (`a.N.b`) in the form of a dialect's table (`a.*`)."""
    name = name.strip()
    numbered = _NUMBERED.search(name)
    return f"{name[: numbered.start()]}.*" if numbered else name


@lru_cache(maxsize=256)
def _dialect(columns: tuple[tuple[str, tuple[str, ...]], ...]) -> Dialect:
    return Dialect(name="project", signs=(), columns=dict(columns))
