"""Settings, read from the environment (prefix `WORKBENCH_`)."""

from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Everything that can be set from outside. Each field is documented in docs/settings.md."""

    model_config = SettingsConfigDict(env_prefix="WORKBENCH_", extra="ignore", frozen=False)

    home: Path = Field(REPOSITORY / "data" / "home", description="Folder that holds all state. Deleting it is a full reset.")
    keys: Path | None = Field(None, description="Folder of the signing keys. Default: `keys/` inside the home.")
    database_url: str = Field("", description="SQLAlchemy URL of PostgreSQL for a team. Empty: SQLite files inside the home.")
    ledger_url: str = Field("", description="Folder that sealed ledger segments are also copied to. Empty: only the home.")
    chroma_url: str = Field("", description="URL of a Chroma server. Empty: the index inside the home.")
    base_model: str = Field(
        "gemma3-270m", description="Base model: `gemma3-270m` (from its package), a local folder, or a hub id."
    )
    allow_hub: bool = Field(False, description="Whether a base model may be downloaded from a model hub.")
    host: str = Field("127.0.0.1", description="Address the pages and the api bind. Demo accounts refuse any but loopback.")
    port: int = Field(8501, description="Port of the pages; the api uses the next one, the runtime the one after.")
    threads: int = Field(0, description="CPU threads for models. 0: all cores.")
    log_level: str = Field("INFO", description="Least level that is logged.")
    session_hours: int = Field(12, description="Hours after which a person has to sign in again.")
    minimum_free_mb: int = Field(500, description="Free disk space below which the workbench refuses to start, in MB.")

    @property
    def api_port(self) -> int:
        return self.port + 1

    @property
    def runtime_port(self) -> int:
        return self.port + 2

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def runtime_url(self) -> str:
        return f"http://127.0.0.1:{self.runtime_port}"

    @cached_property
    def keys_folder(self) -> Path:
        return self.keys or self.home / "keys"

    def folder(self, name: str) -> Path:
        """A folder inside the home, made when missing. Names: ledger, analytics, index, artifacts, models, logs, run."""
        path = self.home / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def uses_sqlite(self) -> bool:
        return not self.database_url


def load_settings(home: Path | None = None, **overrides: object) -> Settings:
    """Settings from the environment, with what a command line gave on top."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if home is not None:
        given["home"] = home.expanduser().resolve()
    settings = Settings(**given)  # type: ignore[arg-type]
    settings.home = settings.home.expanduser().resolve()
    return settings
