"""What the trace tests share."""

from collections.abc import Callable

import pytest

from workbench.bootstrap import Services
from workbench.core.actors import Actor, ActorKind
from workbench.identity.models import Project
from workbench.identity.policy import SCOPE_PERMISSIONS


@pytest.fixture
def sender(project: Project) -> Callable[..., Actor]:
    """Make the actor of an API key: `sender("ingest")`."""

    def make(*scopes: str) -> Actor:
        permissions = frozenset().union(*(SCOPE_PERMISSIONS[scope] for scope in scopes))
        return Actor(id="key:1", name="key test", kind=ActorKind.KEY, permissions=permissions, project_id=project.id)

    return make


@pytest.fixture
def key(sender: Callable[..., Actor], services: Services) -> Actor:
    return sender("ingest")
