"""Content-addressed artifacts: a hash names the bytes, and the same bytes are stored once."""

import os
import shutil
import tempfile
from pathlib import Path

from workbench.core.canonical import canonical_bytes, hash_bytes, hash_file, hash_folder
from workbench.core.errors import IntegrityError, NotFound


class ArtifactStore:
    """Files and folders under `artifacts/`, named by their hash. Nothing is ever overwritten."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tmp").mkdir(parents=True, exist_ok=True)

    def location(self, content_hash: str) -> Path:
        """Where content of this hash lies or would lie."""
        digest = content_hash.removeprefix("sha256:")
        if len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
            raise NotFound(f"{content_hash!r} is not a content hash.")
        return self.root / "sha256" / digest[:2] / digest

    def has(self, content_hash: str) -> bool:
        return self.location(content_hash).exists()

    def path(self, content_hash: str) -> Path:
        """The file or folder of this hash.

        Raises:
            NotFound: the store does not hold it.
        """
        path = self.location(content_hash)
        if not path.exists():
            raise NotFound(
                f"The artifact {content_hash[:19]}… is not in the store.",
                todo="Restore the artifacts folder from a backup, or make the artifact again.",
            )
        return path

    def put_bytes(self, data: bytes) -> str:
        """Store bytes; returns their hash."""
        name = hash_bytes(data)
        target = self.location(name)
        if not target.exists():
            handle, temporary = tempfile.mkstemp(dir=self.root / "tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._settle(Path(temporary), target)
        return name

    def put_file(self, path: Path) -> str:
        """Take a finished file over from a temporary folder of the store; returns its hash."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
        name = hash_file(path)
        target = self.location(name)
        if target.exists():
            path.unlink()
        else:
            self._settle(path, target)
        return name

    def put_json(self, value: object) -> str:
        """Store a JSON value in its canonical form; the returned hash is also its content hash."""
        return self.put_bytes(canonical_bytes(value))

    def put_folder(self, folder: Path) -> str:
        """Store a copy of a folder; returns the hash of its manifest of files."""
        name = hash_folder(folder)
        target = self.location(name)
        if not target.exists():
            temporary = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
            copy = temporary / "content"
            shutil.copytree(folder, copy)
            for path in copy.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            self._settle(copy, target)
            shutil.rmtree(temporary, ignore_errors=True)
        return name

    def read_bytes(self, content_hash: str) -> bytes:
        """The bytes of this hash, checked.

        Raises:
            NotFound, IntegrityError
        """
        data = self.path(content_hash).read_bytes()
        if hash_bytes(data) != content_hash:
            raise IntegrityError(
                f"The artifact {content_hash[:19]}… was altered on disk.", todo="Restore it from a backup before using it."
            )
        return data

    def verify(self, content_hash: str) -> Path:
        """The path of a file or folder after checking every byte against its hash.

        Raises:
            NotFound, IntegrityError
        """
        path = self.path(content_hash)
        found = hash_folder(path) if path.is_dir() else hash_file(path)
        if found != content_hash:
            raise IntegrityError(
                f"The artifact {content_hash[:19]}… was altered on disk.", todo="Restore it from a backup before using it."
            )
        return path

    def temporary_folder(self, prefix: str) -> Path:
        """A new folder on the same file system, for building what will be stored."""
        return Path(tempfile.mkdtemp(prefix=prefix + "-", dir=self.root / "tmp"))

    @staticmethod
    def _settle(temporary: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(temporary, target)
        except OSError:
            if not target.exists():
                raise
            # Another process stored the same bytes first.
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
