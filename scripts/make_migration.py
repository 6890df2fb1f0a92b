"""Write a migration for what the models say and the newest migration does not: make_migration.py "what changed"."""

import sys
import tempfile
from pathlib import Path

from alembic import command

import workbench.bootstrap  # noqa: F401 - brings in every stage's tables
from workbench.core.database import Database
from workbench.core.migrate import alembic_config, migrate
from workbench.core.settings import Settings


def main(message: str) -> None:
    """Migrate an empty home to the newest version, compare it with the models, and write the difference."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Settings(home=Path(folder)))
        migrate(database)
        config = alembic_config()
        existing = list((Path(config.get_main_option("script_location") or "") / "versions").glob("0*.py"))
        with database.migrating() as engine, engine.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True, rev_id=f"{len(existing) + 1:04}")


if __name__ == "__main__":
    main(sys.argv[1])
