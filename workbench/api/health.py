"""`GET /v1/health`: whether pages, gateway and jobs can all be used, and which part cannot."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from anyio import to_thread
from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse

from workbench.api.auth import services_of
from workbench.audit.health import ledger_health
from workbench.bootstrap import Services
from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.core.jobs import ProcessHeartbeat
from workbench.core.runtime_client import RuntimeClient

router = APIRouter(tags=["health"])

FRESH = timedelta(seconds=10)
"""A process that has not beaten for this long counts as gone."""

_KEEP_SECONDS = 0.8


@router.get("/v1/health")
async def health(request: Request) -> JSONResponse:
    """Each part `ok` or the reason why not; 200 when all are ok, else 503. Needs no key."""
    checker: HealthCheck = request.app.state.health
    parts = await to_thread.run_sync(lambda: checker.parts(services_of(request)))
    return JSONResponse(parts, 200 if all(state == "ok" for state in parts.values()) else 503)


class HealthCheck:
    """Asks every part; several askers within a second share one look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._parts: dict[str, str] = {}

    def parts(self, services: Services) -> dict[str, str]:
        """State by part: web, api, runtime, worker, database, ledger."""
        with self._lock:
            if time.monotonic() - self._looked_at > _KEEP_SECONDS:
                self._parts = _look(services)
                self._looked_at = time.monotonic()
            return dict(self._parts)


def _look(services: Services) -> dict[str, str]:
    database = _asked(lambda: _database(services))
    beats = (
        _beats(services)
        if database == "ok"
        else {"web": "unknown: the database is down", "worker": "unknown: the database is down"}
    )
    return {
        "web": beats["web"],
        "api": "ok",
        "runtime": _asked(lambda: _runtime(services)),
        "worker": beats["worker"],
        "database": database,
        "ledger": _asked(lambda: ledger_health(services.context)),
    }


def _asked(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except WorkbenchError as error:
        return str(error)
    except (SQLAlchemyError, OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _database(services: Services) -> str:
    with services.context.database.session() as session:
        session.connection().execute(text("SELECT count(*) FROM process_heartbeat"))
        session.connection().execute(text("SELECT count(*) FROM traces.trace_pending"))
    return "ok"


def _beats(services: Services) -> dict[str, str]:
    states: dict[str, str] = {}
    with services.context.database.session() as session:
        for name in ("web", "worker"):
            row = session.get(ProcessHeartbeat, name)
            if row is None:
                states[name] = "it has not started yet"
            elif now() - row.beat_at > FRESH:
                states[name] = f"no sign of life for {int((now() - row.beat_at).total_seconds())} s"
            else:
                states[name] = "ok" if row.state == "ok" else row.detail or row.state
    return states


def _runtime(services: Services) -> str:
    said = RuntimeClient(services.context.settings).health()
    status = str(said.get("status", "unknown"))
    return "ok" if status == "ok" else str(said.get("reason") or status)
