"""The models of the runtime process: loaded in the background, each waited for only by who needs it."""

import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from workbench.core.artifacts import ArtifactStore
from workbench.core.clock import now
from workbench.core.errors import Unavailable, WorkbenchError
from workbench.core.settings import Settings
from workbench.runtime.base_models import BaseModels, LocalModel, embedding_model
from workbench.runtime.classification import Classifier
from workbench.runtime.devices import choose_device, use_threads
from workbench.runtime.embedding import Embedder
from workbench.runtime.generation import Generator
from workbench.runtime.index import KnowledgeIndex, forget_clients

log = logging.getLogger(__name__)
Thing = TypeVar("Thing")
WAIT_SECONDS = 30.0
"""How long a request waits for something that is being loaded."""
RETRY_SECONDS = 60.0
"""After how long a failed load is tried again."""


class Slot(Generic[Thing]):
    """Something that is being loaded, is ready, or could not be loaded."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.state = "loading"
        """loading, converting, ready or failed."""
        self.reason = ""
        self._value: Thing | None = None
        self._changed = threading.Condition()

    def put(self, value: Thing) -> None:
        """It is ready."""
        self._set("ready", "", value)

    def fail(self, reason: str) -> None:
        """It could not be loaded, and a person can read why."""
        self._set("failed", reason, None)

    def delay(self, state: str, reason: str) -> None:
        """It will take longer than a request should wait."""
        self._set(state, reason, None)

    def get(self, seconds: float = WAIT_SECONDS) -> Thing:
        """The thing, after waiting a bounded time while it loads.

        Raises:
            Unavailable: it is not ready, with the reason.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._value is None and self.state == "loading" and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            if self._value is not None:
                return self._value
            raise Unavailable(
                f"The {self.what} is not ready: {self.state}.",
                why=self.reason,
                todo="Try again shortly; the admin page shows why.",
            )

    @property
    def ready(self) -> Thing | None:
        """The thing if it is ready now."""
        return self._value

    def _set(self, state: str, reason: str, value: Thing | None) -> None:
        with self._changed:
            self.state, self.reason, self._value = state, reason, value
            self._changed.notify_all()


class Engine:
    """Everything the runtime serves with."""

    def __init__(self, settings: Settings, artifacts: ArtifactStore) -> None:
        self.settings = settings
        self.embedder: Slot[Embedder] = Slot("embedding model")
        self.index: Slot[KnowledgeIndex] = Slot("knowledge index")
        self.classifier: Slot[Classifier] = Slot("triage classifier")
        self.generator: Slot[Generator] = Slot("base model")
        self.base: LocalModel | None = None
        self.base_models = BaseModels(settings)
        self.stopping = threading.Event()
        self._artifacts = artifacts
        self._converter: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._load_all, name="loader", daemon=True)

    def start(self) -> None:
        """Begin to load everything in the background, what answers first being first."""
        use_threads(self.settings.threads)
        self._thread.start()

    def stop(self) -> None:
        """End the converter and the generator."""
        self.stopping.set()
        if self._converter is not None and self._converter.poll() is None:
            self._converter.terminate()
        generator = self.generator.ready
        if generator is not None:
            generator.close()

    def health(self) -> dict[str, Any]:
        """What `GET /health` answers."""
        slots: dict[str, Slot[Any]] = {
            "embedder": self.embedder,
            "index": self.index,
            "classifier": self.classifier,
            "base": self.generator,
        }
        parts: dict[str, dict[str, Any]] = {name: {"state": slot.state, "reason": slot.reason} for name, slot in slots.items()}
        if self.base is not None:
            parts["base"] |= {"name": self.base.name, "hash": self.base.content_hash, "terms": self.base.terms}
        progress = self.base_models.progress() if self.generator.state == "converting" else None
        if progress is not None:
            parts["base"] |= {
                "stage": progress.stage,
                "progress": progress.fraction,
                "stage_seconds": round(progress.seconds, 1),
            }
        embedder, index, classifier, generator = (
            self.embedder.ready,
            self.index.ready,
            self.classifier.ready,
            self.generator.ready,
        )
        if embedder is not None:
            parts["embedder"]["hash"] = embedder.content_hash
        if index is not None:
            parts["index"]["versions"] = index.size
        states = [slot.state for slot in slots.values()]
        worst = next((state for state in ("failed", "converting", "loading") if state in states), "ok")
        reasons = [f"{slot.what}: {slot.reason or slot.state}" for slot in slots.values() if slot.state != "ready"]
        return {
            "status": worst,
            "reason": "; ".join(reasons),
            **parts,
            "adapters": {
                "generator": generator.resident if generator is not None else [],
                "triage": classifier.resident if classifier is not None else [],
            },
            "device": choose_device().type,
        }

    def _load_all(self) -> None:
        self._until_loaded(self.embedder, self._load_embedder)
        self._until_loaded(self.index, self._load_index)
        self._until_loaded(self.classifier, self._load_classifier)
        self._until_loaded(self.generator, self._load_generator)

    def _until_loaded(self, slot: Slot[Thing], load: Callable[[], Thing]) -> None:
        while not self.stopping.is_set():
            started = time.monotonic()
            try:
                slot.put(load())
                log.info("%s ready after %.1f s", slot.what, time.monotonic() - started)
                return
            except WorkbenchError as error:
                slot.fail(str(error))
                log.error("%s: %s", slot.what, error)
            except Exception as error:
                slot.fail(f"{type(error).__name__}: {str(error)[:300]}")
                log.exception("%s could not be loaded", slot.what)
            self.stopping.wait(RETRY_SECONDS)

    def _load_embedder(self) -> Embedder:
        model = embedding_model()
        return Embedder(model.folder, content_hash=model.content_hash)

    def _load_index(self) -> KnowledgeIndex:
        embedder = self.embedder.get()
        folder = self.settings.folder("index") / "chroma"

        def open_index() -> KnowledgeIndex:
            return KnowledgeIndex(
                folder, embed=embedder.embed, embedder_hash=embedder.content_hash, chroma_url=self.settings.chroma_url
            )

        try:
            return open_index()
        except WorkbenchError:
            raise
        except Exception:
            if self.settings.chroma_url or not folder.exists():
                raise
            # All of it can be made again from SQL, so a damaged index is no reason to stop.
            log.exception("the knowledge index is damaged; making it again")
            broken = folder.with_name(f"damaged-{now():%Y%m%dT%H%M%S}")
            shutil.move(folder, broken)
            forget_clients()
            return open_index()

    def _load_classifier(self) -> Classifier:
        model = embedding_model()
        return Classifier(model.folder, base_hash=model.content_hash, locate=self._artifacts.verify)

    def _load_generator(self) -> Generator:
        self.base = self.base_models.find() or self._convert()
        self.generator.delay("loading", "")
        return Generator(self.base.folder, base_hash=self.base.content_hash, locate=self._artifacts.verify)

    def _convert(self) -> LocalModel:
        """Convert in a process of its own, which gives its memory back and does not hold the others up."""
        self.generator.delay("converting", "The base model is converted once, which takes about two minutes.")
        log.info("converting the base model %s", self.settings.base_model)
        self._converter = subprocess.Popen(
            [sys.executable, "-m", "workbench.runtime.convert_base", str(self.settings.home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        answer, _ = self._converter.communicate()
        found = self.base_models.find()
        if found is None:
            raise Unavailable("The base model could not be converted.", why=_reason(answer, self._converter.returncode))
        return found


def _reason(answer: bytes, code: int) -> str:
    try:
        return str(json.loads(answer.decode().strip().splitlines()[-1])["error"])
    except (ValueError, IndexError, KeyError, TypeError):
        return f"The converter ended with code {code}; see the runtime's log."


def token_file(settings: Settings) -> Path:
    """File with the secret that the runtime's callers show."""
    return settings.folder("run") / "runtime.token"
