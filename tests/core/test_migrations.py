from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

import workbench.bootstrap  # noqa: F401 - brings in every stage's tables
from workbench.core.database import TRACES, Database
from workbench.core.migrate import migrate, newest
from workbench.core.settings import Settings


def test_a_migrated_home_has_the_tables_of_the_models(home: Path) -> None:
    database = Database(Settings(home=home))
    migrate(database)
    with database.migrating() as engine, engine.connect() as connection:

        def ours(name: str | None, kind: str, parents: object) -> bool:
            return name in (None, TRACES) if kind == "schema" else True

        context = MigrationContext.configure(connection, opts={"include_schemas": True, "include_name": ours})
        assert compare_metadata(context, SQLModel.metadata) == []
    database.dispose()


def test_migrating_twice_changes_nothing(home: Path) -> None:
    database = Database(Settings(home=home))
    assert migrate(database) == (None, newest())
    assert migrate(database) == (newest(), newest())
    database.dispose()
