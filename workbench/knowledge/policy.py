"""The corpus policy: who may make an entry live at which risk tier, and what happens when its review date passes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import Session

from workbench.core.actors import Role
from workbench.core.unit_of_work import Context
from workbench.knowledge.models import KnowledgeEntryVersion, RiskTier

POLICY_SOURCE = "corpus_policy"
"""Key in `Context.extras` of a PolicySource, which bootstrap sets to the live release's corpus policy."""


@dataclass(frozen=True)
class TierRule:
    """The rule for one risk tier."""

    roles: tuple[str, ...] = (Role.EXPERT.value,)
    """Roles that may make an entry of this tier live."""
    second_person: bool = False
    """Whether the one who certifies must not be the author of the text."""
    review_days: int = 180
    """Days until the review date when none is given."""


@dataclass(frozen=True)
class CorpusPolicy:
    """Rules by tier. The default lets an expert publish low and medium risk alone, and high risk in pairs."""

    low: TierRule = field(default_factory=lambda: TierRule(review_days=365))
    medium: TierRule = field(default_factory=TierRule)
    high: TierRule = field(default_factory=lambda: TierRule(second_person=True, review_days=90))
    drop_stale: bool = False
    """Whether an entry past its review date stops being used. By default it stays live and is marked."""

    def rule(self, tier: RiskTier) -> TierRule:
        """The rule of a tier."""
        rules = {RiskTier.LOW: self.low, RiskTier.MEDIUM: self.medium, RiskTier.HIGH: self.high}
        return rules[tier]

    def may_publish(self, tier: RiskTier, roles: Iterable[str]) -> bool:
        """Whether someone with these roles may make an entry of this tier live, a second person aside."""
        return not set(self.rule(tier).roles).isdisjoint({str(role) for role in roles})

    def serves(self, version: KnowledgeEntryVersion, at: datetime) -> bool:
        """Whether a live version may be retrieved at this moment."""
        return not (self.drop_stale and is_stale(version, at))

    def as_json(self) -> dict[str, Any]:
        """Plain JSON for a release manifest."""
        tiers = {
            tier.value: {
                "roles": sorted(self.rule(tier).roles),
                "second_person": self.rule(tier).second_person,
                "review_days": self.rule(tier).review_days,
            }
            for tier in RiskTier
        }
        return {**tiers, "drop_stale": self.drop_stale}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "CorpusPolicy":
        """The inverse of `as_json`; a tier that is not named gets the safe default.

        Raises:
            TypeError: a tier has an unknown field.
        """
        tiers = {
            tier.value: TierRule(**{**value[tier.value], "roles": tuple(value[tier.value].get("roles", ()))})
            for tier in RiskTier
            if tier.value in value
        }
        return cls(**tiers, drop_stale=bool(value.get("drop_stale", False)))


PolicySource = Callable[[Session, str, str], CorpusPolicy]
"""Finds the corpus policy of (session, project_id, tenant)."""


def policy_of(context: Context, session: Session, project_id: str, tenant: str) -> CorpusPolicy:
    """The corpus policy in force: the live release's when bootstrap wired one, else the safe default."""
    source: PolicySource | None = context.extras.get(POLICY_SOURCE)
    return CorpusPolicy() if source is None else source(session, project_id, tenant)


def is_stale(version: KnowledgeEntryVersion, at: datetime) -> bool:
    """Whether the version's review date has passed."""
    return version.review_at is not None and version.review_at <= at
