"""Checkpoints that are only resumed from when every byte is what was written."""

import json
import os
import shutil
from pathlib import Path

from workbench.core.canonical import content_hash, folder_manifest

SEAL = "sealed.json"
"""Written last: the hash of every file and of what was being trained."""


def seal(checkpoint: Path, run_hash: str) -> None:
    """Record the hashes of a finished checkpoint's files.

    Args:
        run_hash: names the run (base, dataset, settings); a checkpoint of another run is not resumed.
    """
    for path in checkpoint.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    value = {"run": run_hash, "files": folder_manifest(checkpoint)}
    temporary = checkpoint / (SEAL + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({**value, "seal": content_hash(value)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, checkpoint / SEAL)


def verifies(checkpoint: Path, run_hash: str) -> bool:
    """Whether the checkpoint is complete, unaltered, and of this run."""
    try:
        record = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
        value = {"run": record["run"], "files": record["files"]}
        found = folder_manifest(checkpoint)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    found.pop(SEAL, None)
    return bool(record.get("seal") == content_hash(value) and record["run"] == run_hash and found == record["files"])


def newest(folder: Path, run_hash: str) -> Path | None:
    """The last checkpoint-N of a folder that verifies; those after it are removed, since nothing may be built on them."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        if verifies(checkpoint, run_hash):
            return checkpoint
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def keep_last(folder: Path, count: int = 2) -> None:
    """Remove all but the newest checkpoints."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True)[count:]:
        shutil.rmtree(checkpoint, ignore_errors=True)


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1
