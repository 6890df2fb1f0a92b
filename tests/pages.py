"""Pages run by AppTest as a person sees them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.identity.models import Project
from workbench.ui import guard

Show = Callable[..., AppTest]


def shower(services: Services, project: Project, monkeypatch: pytest.MonkeyPatch, page_file: Path) -> Show:
    """A function that runs the page for an actor, with query parameters as keywords, and returns it without an exception."""

    def shown(actor: Actor, **address: str) -> AppTest:
        monkeypatch.setattr(guard, "visit", lambda: guard.Visit(services, actor, project, (project,)))
        page = AppTest.from_file(str(page_file), default_timeout=60)
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return page

    return shown
