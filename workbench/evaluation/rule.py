"""What a candidate must show. The rule is set before the first case runs and cannot be edited after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.errors import InvalidInput


@dataclass(frozen=True)
class Rule:
    """What a candidate must show."""

    margin_points: float = 5.0
    """How much worse than the incumbent still counts as no worse, in percentage points of the pass rate (0.5 to 20).

    The default is two of forty cases: less than anyone would notice in use, and the least that a set of a few hundred cases
    can decide (two points need about 3,000 pairs at 20% discordance)."""
    guarded_tags: tuple[str, ...] = ("language", "intent")
    """Within each value of these tags the candidate must not be significantly worse (Holm-corrected over all of them)."""

    def __post_init__(self) -> None:
        if isinstance(self.margin_points, bool) or not 0.5 <= self.margin_points <= 20:
            raise InvalidInput(f"The margin is {self.margin_points} points; it must lie between 0.5 and 20.")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for the comparison's row."""
        return {"margin_points": float(self.margin_points), "guarded_tags": list(self.guarded_tags)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Rule":
        """The inverse of `as_json`."""
        return cls(float(value["margin_points"]), tuple(value["guarded_tags"]))

    def in_words(self) -> str:
        """The rule as a person reads it beside the verdict."""
        margin = points(self.margin_points)
        tags = " or ".join(self.guarded_tags)
        guarded = f", and in no {tags} is it significantly worse (Holm-corrected)" if tags else ""
        fails = f", or when in a {tags} the candidate is significantly worse" if tags else ""
        return (
            f"PASS when the whole 95% interval of candidate minus incumbent lies above −{margin} points, "
            f"the candidate breaks no more “must not state” rules than the incumbent{guarded}. "
            f"FAIL when the whole interval lies below −{margin} points{fails}. "
            "Otherwise, or when both arms are the same configuration, INCONCLUSIVE. "
            "“Better” is only said when the whole interval lies above zero."
        )


def points(margin: float) -> str:
    """Percentage points as people read them."""
    return f"{margin:g}"
