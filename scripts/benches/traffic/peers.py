"""Two other stores of traces, run beside ours: Phoenix and MLflow, each installed into an environment of its own.

Both are fed the same OTLP bodies over HTTP at their documented defaults, on loopback, with their state in a temporary folder.
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import venv
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from workbench.core.settings import REPOSITORY

Say = Callable[[str], None]
ENVIRONMENTS = REPOSITORY / "data" / "home" / "bench-peers"
"""Kept between runs: installing takes minutes."""


def _environment() -> dict[str, str]:
    """Ours, but for what would let our packages into theirs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WORKBENCH_"))}


class Peer(ABC):
    """A server that takes OTLP spans and lists, filters and searches them."""

    name = ""
    packages: tuple[str, ...] = ()
    path = "/v1/traces"
    headers: dict[str, str] = {}

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder / self.name.lower()
        self.folder.mkdir(parents=True)
        self.say = say
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bin(self) -> Path:
        """Programs of its environment."""
        return ENVIRONMENTS / self.name.lower() / "bin"

    def install(self) -> None:
        """Make its environment, if it is not there yet."""
        done = self.bin.parent / ".installed"
        if done.exists() and done.read_text() == " ".join(self.packages):
            return
        self.say(f"installing {' '.join(self.packages)} into an environment of its own (some minutes, once)")
        venv.create(self.bin.parent, with_pip=True, clear=True)
        subprocess.run(
            [self.bin / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *self.packages],
            check=True, stdout=sys.stderr, env=_environment(),
        )  # fmt: skip
        done.write_text(" ".join(self.packages))

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to start, and its environment variables."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.install()
        arguments, variables = self.command()
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                arguments, env={**_environment(), **variables}, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 180
        while True:
            try:
                if self.client.get("/", timeout=5).status_code < 500:
                    return
            except httpx.HTTPError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start: {(self.folder / 'server.log').read_text()[-1500:]}")
            time.sleep(0.3)

    def stop(self) -> None:
        """End it and everything it started."""
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    @abstractmethod
    def count(self) -> int:
        """Traces that a reader can find."""

    @abstractmethod
    def newest(self) -> int:
        """Fetch the newest 50; returns how many came."""

    @abstractmethod
    def failed(self) -> int:
        """Fetch the newest 50 that failed."""

    @abstractmethod
    def search(self, word: str) -> int:
        """Fetch up to 50 with this text in them."""

    @abstractmethod
    def prepare_search(self) -> None:
        """What makes its search fair, before it is measured."""


class Phoenix(Peer):
    """Arize Phoenix with its SQLite database."""

    name = "Phoenix"
    packages = ("arize-phoenix==20.26.1",)

    def command(self) -> tuple[list[str], dict[str, str]]:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            grpc = int(found.getsockname()[1])
        variables = {
            "PHOENIX_PORT": str(self.port), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_GRPC_PORT": str(grpc),
            "PHOENIX_WORKING_DIR": str(self.folder), "PHOENIX_TELEMETRY_ENABLED": "false",
        }  # fmt: skip
        return [str(self.bin / "phoenix"), "serve"], variables

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self.client.post("/graphql", json={"query": query, "variables": variables})
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200 or found.get("errors"):
            raise RuntimeError(f"Phoenix: {answer.text[:500]}")
        return dict(found["data"])

    def _project(self) -> dict[str, Any] | None:
        projects = self._ask("{projects {edges {node {id name traceCount recordCount}}}}")["projects"]["edges"]
        return next((edge["node"] for edge in projects if edge["node"]["name"] == "default"), None)

    def count(self) -> int:
        project = self._project()
        return int(project["traceCount"]) if project else 0

    def _spans(self, *conditions: str) -> int:
        project = self._project()
        assert project is not None
        found = self._ask(
            "query($id: ID!, $condition: String) {node(id: $id) {... on Project {spans(first: 50, "
            "sort: {col: startTime, dir: desc}, filterCondition: $condition) "
            "{edges {node {id name startTime latencyMs statusCode input {value} output {value}}}}}}}",
            id=project["id"], condition=" and ".join(["parent_id is None", *conditions]),
        )  # fmt: skip
        return len(found["node"]["spans"]["edges"])

    def newest(self) -> int:
        return self._spans()

    def failed(self) -> int:
        return self._spans("status_code == 'ERROR'")

    def search(self, word: str) -> int:
        return self._spans(f"'{word}' in input.value")

    def prepare_search(self) -> None:
        """Its documents ask for nothing."""


class Mlflow(Peer):
    """MLflow's tracking server with its SQLite database."""

    name = "MLflow"
    packages = ("mlflow==3.17.2",)
    headers = {"x-mlflow-experiment-id": "0"}

    @property
    def database(self) -> Path:
        """Its database file."""
        return self.folder / "mlflow.db"

    def command(self) -> tuple[list[str], dict[str, str]]:
        arguments = [
            str(self.bin / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--backend-store-uri", f"sqlite:///{self.database}", "--default-artifact-root", str(self.folder / "artifacts"),
        ]  # fmt: skip
        return arguments, {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

    def count(self) -> int:
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30) as connection:
            return int(connection.execute("SELECT count(*) FROM trace_info").fetchone()[0])

    def _search(self, condition: str | None) -> int:
        body: dict[str, Any] = {
            "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}],
            "max_results": 50, "order_by": ["timestamp_ms DESC"],
        }  # fmt: skip
        if condition:
            body["filter"] = condition
        answer = self.client.post("/api/3.0/mlflow/traces/search", json=body)
        if answer.status_code != 200:
            raise RuntimeError(f"MLflow: {answer.text[:500]}")
        return len(answer.json().get("traces", []))

    def newest(self) -> int:
        return self._search(None)

    def failed(self) -> int:
        return self._search("trace.status = 'ERROR'")

    def search(self, word: str) -> int:
        return self._search(f"trace.text LIKE '%{word}%'")

    def prepare_search(self) -> None:
        with sqlite3.connect(self.database, timeout=60) as connection:
            connection.execute("ANALYZE")


PEERS: tuple[type[Peer], ...] = (Phoenix, Mlflow)
