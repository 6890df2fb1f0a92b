"""A migrated home with people, content and a first release, and its web process, which can be killed too."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx

from tests.annotation.factories import make_queue, make_trace
from tests.browser.walking import free_ports, wait_for
from tests.crash.acts import PASSWORD, Arguments, many, one
from tests.crash.dying import Diary, Victim
from tests.datasets.factories import FakeEmbedder, annotated
from tests.releases.factories import Bank
from tests.tuning.factories import make_dataset, triage_contents
from workbench.bootstrap import Services, bootstrap
from workbench.core import migrate
from workbench.core.actors import Actor, Role
from workbench.core.ids import new_id
from workbench.core.settings import REPOSITORY, Settings
from workbench.datasets.settings import BuildSettings
from workbench.identity.service import actor_of_person, local_administrator
from workbench.knowledge.content import EntryContent
from workbench.knowledge.models import KnowledgeEntry, RiskTier
from workbench.knowledge.queries import status_of
from workbench.releases.models import Release

ENTRIES = 5
TEAMS = ("cards", "loans")


class Web:
    """The process that serves the pages and seals the ledger."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home.parent / "web.log"
        self.port = free_ports()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", str(REPOSITORY / "workbench" / "app" / "asgi.py"),
                 "--server.port", str(self.port), "--server.address", "127.0.0.1", "--server.headless", "true"],
                cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "WORKBENCH_HOME": str(self.home), "WORKBENCH_PORT": str(self.port)},
            )  # fmt: skip
        wait_for(self._answers, 180, what="the web process")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/_stcore/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class House(Bank):
    """The bank of the tests of releases with more people and content, and with real keys and a real ledger."""

    def __init__(self, home: Path) -> None:
        services = bootstrap(settings=Settings(home=home))
        migrate.migrate(services.context.database)
        project = services.identity.add_project(
            local_administrator(), key="bank", name="Bank",
            teams=[{"key": team, "name": team.title(), "description": ""} for team in TEAMS],
        )  # fmt: skip
        super().__init__(services, project)
        self.home = home
        self.web = Web(home)
        self._numbers = itertools.count(1)
        self.expert = self.person("Eve Expert", Role.EXPERT)
        self.annotator = self.person("Ann Annotator", Role.ANNOTATOR)
        self.entries: list[str] = []

    def person(self, name: str, *roles: Role, email: str = "") -> Actor:
        """An account made as an admin makes one."""
        identity, admin = self.services.identity, local_administrator()
        made = identity.add_person(admin, email=email or f"{new_id()}@bank.example", name=name, password=PASSWORD)
        for role in roles:
            identity.grant(admin, made.id, role, self.project.id)
        with self.services.context.database.session() as session:
            return actor_of_person(session, made.id)

    def furnish(self) -> None:
        """Bring in content and the first release; the web process must run."""
        for number in range(ENTRIES):
            content = EntryContent(title="Fees", text=f"It costs {number} euro.", source="List", risk_tier=RiskTier.LOW)
            made = self.services.knowledge.create(self.expert, self.project.id, key=f"fees-{number}", content=content)
            self.entries.append(made.entry.id)
        annotated(self.services, self.project, self.annotator)
        first = self.propose(self.configuration())
        self.services.releases.approve(self.reviewer, first.id, password=PASSWORD, shown=first.manifest_hash)
        self.services.releases.promote(self.operator, first.id)

    def reopened(self) -> Services:
        """The services of a process that has just started."""
        return bootstrap(settings=Settings(home=self.home))

    def victim(self, it: Arguments, *, die_at: str | None = None) -> Victim:
        """A process that gives one command and names its writes, or one command after another."""
        diary = Diary(self.home.parent / f"{new_id()}.diary")
        if "loop" in it:
            return Victim(self.home, diary, partial(many, it=it))
        return Victim(self.home, diary, partial(one, it=it), die_at=die_at, watched=True)

    def everybody(self) -> Arguments:
        """Who and what the loops need."""
        return {
            "project": self.project.id, "entries": self.entries, "expert": self.expert.id, "engineer": self.engineer.id,
            "reviewer": self.reviewer.id, "operator": self.operator.id, "annotator": self.annotator.id,
        }  # fmt: skip

    def new_prompt(self) -> str:
        return self.add_prompt(f"Answer in {next(self._numbers)} words.")

    def new_queue(self, items: int) -> str:
        """A queue with so many fresh traces; returns its id."""
        traces = [make_trace(self.services, self.project, 1000 + next(self._numbers)) for _ in range(items)]
        return make_queue(self.services, self.project, traces)[0].id

    def proposed(self) -> Release:
        """A proposal over what is live."""
        candidate = replace(self.live(), prompt_version=self.new_prompt())
        return self.propose(candidate, despite="The golden set does not cover it.")

    def approved(self) -> Release:
        release = self.proposed()
        self.services.releases.approve(
            self.reviewer, release.id, password=PASSWORD, shown=release.manifest_hash, justification="Looked at by hand."
        )
        return release

    def ready_for(self, act: str) -> Arguments:
        """Make everything so that the command can be given now; returns its arguments."""
        return {"act": act, "command": f"{act}-{new_id()}", "project": self.project.id, **getattr(self, f"_ready_for_{act}")()}

    def _ready_for_edit(self) -> Arguments:
        with self.services.context.database.session() as session:
            entry = session.get(KnowledgeEntry, self.entries[0])
            assert entry is not None
            base = status_of(session, entry).current.id
        return {"by": self.expert.id, "entry": self.entries[0], "base": base, "text": new_id()}

    def _ready_for_undo(self) -> Arguments:
        content = EntryContent(title="Fees", text=new_id(), source="List", risk_tier=RiskTier.LOW)
        made = self.services.knowledge.edit(
            self.expert, self.entries[0], base_version_id=self._ready_for_edit()["base"], content=content
        )
        assert made.commit is not None
        return {"by": self.expert.id, "commit": made.commit.id}

    def _ready_for_propose(self) -> Arguments:
        return {"by": self.engineer.id, "prompt": self.new_prompt()}

    def _ready_for_approve(self) -> Arguments:
        release = self.proposed()
        return {"by": self.reviewer.id, "release": release.id, "shown": release.manifest_hash}

    _ready_for_reject = _ready_for_approve

    def _ready_for_withdraw(self) -> Arguments:
        return {"by": self.engineer.id, "release": self.proposed().id}

    def _ready_for_promote(self) -> Arguments:
        return {"by": self.operator.id, "release": self.approved().id}

    def _ready_for_roll_back(self) -> Arguments:
        self.services.releases.promote(self.operator, self.approved().id)
        return {"by": self.operator.id}

    def _ready_for_submit(self) -> Arguments:
        held = self.services.annotation.lease_next(self.annotator, self.new_queue(1))
        assert held is not None
        return {"by": self.annotator.id, "item": held.item.id}

    def _ready_for_build(self) -> Arguments:
        return {"by": self.engineer.id, "name": new_id()}

    def _ready_for_freeze(self) -> Arguments:
        made = self.services.datasets.build(
            self.engineer, self.project.id, BuildSettings(task="triage"), name=new_id(), embedder=FakeEmbedder()
        )
        return {"by": self.engineer.id, "dataset": made.id, "shown": made.content_hash}

    def _ready_for_launch(self) -> Arguments:
        return {"by": self.engineer.id, "dataset": make_dataset(self.services, self.project.id, triage_contents(24)).id}

    def _ready_for_tag(self) -> Arguments:
        trace = make_trace(self.services, self.project, 1000 + next(self._numbers))
        return {"by": self.engineer.id, "traces": [trace], "tag": "to look at"}
