"""Processes that are killed by SIGKILL, either by the test at any moment or by themselves before one particular write.

A victim keeps a diary, one JSON object a line: what it begins, and what it was told is done. Each line is one write to
the file, so a kill leaves whole lines.
"""

import json
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlmodel import Session

from tests.browser.walking import wait_for
from workbench.bootstrap import Services, bootstrap
from workbench.core.settings import Settings

FORKS = multiprocessing.get_context("forkserver")
"""Forks a process that has imported the services and no model library, so that a victim starts in milliseconds."""
FORKS.set_forkserver_preload(["tests.crash.acts"])
COMMIT, COMMITTED = "commit", "after the commit"
Work = Callable[["Diary", Services], None]


class Diary:
    """What a victim says about itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **line: Any) -> None:
        """Add a line."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, json.dumps(line).encode() + b"\n")
        os.close(handle)

    def read(self, key: str) -> list[dict[str, Any]]:
        """The lines that have this key."""
        if not self.path.exists():
            return []
        lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        return [line for line in lines if key in line]


class Victim:
    """A process over a home that ends by itself or is killed."""

    def __init__(self, home: Path, diary: Diary, work: Work, *, die_at: str | None = None, watched: bool = False) -> None:
        self.diary = diary
        self.process: BaseProcess = FORKS.Process(target=_live, args=(home, diary, work, die_at, watched), daemon=True)
        self.process.start()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.wait()
        assert self.process.exitcode == -signal.SIGKILL, "it ended before it could be killed"

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end; returns the exit code, below 0 for a signal."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "the process hangs"
        return self.process.exitcode


def _live(home: Path, diary: Diary, work: Work, die_at: str | None, watched: bool) -> None:
    services = bootstrap(settings=Settings(home=home))
    if watched:
        _watch_writes(diary, services, die_at)
    work(diary, services)


def _watch_writes(diary: Diary, services: Services, die_at: str | None) -> None:
    """Name every kind of write as it first happens, and die by SIGKILL before the one named `die_at`."""
    seen: set[str] = set()
    home = str(services.context.settings.home)

    def reached(point: str) -> None:
        if point == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if point not in seen:
            seen.add(point)
            diary.write(point=point)

    def statement(connection: Any, cursor: Any, sql: str, *more: Any) -> None:
        if found := re.match(r"(INSERT INTO|UPDATE|DELETE FROM) (\S+)", sql):
            reached(f"{found[1]} {found[2]}")

    def file(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            path, _mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            target = path if writes else None
        elif name in ("os.rename", "os.link"):
            target = arguments[1]
        else:
            return
        if isinstance(target, str | os.PathLike) and str(target).startswith(home):
            reached(f"{name} {_plain_name(Path(str(target)))}")

    for engine in (services.context.database.writing, services.context.database.ingesting):
        event.listen(engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", lambda connection: reached(COMMIT))
    event.listen(Session, "after_commit", lambda session: reached(COMMITTED))
    sys.addaudithook(file)


def _plain_name(path: Path) -> str:
    """The file's name without what differs from run to run."""
    name = re.sub(r"^\.(.*)\.\d+\.[0-9a-f]{8}$", r"\1", path.name)
    name = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", name)
    return re.sub(r"[0-9a-f]{64}", "HASH", name)


def killed_after(victim: Victim, key: str, count: int) -> None:
    """Kill it as soon as its diary has so many more lines with this key."""
    before = len(victim.diary.read(key))
    wait_for(lambda: len(victim.diary.read(key)) >= before + count or victim.process.exitcode is not None, 120, every=0.001)
    victim.kill()
