"""The bank, made once and copied for each test; and a key derivation that costs nothing (identity tests the real one)."""

import copy
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.releases.factories import Bank
from workbench.bootstrap import bootstrap
from workbench.core.settings import Settings
from workbench.identity import signatures
from workbench.identity.service import local_administrator
from workbench.releases.service import ReleaseService


def _derive(password: str, salt: bytes) -> bytes:
    return hashlib.sha256(password.encode() + salt).digest()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_derive", _derive)
    monkeypatch.setattr(ReleaseService, "sealing_seconds", 0.0)


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    home = tmp_path_factory.mktemp("founded") / "home"
    services = bootstrap(settings=Settings(home=home))
    services.context.database.create_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signatures, "_derive", _derive)
        project = services.identity.add_project(local_administrator(), key="test-bank", name="Test bank")
        bank = Bank(services, project)
    services.context.database.dispose()
    return bank


@pytest.fixture
def bank(founded: Bank, tmp_path: Path) -> Iterator[Bank]:
    home = tmp_path / "home"
    shutil.copytree(founded.services.context.settings.home, home)
    bank = copy.copy(founded)
    bank.adapters = {}
    bank.services = bootstrap(settings=Settings(home=home))
    yield bank
    bank.services.context.database.dispose()
