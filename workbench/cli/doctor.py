"""Examine a home and its processes."""

import json
import shutil
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from workbench.audit.verify import verify_home
from workbench.core import migrate
from workbench.core.database import Database
from workbench.core.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One check of the doctor."""

    name: str
    ok: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which one would mend them."""
    if settings.uses_sqlite and not (settings.home / "workbench.sqlite").exists():
        return [Finding("home", False, f"There is no workbench in {settings.home}. Run `workbench up` first.")]
    return [
        _disk(settings),
        _keys(settings),
        *_databases(settings),
        _ledger(settings),
        _base_model(settings),
        *_processes(settings),
    ]


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.home).free // 1_000_000
    return Finding("disk", free >= settings.minimum_free_mb, f"{free:,} MB free at {settings.home}")


def _keys(settings: Settings) -> Finding:
    folder = settings.keys_folder
    if not folder.exists():
        return Finding("keys", True, "No keys yet; they are made at first use.")
    open_files = [p.name for p in folder.rglob("*.key") if p.stat().st_mode & 0o077]
    if open_files:
        return Finding("keys", False, f"Others can read {', '.join(open_files)}. Run `chmod 600` on them.")
    return Finding("keys", True, f"{len(list(folder.rglob('*.key')))} private keys, readable by their owner only")


def _databases(settings: Settings) -> list[Finding]:
    database = Database(settings)
    try:
        before, newest = _revision(database), migrate.newest()
        found = [
            Finding(
                "schema",
                before == newest,
                f"version {before}" + ("" if before == newest else f"; run `workbench migrate` for {newest}"),
            )
        ]
        if settings.uses_sqlite:
            with database.reading.connect() as connection:
                for schema in ("main", "traces"):
                    answer = connection.execute(text(f"PRAGMA {schema}.quick_check(1)")).scalar_one()
                    found.append(Finding(f"database {schema}", answer == "ok", str(answer)))
        return found
    except SQLAlchemyError as error:
        return [Finding("database", False, f"{type(error).__name__}: {str(error).splitlines()[0]}")]
    finally:
        database.dispose()


def _revision(database: Database) -> str | None:
    with database.reading.connect() as connection:
        try:
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
        except SQLAlchemyError:
            return None


def _ledger(settings: Settings) -> Finding:
    report = verify_home(settings.home)
    return Finding("ledger", report.ok, report.sentence())


def _base_model(settings: Settings) -> Finding:
    folders = [p.parent for p in settings.folder("models").glob("*/workbench.json")]
    if folders:
        return Finding("base model", True, ", ".join(sorted(p.name for p in folders)))
    return Finding("base model", False, "Not converted yet. `workbench up` does it in the background.")


def _processes(settings: Settings) -> list[Finding]:
    report = settings.home / "run" / "supervisor.json"
    if not report.exists():
        return [Finding("processes", True, "The workbench is not running.")]
    children = json.loads(report.read_text())["children"]
    findings = [
        Finding(f"process {name}", child["pid"] is not None, f"pid {child['pid']}, restarted {child['restarts']} times")
        for name, child in children.items()
    ]
    try:
        answer = httpx.get(f"{settings.api_url}/v1/health", timeout=5)
        parts = answer.json()
        bad = {name: why for name, why in parts.items() if why != "ok"}
        findings.append(Finding("health", not bad, "; ".join(f"{k}: {v}" for k, v in bad.items()) or "all parts answer"))
    except (httpx.HTTPError, ValueError) as error:
        findings.append(Finding("health", False, f"{settings.api_url} does not answer ({type(error).__name__})."))
    return findings
