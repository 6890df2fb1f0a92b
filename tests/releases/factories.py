"""A small bank with people who have keys, components that exist, and comparisons with verdicts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from workbench.audit.outbox import Outbox
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.canonical import content_hash, hash_file
from workbench.core.ids import new_id
from workbench.core.jobs import Job
from workbench.evaluation.models import Comparison
from workbench.golden.models import GoldenSet
from workbench.identity.models import Person, Project, RoleGrant
from workbench.identity.service import actor_of_person
from workbench.identity.signatures import make_person_key
from workbench.prompts.models import PromptVersion
from workbench.releases.models import Release
from workbench.releases.service import Decision
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning.models import Adapter

PASSWORD = "correct horse battery"


@dataclass
class Bank:
    """A project in which releases can be made."""

    services: Services
    project: Project
    base: str = ""
    prompt: str = ""
    adapters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = self.services.context.settings.folder("models") / "tiny"
        folder.mkdir()
        weights = folder / "model.safetensors"
        weights.write_bytes(b"weights of a tiny model")
        self.base = content_hash({weights.name: hash_file(weights)})
        (folder / "workbench.json").write_text(json.dumps({"content_hash": self.base}))
        self.prompt = self.add_prompt("Answer in two sentences.")
        self.engineer = self.person("Erin Engineer", Role.ENGINEER)
        self.launcher = self.person("Lou Launcher", Role.ENGINEER)
        self.reviewer = self.person("Rae Reviewer", Role.REVIEWER)
        self.operator = self.person("Olu Operator", Role.OPERATOR)

    def person(self, name: str, *roles: Role, email: str = "") -> Actor:
        """An account with a signing key and these roles."""
        person = Person(name=name, email=email or f"{new_id()}@bank.example")
        self.insert(person, *(RoleGrant(person_id=person.id, role=role.value, project_id=self.project.id) for role in roles))
        make_person_key(self.services.context.settings, person.id, PASSWORD)
        with self.services.context.database.session() as session:
            return actor_of_person(session, person.id)

    def add_prompt(self, system: str) -> str:
        content = {"system": system, "template": "{evidence} {question}", "few_shot": [], "parameters": {}}
        row = PromptVersion(
            project_id=self.project.id, name=system, number=1, content_hash=content_hash(content), content=content,
            created_by="somebody", created_by_name="Somebody",
        )  # fmt: skip
        self.insert(row)
        return row.content_hash

    def add_adapter(self, kind: str, *, by: Actor | None = None, base: str | None = None) -> str:
        """A stored adapter; returns its hash."""
        by = by or self.launcher
        number = self.adapters[kind] = self.adapters.get(kind, 0) + 1
        folder = self.services.context.artifacts.temporary_folder("adapter")
        (folder / "adapter_model.safetensors").write_bytes(f"{kind} {number}".encode())
        name = self.services.context.artifacts.put_folder(folder)
        job = Job(project_id=self.project.id, kind="tune", title="Fine-tune", created_by=by.id, created_by_name=by.name)
        self.insert(
            job,
            Adapter(
                project_id=self.project.id, kind=kind, number=number, content_hash=name, base_hash=base or self.base,
                dataset_id=f"dataset-{kind}-{number}", dataset_hash=content_hash([kind, number]), recipe=kind, job_id=job.id,
                launched_by=by.id, launched_by_name=by.name,
            ),
        )  # fmt: skip
        return name

    def configuration(self, **slots: Any) -> ServingConfiguration:
        return ServingConfiguration(
            **{"project_id": self.project.id, "base_model": self.base, "prompt_version": self.prompt, **slots}
        )

    def add_comparison(
        self,
        candidate: ServingConfiguration,
        incumbent: ServingConfiguration,
        *,
        verdict: str | None = "PASS",
        task: str = "triage",
        by: Actor | None = None,
        golden: GoldenSet | None = None,
    ) -> Comparison:
        by = by or self.launcher
        golden = golden or self.add_golden(task)
        row = Comparison(
            project_id=self.project.id, golden_set_id=golden.id, golden_hash=golden.content_hash, task=task,
            candidate=candidate.as_json(), incumbent=incumbent.as_json(), state="finished" if verdict else "running",
            verdict=verdict, statistics={"difference": 0.125, "interval": [0.031, 0.22], "n": 150} if verdict else {},
            launched_by=by.id, launched_by_name=by.name,
        )  # fmt: skip
        self.insert(row)
        return row

    def add_golden(self, task: str, *, name: str = "", number: int = 1) -> GoldenSet:
        name = name or new_id()
        golden = GoldenSet(
            project_id=self.project.id, name=name, task=task, number=number, content_hash=content_hash([name, number]),
            size=150, created_by="somebody",
        )  # fmt: skip
        self.insert(golden)
        return golden

    def propose(self, configuration: ServingConfiguration, **options: Any) -> Release:
        options = {"reason": "Better answers about instalments.", **options}
        return self.services.releases.propose(options.pop("by", self.engineer), configuration, **options)

    def approve(self, release: Release, **options: Any) -> Decision:
        options = {"password": PASSWORD, "shown": release.manifest_hash, **options}
        decision = self.services.releases.approve(options.pop("by", self.reviewer), release.id, **options)
        self.seal()
        return decision

    def promote(self, release: Release, **options: Any) -> Any:
        return self.services.releases.promote(options.pop("by", self.operator), release.id, **options)

    def rollback(self, **options: Any) -> Any:
        options = {"reason": "Wrong fee in answers.", **options}
        return self.services.releases.rollback(options.pop("by", self.operator), self.project.id, **options)

    def release_first(self, **slots: Any) -> Release:
        """The first release, live."""
        release = self.propose(self.configuration(**slots))
        self.approve(release)
        self.promote(release)
        return release

    def release_next(self, **slots: Any) -> Release:
        """A release over what is live, with an explained lack of evidence, live."""
        release = self.propose(replace(self.live(), **slots), despite="The golden set does not cover it.")
        self.approve(release, justification="Looked at by hand.")
        self.promote(release)
        return release

    def live(self, channel: str = "production") -> ServingConfiguration:
        from workbench.releases.verify import live

        return live(self.services.context, self.project.id, channel).configuration

    def seal(self) -> None:
        """What the web process does: every waiting event is in the ledger now."""
        outbox = Outbox(self.services.context.database)
        rows = outbox.unsealed(10_000)
        start = outbox.last_sealed() + 1
        outbox.mark_sealed(rows, {row.id: seq for seq, row in enumerate(rows, start)})

    def insert(self, *rows: Any) -> None:
        with Session(self.services.context.database.writing, expire_on_commit=False) as session, session.begin():
            for row in rows:
                session.add(row)
                session.flush()

    def edit(self, statement: str, **values: Any) -> int:
        """What somebody with access to the database can do; returns the number of rows changed."""
        with self.services.context.database.writing.begin() as connection:
            return int(connection.execute(text(statement), values).rowcount)

    @contextmanager
    def altered(self, path: Path) -> Iterator[None]:
        """A file with other bytes for a while."""
        original = path.read_bytes()
        path.write_bytes(original + b"!")
        yield
        path.write_bytes(original)
