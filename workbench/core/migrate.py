"""Bring a home's tables to the version this code needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from workbench.core.database import Database

_SCRIPTS = Path(__file__).parent / "migrations"


def alembic_config() -> Config:
    """Alembic's settings, without a file."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config


def migrate(database: Database) -> tuple[str | None, str | None]:
    """Upgrade to the newest version; returns the version before and after. Running it twice changes nothing."""
    config = alembic_config()
    with database.migrating() as engine, engine.connect() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
        config.attributes["connection"] = connection
        if before != newest():
            command.upgrade(config, "head")
            connection.commit()
        after = MigrationContext.configure(connection).get_current_revision()
    return before, after


def newest() -> str | None:
    """The newest version this code knows."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()
