from pathlib import Path

import pytest

from workbench.core.artifacts import ArtifactStore
from workbench.core.canonical import hash_bytes
from workbench.core.errors import IntegrityError, NotFound


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_the_same_bytes_are_stored_once_under_their_hash(store: ArtifactStore) -> None:
    first, second = store.put_bytes(b"adapter"), store.put_bytes(b"adapter")
    assert first == second == hash_bytes(b"adapter")
    assert store.read_bytes(first) == b"adapter"


def test_a_folder_is_found_again_by_its_content_wherever_it_was(store: ArtifactStore, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "weights").write_bytes(b"w")
    assert store.put_folder(tmp_path / "one") == store.put_folder(tmp_path / "two")


def test_an_altered_file_in_a_stored_folder_is_noticed(store: ArtifactStore, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "weights").write_bytes(b"good")
    name = store.put_folder(folder)
    (store.path(name) / "weights").write_bytes(b"evil")
    with pytest.raises(IntegrityError, match="altered on disk"):
        store.verify(name)


@pytest.mark.parametrize("name", ["", "sha256:", "../../etc/passwd", "sha256:" + "g" * 64, "sha256:" + "a" * 63])
def test_what_is_no_hash_names_no_file(store: ArtifactStore, name: str) -> None:
    with pytest.raises(NotFound):
        store.path(name)
