"""The workbench as a store that is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func
from sqlmodel import col, select

from scripts.benches.running import free_port, running
from scripts.benches.traffic.waits import until
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Role
from workbench.core.jobs import ProcessHeartbeat
from workbench.core.settings import Settings
from workbench.identity.service import local_administrator
from workbench.traces import positions, queries
from workbench.traces.models import Trace, TracePending
from workbench.traces.queries import TraceFilter

PATIENCE = 60.0
"""Seconds that a store gets to make readable what it has acknowledged."""


class Ours:
    """The workbench with all its processes over an empty home."""

    name = "workbench"
    path = "/v1/traces"

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder / "home", port=free_port())
        self.port = self.settings.api_port
        self.address = f"http://127.0.0.1:{self.settings.port}"
        self.headers: dict[str, str] = {}
        self.project = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """`workbench up` with a project and a key, once the machine has nothing else to do."""
        self.services: Services = bootstrap(settings=self.settings)
        with running(self.settings):
            admin = local_administrator()
            self.project = self.services.identity.add_project(
                admin,
                key="bench",
                name="Bench",
                languages=["en"],
                teams=[{"key": "general", "name": "General", "description": ""}],
            ).id  # fmt: skip
            key = self.services.identity.create_key(admin, project_id=self.project, name="bench", scopes=["ingest"])[1]
            self.headers = {"Authorization": f"Bearer {key}"}
            until(self._is_settled, 600)
            yield

    def _is_settled(self) -> bool:
        """Whether the base model is converted, which takes a core for two minutes after a first start."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/v1/health", timeout=10).json()["runtime"] == "ok"
        except (httpx.HTTPError, ValueError):
            return False

    def count(self) -> int:
        with self.services.context.database.session() as session:
            return int(session.exec(select(func.count()).select_from(Trace)).one())

    def waiting(self) -> int:
        """Traces that cannot be read or searched whole yet."""
        with self.services.context.database.session() as session:
            changed = session.exec(select(func.count()).select_from(TracePending)).one()
            unsearched = session.exec(select(func.count()).select_from(Trace).where(col(Trace.indexed).is_(False))).one()
        return int(changed) + int(unsearched)

    def ask(self, filters: TraceFilter | None = None, sort: str = "newest", after: str | None = None) -> int:
        """What a visit of the list asks for: a page, the first one with the number of hits."""
        with self.services.context.database.session() as session:
            found = queries.list_traces(session, self.project, filters, sort=sort, after=after, count=after is None)
        return len(found.rows)

    def middle(self) -> str:
        """Half-way through the list, newest first: give it to `ask` as `after`."""
        half = select(Trace.started_at, Trace.id).where(Trace.project_id == self.project)
        half = half.order_by(col(Trace.started_at).desc(), col(Trace.id).desc()).offset(self.count() // 2).limit(1)
        with self.services.context.database.session() as session:
            started_at, row_id = session.exec(half).one()
        return positions.spell(started_at, int(row_id or 0))

    def newest(self) -> int:
        return self.ask()

    def failed(self) -> int:
        return self.ask(TraceFilter(status=("error",)))

    def search(self, word: str) -> int:
        return self.ask(TraceFilter(text=word))

    def prepare_search(self) -> None:
        until(lambda: self.waiting() == 0, PATIENCE)

    def people(self, count: int) -> list[tuple[str, str]]:
        """Engineers with accounts: e-mail and password."""
        admin, password = local_administrator(), "a-password-for-the-bench"
        made = []
        for number in range(count):
            email = f"engineer-{number}@bench.example"
            person = self.services.identity.add_person(admin, email=email, name=f"Engineer {number}", password=password)
            self.services.identity.grant(admin, person.id, Role.ENGINEER, self.project)
            made.append((email, password))
        return made

    def web_memory(self) -> float:
        """Resident megabytes of the web process."""
        with self.services.context.database.session() as session:
            beat = session.get(ProcessHeartbeat, "web")
        assert beat is not None
        return float(psutil.Process(beat.process_id).memory_info().rss / 1e6)
