"""The runtime over HTTP, as the other processes call it through RuntimeClient, on tiny models and a real database."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from tests.tiny_models import random_adapter, tiny_bert, tiny_llama
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from workbench.core.ids import new_id
from workbench.core.runtime_client import Generated, Prompt, RuntimeClient
from workbench.core.settings import Settings
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.knowledge import queries
from workbench.knowledge.content import EntryContent
from workbench.runtime.base_models import LocalModel, weights_hash
from workbench.runtime.classification import Classifier
from workbench.runtime.corpus import Retriever, SqlCorpus
from workbench.runtime.embedding import Embedder
from workbench.runtime.engine import Engine, Slot, token_file
from workbench.runtime.generation import Generator
from workbench.runtime.index import KnowledgeIndex
from workbench.runtime.server import make_app

People = Callable[..., Actor]


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


class Running:
    """A runtime in this process."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder / "home", port=free_port() - 2)
        self.services: Services = bootstrap(settings=self.settings)
        self.services.context.database.create_all()
        self.token = "a token of this test"
        handle = os.open(token_file(self.settings), os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(handle, self.token.encode())
        os.close(handle)
        self.llama, self.bert = tiny_llama(folder / "llama"), tiny_bert(folder / "bert")
        self.engine = Engine(self.settings, self.services.context.artifacts)
        self.retriever = Retriever(SqlCorpus(self.services.context.database), self.engine.embedder, self.engine.index)
        self.server = uvicorn.Server(
            uvicorn.Config(
                make_app(self.engine, self.retriever), host="127.0.0.1", port=self.settings.runtime_port, log_level="error"
            )
        )
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        self.client = RuntimeClient(self.settings)

    def load(self) -> None:
        """Put tiny models where the real ones would be."""
        verify, encoder = self.services.context.artifacts.verify, weights_hash(self.bert)
        embedder = Embedder(self.bert, content_hash=encoder, device="cpu")
        self.engine.embedder.put(embedder)
        self.engine.index.put(
            KnowledgeIndex(self.settings.folder("index") / "chroma", embed=embedder.embed, embedder_hash=encoder)
        )
        self.engine.classifier.put(Classifier(self.bert, base_hash=encoder, locate=verify, device="cpu"))
        self.engine.base = LocalModel("tiny", self.llama, weights_hash(self.llama), "a test", "none")
        self.engine.generator.put(Generator(self.llama, base_hash=self.engine.base.content_hash, locate=verify, device="cpu"))

    def stop(self) -> None:
        self.engine.stop()
        self.server.should_exit = True
        self.thread.join(20)
        self.services.context.database.dispose()


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("runtime"))
    made.load()
    yield made
    made.stop()


@pytest.fixture
def services(runtime: Running) -> Services:
    """So that the factories of conftest.py make people and projects in the runtime's own database."""
    return runtime.services


@pytest.fixture
def project(services: Services) -> Project:
    """A project of each test's own in the shared database."""
    key = f"bank-{new_id()[-8:]}"
    return services.identity.add_project(local_administrator(), key=key, name="Test bank", languages=["en"], teams=[])


def entry(title: str, text: str) -> EntryContent:
    return EntryContent(title=title, text=text)


def test_health_says_what_is_loaded(runtime: Running) -> None:
    health = runtime.client.health()
    assert health["status"] == "ok"
    assert health["base"]["hash"] == weights_hash(runtime.llama)
    assert health["embedder"]["hash"] == weights_hash(runtime.bert)
    assert {health[name]["state"] for name in ("base", "embedder", "index", "classifier")} == {"ready"}


def test_embedding_gives_unit_vectors_in_the_order_of_the_texts(runtime: Running) -> None:
    first, second, again = runtime.client.embed(["one text", "another longer text", "one text"])
    assert first == again != second
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-4)


def test_generation_over_http_is_that_of_the_model(runtime: Running) -> None:
    prompts = ["Question: fee? Answer:", "Which team?"]
    answers = runtime.client.generate([Prompt(text, max_new_tokens=9) for text in prompts])
    direct = runtime.engine.generator.get().generate(prompts, max_new_tokens=9)
    assert [(a.text, a.output_tokens, a.finish_reason) for a in answers] == [
        (a.text, a.output_tokens, a.finish_reason) for a in direct
    ]
    assert runtime.client.generate([]) == []


def test_a_stream_ends_with_the_whole_answer(runtime: Running) -> None:
    events = list(runtime.client.stream(Prompt("Question: fee? Answer:", max_new_tokens=12)))
    assert isinstance(events[-1], Generated)
    assert "".join(str(piece) for piece in events[:-1]) == events[-1].text
    assert len(events) > 3


def test_closing_a_stream_frees_the_model(runtime: Running) -> None:
    stream = runtime.client.stream(Prompt("Question:", max_new_tokens=900, temperature=1.0))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert runtime.client.generate([Prompt("Question:", max_new_tokens=2)], seconds=20)


def test_an_adapter_is_named_by_its_hash(runtime: Running, tmp_path: Path) -> None:
    folder = random_adapter(runtime.llama, tmp_path / "adapter", base_hash=weights_hash(runtime.llama))
    name = runtime.services.context.artifacts.put_folder(folder)
    prompt = [Prompt("Question: fee? Answer:", max_new_tokens=9)]
    assert runtime.client.generate(prompt, adapter=name) != runtime.client.generate(prompt)
    assert name in runtime.client.health()["adapters"]["generator"]
    with pytest.raises(Conflict, match="generator"):
        runtime.client.classify(["text"], adapter=name)


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda client: client.generate([Prompt("x")], adapter="sha256:" + "0" * 64), NotFound),
        (lambda client: client.classify(["x"], adapter="nothing"), NotFound),
        (lambda client: client.generate([Prompt("fee " * 9_000)]), TooLarge),
        (lambda client: client.generate([Prompt("x", max_new_tokens=0)]), InvalidInput),
        (lambda client: client.generate([Prompt("x", temperature=-1)]), InvalidInput),
        (lambda client: client.query_index("p", "q", 3, commit_id="none"), NotFound),
        (lambda client: list(client.stream(Prompt("x"), adapter="sha256:" + "0" * 64)), NotFound),
    ],
)
def test_what_is_wrong_is_raised_as_what_it_is(
    runtime: Running, ask: Callable[[RuntimeClient], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask(runtime.client)


def test_only_who_shows_the_token_is_answered(runtime: Running) -> None:
    url = runtime.settings.runtime_url
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {runtime.token}"}):
        answer = httpx.post(f"{url}/embed", json={"texts": ["x"]}, headers=headers)
        assert answer.status_code == 401
        assert "vectors" not in answer.text
    assert httpx.get(f"{url}/health").status_code == 401


def test_a_new_token_is_taken_at_once_and_the_old_one_refused(runtime: Running) -> None:
    token_file(runtime.settings).write_text("another")
    try:
        assert runtime.client.health()["status"] == "ok"
        old = {"Authorization": f"Bearer {runtime.token}"}
        assert httpx.get(f"{runtime.settings.runtime_url}/health", headers=old).status_code == 401
    finally:
        token_file(runtime.settings).write_text(runtime.token)


def test_an_edit_is_retrieved_by_the_very_next_query(runtime: Running, project: Project, someone: People) -> None:
    expert, knowledge, client = someone(Role.EXPERT), runtime.services.knowledge, runtime.client
    assert client.query_index(project.id, "anything", 3).hits == []
    first = knowledge.create(expert, project.id, key="fee", content=entry("Transfer fee", "The fee is two euros."))
    knowledge.create(expert, project.id, key="card", content=entry("Lost card", "Block it in the app."))
    found = client.query_index(project.id, "Transfer fee\nThe fee is two euros.", 3)
    assert found.hits[0].version_id == first.version.id
    assert found.hits[0].score == pytest.approx(1.0, abs=1e-4)
    assert len(found.hits) == 2

    edited = knowledge.edit(
        expert, first.version.entry_id, base_version_id=first.version.id,
        content=entry("Transfer fee", "The fee is three euros."),
    )  # fmt: skip
    after = client.query_index(project.id, "Transfer fee\nThe fee is two euros.", 3)
    assert edited.version.id in {hit.version_id for hit in after.hits}
    assert first.version.id not in {hit.version_id for hit in after.hits}
    assert after.commit_id != found.commit_id

    former = client.query_index(project.id, "Transfer fee\nThe fee is two euros.", 3, commit_id=found.commit_id)
    assert former.hits == found.hits


def test_a_retired_entry_is_not_retrieved_from_the_moment_it_is_retired(
    runtime: Running, project: Project, someone: People
) -> None:
    expert, knowledge = someone(Role.EXPERT), runtime.services.knowledge
    kept = knowledge.create(expert, project.id, key="a", content=entry("Kept", "This stays."))
    gone = knowledge.create(expert, project.id, key="b", content=entry("Gone", "This goes."))
    assert runtime.client.sync_index(project.id) == 2
    knowledge.retire(expert, gone.version.entry_id, reason="It was wrong.")
    hits = runtime.client.query_index(project.id, "Gone\nThis goes.", 5).hits
    assert [hit.version_id for hit in hits] == [kept.version.id]


def test_the_index_follows_the_head_without_being_asked(runtime: Running, project: Project, someone: People) -> None:
    stop = threading.Event()
    follower = threading.Thread(target=runtime.retriever.follow, args=(stop,), daemon=True)
    follower.start()
    try:
        made = runtime.services.knowledge.create(
            someone(Role.EXPERT), project.id, key="f", content=entry("New", "Just written.")
        )
        index, deadline = runtime.engine.index.get(), time.monotonic() + 10
        while index.lacks([made.version.id]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        stop.set()
        follower.join(10)


def test_a_rebuilt_index_holds_the_heads_alone(runtime: Running, project: Project, someone: People) -> None:
    expert, knowledge = someone(Role.EXPERT), runtime.services.knowledge
    first = knowledge.create(expert, project.id, key="g", content=entry("Old", "First wording."))
    knowledge.edit(expert, first.version.entry_id, base_version_id=first.version.id, content=entry("Old", "Second wording."))
    runtime.client.sync_index(project.id)
    with runtime.services.context.database.session() as session:
        live = [
            version
            for project_id, tenant in queries.scopes(session)
            if (head := queries.head(session, project_id, tenant)) is not None
            for version in queries.member_ids(session, head).values()
        ]
    assert runtime.client.rebuild_index() == len(live)
    assert runtime.engine.index.get().lacks([first.version.id])


def test_while_a_model_loads_callers_hear_why(tmp_path: Path) -> None:
    made = Running(tmp_path)
    try:
        made.engine.generator.delay("converting", "It is converted once.")
        made.engine.embedder.fail("The package is damaged.")
        health = made.client.health()
        assert health["status"] == "failed"
        assert "The package is damaged." in health["reason"]
        with pytest.raises(Unavailable, match="converted once"):
            made.client.generate([Prompt("x")])
        with pytest.raises(Unavailable, match="damaged"):
            made.client.embed(["x"])
        with pytest.raises(Unavailable, match="converting"):
            list(made.client.stream(Prompt("x")))
    finally:
        made.stop()


def test_a_runtime_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    client = RuntimeClient(Settings(home=tmp_path, port=free_port() - 2))
    for ask in (client.health, lambda: client.embed(["x"]), lambda: list(client.stream(Prompt("x")))):
        with pytest.raises(Unavailable, match="runtime"):
            ask()


def test_a_slot_waits_only_while_it_loads() -> None:
    slot: Slot[int] = Slot("number")
    threading.Timer(0.2, slot.put, args=(7,)).start()
    assert slot.get(5) == 7
    failed: Slot[int] = Slot("number")
    failed.fail("no")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no"):
        failed.get(5)
    assert time.monotonic() - began < 1


def test_an_index_that_is_damaged_is_made_again(runtime: Running, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    engine = Engine(settings, runtime.services.context.artifacts)
    engine.embedder.put(runtime.engine.embedder.get())
    folder = settings.folder("index") / "chroma"
    folder.mkdir()
    (folder / "chroma.sqlite3").write_bytes(b"not a database" * 100)
    index = engine._load_index()
    assert index.size == 0
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith("damaged-")]


def test_errors_travel_as_json_that_names_what_and_todo(runtime: Running) -> None:
    answer = httpx.post(
        f"{runtime.settings.runtime_url}/generate",
        content=json.dumps({"requests": [{"prompt": "x"}], "adapter": "sha256:" + "0" * 64}),
        headers={"Authorization": f"Bearer {runtime.token}", "Content-Type": "application/json"},
    )
    assert answer.status_code == NotFound.status
    assert answer.json()["error"]["type"] == "NotFound"
    assert answer.json()["error"]["todo"]
