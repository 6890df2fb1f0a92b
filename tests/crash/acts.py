"""Commands as victims give them: each takes the services and its arguments as JSON, so that it can be given again."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import event
from sqlmodel import Session

from tests.crash.dying import Diary
from tests.datasets.factories import FakeEmbedder
from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.core.ids import new_id
from workbench.datasets.settings import BuildSettings
from workbench.identity.service import actor_of_person
from workbench.knowledge.content import EntryContent
from workbench.knowledge.models import KnowledgeEntry, RiskTier
from workbench.knowledge.queries import status_of
from workbench.releases.models import Release
from workbench.releases.verify import live
from workbench.workflows import demo

Arguments = dict[str, Any]
PASSWORD = "correct horse battery"


def person(services: Services, person_id: str) -> Actor:
    with services.context.database.session() as session:
        return actor_of_person(session, person_id)


def edit(services: Services, it: Arguments) -> None:
    content = EntryContent(title="Fees", text=it["text"], source="Price list", risk_tier=RiskTier.LOW)
    services.knowledge.edit(
        person(services, it["by"]), it["entry"], base_version_id=it["base"], content=content, reason="New price list",
        command_id=it["command"],
    )  # fmt: skip


def undo(services: Services, it: Arguments) -> None:
    services.knowledge.undo(person(services, it["by"]), it["commit"], command_id=it["command"])


def propose(services: Services, it: Arguments) -> None:
    incumbent = live(services.context, it["project"]).configuration
    services.releases.propose(
        person(services, it["by"]), replace(incumbent, prompt_version=it["prompt"]), reason="Better sentences",
        despite="The golden set does not cover it.", command_id=it["command"],
    )  # fmt: skip


def approve(services: Services, it: Arguments) -> None:
    services.releases.approve(
        person(services, it["by"]), it["release"], password=PASSWORD, shown=it["shown"], justification="Looked at by hand.",
        command_id=it["command"],
    )  # fmt: skip


def reject(services: Services, it: Arguments) -> None:
    services.releases.reject(
        person(services, it["by"]), it["release"], password=PASSWORD, shown=it["shown"], reason="The tone is wrong.",
        command_id=it["command"],
    )  # fmt: skip


def withdraw(services: Services, it: Arguments) -> None:
    services.releases.withdraw(person(services, it["by"]), it["release"], reason="Not yet.", command_id=it["command"])


def promote(services: Services, it: Arguments) -> None:
    services.releases.promote(person(services, it["by"]), it["release"], reason="Go live", command_id=it["command"])


def roll_back(services: Services, it: Arguments) -> None:
    services.releases.rollback(person(services, it["by"]), it["project"], reason="Wrong fee", command_id=it["command"])


def submit(services: Services, it: Arguments) -> None:
    values = {"rating": 2, "triage": "cards", "rewrite": "The fee is three euro."}
    services.annotation.submit(person(services, it["by"]), it["item"], values, seconds=4.0, command_id=it["command"])


def build(services: Services, it: Arguments) -> None:
    services.datasets.build(
        person(services, it["by"]), it["project"], BuildSettings(task="triage"), name=it["name"], embedder=FakeEmbedder(),
        command_id=it["command"],
    )  # fmt: skip


def freeze(services: Services, it: Arguments) -> None:
    services.datasets.freeze(
        person(services, it["by"]), it["dataset"], content_hash=it["shown"], reason="All that was reviewed so far",
        command_id=it["command"],
    )  # fmt: skip


def launch(services: Services, it: Arguments) -> None:
    services.tuning.launch(
        person(services, it["by"]), it["project"], recipe="triage", dataset_id=it["dataset"], command_id=it["command"]
    )  # fmt: skip


def tag(services: Services, it: Arguments) -> None:
    services.traces.tag(person(services, it["by"]), it["project"], it["traces"], it["tag"], command_id=it["command"])


ACTS: dict[str, Callable[[Services, Arguments], None]] = {
    act.__name__: act
    for act in (edit, undo, propose, approve, reject, withdraw, promote, roll_back, submit, build, freeze, launch, tag)
}  # fmt: skip


def one(diary: Diary, services: Services, it: Arguments) -> None:
    """A victim's work: give one command."""
    ACTS[it["act"]](services, it)


def many(diary: Diary, services: Services, it: Arguments) -> None:
    """A victim's work: give one command after another until it is killed, and say so before and after each."""
    for act in LOOPS[it["loop"]](services, it):
        diary.write(begin=act["command"], **{key: value for key, value in act.items() if key != "command"})
        ACTS[act["act"]](services, act)
        diary.write(done=act["command"])


def edits(services: Services, it: Arguments) -> Iterator[Arguments]:
    """Edits of one entry after another."""
    while True:
        entry_id = random.choice(it["entries"])
        with services.context.database.session() as session:
            entry = session.get(KnowledgeEntry, entry_id)
            assert entry is not None
            base = status_of(session, entry).current.id
        yield {"act": "edit", "by": it["expert"], "entry": entry_id, "base": base, "text": new_id(), "command": new_id()}


def releases(services: Services, it: Arguments) -> Iterator[Arguments]:
    """Proposals that are approved, promoted, and rolled back."""
    for prompt in it["prompts"]:
        command = new_id()
        yield {"act": "propose", "by": it["engineer"], "project": it["project"], "prompt": prompt, "command": command}
        with services.context.unit_of_work(person(services, it["engineer"])) as work:
            proposed = work.once(command)
        assert proposed is not None
        release = {"release": proposed["release_id"], "project": it["project"]}
        yield {
            "act": "approve",
            "by": it["reviewer"],
            "shown": shown(services, release["release"]),
            **release,
            "command": new_id(),
        }
        yield {"act": "promote", "by": it["operator"], **release, "command": new_id()}
        yield {"act": "roll_back", "by": it["operator"], **release, "command": new_id()}


def submissions(services: Services, it: Arguments) -> Iterator[Arguments]:
    """Item after item of a queue."""
    while (held := services.annotation.lease_next(person(services, it["annotator"]), it["queue"])) is not None:
        yield {"act": "submit", "by": it["annotator"], "item": held.item.id, "command": new_id()}


def shown(services: Services, release_id: str) -> str:
    """The hash of the manifest that a person would see."""
    with services.context.database.session() as session:
        release = session.get(Release, release_id)
        assert release is not None
        return release.manifest_hash


LOOPS: dict[str, Callable[[Services, Arguments], Iterator[Arguments]]] = {
    "edits": edits,
    "releases": releases,
    "submissions": submissions,
}


def load(diary: Diary, services: Services, *, after_line: str, commits: int) -> None:
    """A victim's work: load the demo project, and die by SIGKILL right after so many commits past a line that it says."""
    left: list[int] = []

    def say(line: str) -> None:
        diary.write(said=line)
        if after_line in line:
            left.append(commits)

    def committed(session: Session) -> None:
        if left:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Session, "after_commit", committed)
    demo.load(services.context, say=say)
