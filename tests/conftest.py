"""Factories that every test may use: a home of its own, people, a project."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Actor, ActorKind, Grant, Role
from workbench.core.ids import new_id
from workbench.core.settings import Settings
from workbench.identity.models import Project
from workbench.identity.service import local_administrator

MAIN = sys.modules["__main__"]


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit leaves the page it ran as `__main__`, and processes that multiprocessing starts run that again."""
    sys.modules["__main__"] = MAIN
    yield
    sys.modules["__main__"] = MAIN


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """Every service over an empty home with all tables."""
    made = bootstrap(settings=settings)
    made.context.database.create_all()
    yield made
    made.context.database.dispose()


@pytest.fixture
def project(services: Services) -> Project:
    return services.identity.add_project(
        local_administrator(),
        key="test-bank",
        name="Test bank",
        languages=["en", "es"],
        teams=[{"key": "cards", "name": "Cards", "description": ""}, {"key": "loans", "name": "Loans", "description": ""}],
    )


@pytest.fixture
def someone(project: Project) -> Callable[..., Actor]:
    """Make an actor with roles in the project: `someone(Role.EXPERT, name="Eve")`."""

    def make(*roles: Role, name: str = "Somebody") -> Actor:
        return Actor(id=new_id(), name=name, kind=ActorKind.PERSON, grants=frozenset(Grant(role, project.id) for role in roles))

    return make
