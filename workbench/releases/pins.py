"""What the keys folder remembers so that the database cannot be turned back.

- `channel-<project>-<channel>.json`: the highest move number seen, with that move's hash. An older signed move that is put
  back into the database is then recognised. It is written after the move's transaction has committed; a process
  that dies in between leaves it one move behind, and the next verification moves it on.
- `withdrawn-releases/<hash>`: manifests that were withdrawn or rejected. Setting the row's state back revives none.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import IntegrityError
from workbench.core.keys import write_once
from workbench.core.settings import Settings


@dataclass(frozen=True)
class HighWater:
    """The newest move of a channel that this installation has seen."""

    number: int
    move_hash: str


def high_water_file(settings: Settings, project_id: str, channel: str) -> Path:
    """Where a channel's high-water mark lies."""
    name = f"channel-{project_id}-{channel}.json"
    if not all(c.isalnum() or c in "-_." for c in name):
        raise IntegrityError(f"{channel!r} is no channel name.")
    return settings.keys_folder / name


def high_water(settings: Settings, project_id: str, channel: str) -> HighWater | None:
    """The mark, or None when no move was seen yet.

    Raises:
        IntegrityError: the file cannot be read.
    """
    path = high_water_file(settings, project_id, channel)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return HighWater(int(value["number"]), str(value["move_hash"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"The file {path.name} in the keys folder is damaged.",
            why="It remembers the newest move of the channel, so that an older one cannot be put back.",
            todo="Restore it from a backup of the keys folder, or roll back to a release by name, which writes it anew.",
        ) from error


def raise_high_water(settings: Settings, project_id: str, channel: str, mark: HighWater) -> None:
    """Move the mark up. It never moves down, whoever else writes at the same time."""
    path = high_water_file(settings, project_id, channel)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(path.with_suffix(".lock")):
        try:
            seen = high_water(settings, project_id, channel)
        except IntegrityError:
            seen = None
        if seen is not None and seen.number >= mark.number:
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"number": mark.number, "move_hash": mark.move_hash}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


def mark_withdrawn(settings: Settings, manifest_hash: str) -> None:
    """Remember for ever that this manifest must not go live."""
    path = _withdrawn_file(settings, manifest_hash)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_once(path, b"", mode=0o600)


def is_withdrawn(settings: Settings, manifest_hash: str) -> bool:
    """Whether the manifest was withdrawn or rejected here."""
    return _withdrawn_file(settings, manifest_hash).exists()


def _withdrawn_file(settings: Settings, manifest_hash: str) -> Path:
    digest = manifest_hash.removeprefix("sha256:")
    if len(digest) != 64 or not digest.isalnum():
        raise IntegrityError(f"{manifest_hash!r} is not a manifest's hash.")
    return settings.keys_folder / "withdrawn-releases" / digest


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
