"""Loads the demo project through the doors a customer would use."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workbench.core.settings import REPOSITORY

DEMO_FOLDER = REPOSITORY / "data" / "demo"
DEMO_PASSWORD = "demo-password"  # noqa: S105 - printed at each start; demo accounts work on this machine only


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
