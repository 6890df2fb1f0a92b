"""Starts the four processes, restarts what dies with back-off, and stops everything in order."""

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

import httpx

from workbench.audit.locks import hold_web_lock
from workbench.core.clock import now
from workbench.core.errors import Conflict, Unavailable, WorkbenchError
from workbench.core.runtime_client import RuntimeClient
from workbench.core.settings import REPOSITORY, Settings

_START_ORDER = ("runtime", "api", "worker", "web")
_STOP_ORDER = ("worker", "web", "api", "runtime")
_STOP_SECONDS = {"worker": 60.0, "web": 15.0, "api": 10.0, "runtime": 10.0}
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.5, 30.0
_CALM_SECONDS = 60.0
"""A child that lived this long starts again without delay when it dies."""


def preflight(settings: Settings) -> None:
    """Refuse to start where it cannot work, in one sentence.

    Raises:
        Conflict: a port is taken, or another workbench runs over this home.
        Unavailable: the folder cannot be written, or the disk is nearly full.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        probe = settings.folder("run") / ".probe"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise Unavailable(
            f"The home {settings.home} cannot be written.", why=f"{error.strerror}.", todo="Choose another with --home."
        ) from error
    hold_web_lock(settings).release()
    free = shutil.disk_usage(settings.home).free // 1_000_000
    if free < settings.minimum_free_mb:
        raise Unavailable(
            f"Only {free} MB of disk space is free.",
            why=f"The workbench needs {settings.minimum_free_mb} MB.",
            todo="Free some space, or choose a home on another disk with --home.",
        )
    for port in (settings.port, settings.api_port, settings.runtime_port):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((settings.host if port != settings.runtime_port else "127.0.0.1", port))
            except OSError as error:
                raise Conflict(
                    f"Port {port} is taken.",
                    why="The workbench uses three ports in a row.",
                    todo="Stop what uses it, or choose others with --port.",
                ) from error


@dataclass
class Child:
    """One process of the workbench and how often it was started."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restarts: int = 0
    failures: int = 0
    retry_at: float = 0.0
    last_exit: int | None = None
    log: IO[bytes] | None = field(default=None, repr=False)


class Supervisor:
    """Owns the children from `start` until the `with` block ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        python = sys.executable
        web = [
            python, "-m", "streamlit", "run", str(REPOSITORY / "workbench" / "app" / "asgi.py"),
            "--server.port", str(settings.port), "--server.address", settings.host, "--server.headless", "true",
        ]  # fmt: skip
        commands = {
            "runtime": [python, "-m", "workbench.runtime"],
            "api": [python, "-m", "workbench.api"],
            "worker": [python, "-m", "workbench.worker"],
            "web": web,
        }
        self.children = {name: Child(name, commands[name]) for name in _START_ORDER}
        self._runtime = RuntimeClient(settings)
        self._stopping = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Supervisor":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._ask_stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask_stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def start(self) -> None:
        """Start every child, with a fresh token between them and the runtime."""
        self._write_token()
        for child in self.children.values():
            self._launch(child)
        self._report()

    def _write_token(self) -> None:
        path = self.settings.folder("run") / "runtime.token"
        temporary = path.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32))
        temporary.replace(path)

    def _launch(self, child: Child) -> None:
        log_file = self.settings.folder("logs") / f"{child.name}.log"
        if child.log is None:
            _rotate(log_file)
            child.log = log_file.open("ab")
        environment = {
            **os.environ,
            "WORKBENCH_HOME": str(self.settings.home),
            "WORKBENCH_PORT": str(self.settings.port),
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "0" if self.settings.allow_hub else "1",
        }
        child.process = subprocess.Popen(
            child.command,
            stdout=child.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=REPOSITORY,
            start_new_session=True,  # Ctrl-C reaches only us, so that children stop in order
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        child.started = time.monotonic()

    def wait_healthy(self, say: Callable[[str], None], seconds: float = 180.0) -> None:
        """Wait until pages, gateway and jobs can be used.

        Raises:
            Unavailable: not within `seconds`, or a child keeps dying.
        """
        begun = time.monotonic()
        deadline = begun + seconds
        waiting: dict[str, str] = {}
        while not self._stopping and time.monotonic() < deadline:
            self._revive(say)
            waiting = self._unhealthy()
            if not waiting:
                say(f"Everything is up after {time.monotonic() - begun:.0f} s.")
                return
            hopeless = [c for c in self.children.values() if c.failures >= 4]
            if hopeless:
                raise Unavailable(
                    f"{hopeless[0].name} does not start.",
                    why=_last_line(self.settings.folder("logs") / f"{hopeless[0].name}.log"),
                    todo=f"See {self.settings.folder('logs') / (hopeless[0].name + '.log')}.",
                )
            time.sleep(0.25)
        if not self._stopping:
            reasons = "; ".join(f"{name}: {why}" for name, why in waiting.items())
            raise Unavailable(
                f"The workbench is not healthy after {seconds:.0f} s.", why=reasons, todo="See the logs in the home folder."
            )

    def _unhealthy(self) -> dict[str, str]:
        try:
            page = httpx.get(f"http://127.0.0.1:{self.settings.port}/_stcore/health", timeout=2)
            answer = httpx.get(f"{self.settings.api_url}/v1/health", timeout=5)
        except httpx.HTTPError as error:
            return {"start": type(error).__name__}
        if page.status_code != 200:
            return {"web": f"HTTP {page.status_code}"}
        try:
            parts = answer.json()
        except ValueError:
            return {"api": f"HTTP {answer.status_code}"}
        waiting = {name: str(state) for name, state in parts.items() if state != "ok"}
        if "runtime" in waiting and self.preparing() is not None:
            del waiting["runtime"]
        return waiting

    def preparing(self) -> str | None:
        """What the runtime still prepares while everything else can be used already: `loading` or `converting`; else None."""
        try:
            status = str(self._runtime.health()["status"])
        except WorkbenchError:
            return None
        return status if status in ("loading", "converting") else None

    def watch(self, say: Callable[[str], None]) -> None:
        """Keep the children alive until somebody asks to stop."""
        while not self._stopping:
            self._revive(say)
            time.sleep(0.5)

    def _revive(self, say: Callable[[str], None]) -> None:
        changed = False
        for child in self.children.values():
            if child.process is None:
                if time.monotonic() >= child.retry_at:
                    self._launch(child)
                    child.restarts += 1
                    changed = True
                continue
            code = child.process.poll()
            if code is None:
                if child.failures and time.monotonic() - child.started > _CALM_SECONDS:
                    child.failures = 0
                continue
            delay = min(_FIRST_BACK_OFF * 2**child.failures, _LONGEST_BACK_OFF)
            child.failures += 1
            child.last_exit = code
            child.process = None
            child.retry_at = time.monotonic() + delay
            say(f"{child.name} ended ({_exit_words(code)}); starting it again in {delay:.1f} s.")
            changed = True
        if changed:
            self._report()

    def _report(self) -> None:
        """Write what the admin page and `doctor` show of the processes."""
        path = self.settings.folder("run") / "supervisor.json"
        value = {
            "pid": os.getpid(),
            "at": now().isoformat(),
            "children": {
                c.name: {
                    "pid": c.process.pid if c.process else None,
                    "restarts": c.restarts,
                    "last_exit": None if c.last_exit is None else _exit_words(c.last_exit),
                }
                for c in self.children.values()
            },
        }
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(value))
        temporary.replace(path)

    def stop(self) -> None:
        """Stop the children in order: the worker first, so that running jobs can save and be marked interrupted."""
        for name in _STOP_ORDER:
            child = self.children[name]
            if child.process is None or child.process.poll() is not None:
                continue
            child.process.terminate()
            try:
                child.process.wait(_STOP_SECONDS[name])
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        for child in self.children.values():
            if child.log is not None:
                child.log.close()
        (self.settings.home / "run" / "supervisor.json").unlink(missing_ok=True)


def _die_with_parent() -> None:
    """Linux: ask the kernel for SIGTERM when the supervisor is killed, so that no child is left holding a port."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _exit_words(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _rotate(path: Path, limit: int = 20_000_000) -> None:
    if path.exists() and path.stat().st_size > limit:
        path.replace(path.with_suffix(".old.log"))


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1][:300] if lines else "Its log is empty."
