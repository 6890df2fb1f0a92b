"""The index: exact about what may be answered, whatever it still holds."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from workbench.core.errors import InvalidInput
from workbench.runtime.embedding import Vectors
from workbench.runtime.index import Hit, KnowledgeIndex, Passage, Scope

BANK = Scope("bank", "default")
SHOP = Scope("shop", "default")


def embed(texts: Sequence[str]) -> Vectors:
    """A vector of its own for each text."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        vector = np.random.default_rng(seed).normal(size=384)
        rows.append(vector / np.linalg.norm(vector))
    return np.asarray(rows, dtype=np.float32)


def make(folder: Path, embedder: str = "a") -> KnowledgeIndex:
    return KnowledgeIndex(folder, embed=embed, embedder_hash="sha256:" + embedder * 64)


def passages(*names: str) -> dict[str, Passage]:
    return {name: Passage(f"entry of {name}", f"text of {name}") for name in names}


def find(index: KnowledgeIndex, text: str, allowed: Sequence[str], k: int = 3, scope: Scope = BANK) -> list[str]:
    return [hit.version_id for hit in index.query(scope, embed([text])[0], k, allowed)]


def test_the_nearest_version_comes_first_with_its_similarity(tmp_path: Path) -> None:
    index = make(tmp_path)
    assert index.sync(BANK, passages(*"abcdef")) == 6
    hits = index.query(BANK, embed(["text of c"])[0], 2, list("abcdef"))
    assert hits[0] == Hit("c", "entry of c", pytest.approx(1.0, abs=1e-5))  # type: ignore[arg-type]
    assert hits[0].score > hits[1].score


def test_syncing_again_embeds_nothing_again(tmp_path: Path) -> None:
    index = make(tmp_path)
    assert [index.sync(BANK, passages(*"abc")), index.sync(BANK, passages(*"abcd")), index.sync(BANK, passages(*"abcd"))] == [
        3,
        1,
        0,
    ]
    assert index.lacks(["a", "e"])
    assert not index.lacks(["a", "d"])


def test_a_version_that_is_not_allowed_is_never_answered_however_near(tmp_path: Path) -> None:
    index = make(tmp_path)
    names = [f"v{number}" for number in range(60)]
    index.sync(BANK, passages(*names))
    allowed = [name for name in names if name not in {f"v{number}" for number in range(50)}]
    for name in names[:5]:
        found = find(index, f"text of {name}", allowed, k=5)
        assert set(found) <= set(allowed)
        assert len(found) == 5


def test_when_retired_neighbours_crowd_the_others_out_the_answer_is_still_exact(tmp_path: Path) -> None:
    index = make(tmp_path)
    names = [f"v{number}" for number in range(80)]
    index.sync(BANK, passages(*names))
    allowed = names[70:]
    vectors = embed([f"text of {name}" for name in allowed])
    query = embed(["anything"])[0]
    expected = [allowed[i] for i in np.argsort(-(vectors @ query))[:3]]
    assert find(index, "anything", allowed) == expected


def test_another_project_is_never_answered_even_when_its_versions_are_named(tmp_path: Path) -> None:
    index = make(tmp_path)
    index.sync(BANK, passages("a", "b"))
    index.sync(SHOP, passages("s"))
    assert find(index, "text of a", ["a", "b", "s"], scope=SHOP) == ["s"]
    assert find(index, "text of a", ["a", "b"], scope=SHOP) == []


def test_an_index_is_there_again_after_a_restart(tmp_path: Path) -> None:
    make(tmp_path).sync(BANK, passages(*"abc"))
    again = make(tmp_path)
    assert again.size == 3
    assert again.sync(BANK, passages(*"abc")) == 0
    assert find(again, "text of b", list("abc"))[0] == "b"


def test_vectors_of_another_embedding_model_are_kept_apart(tmp_path: Path) -> None:
    make(tmp_path, "a").sync(BANK, passages(*"abc"))
    other = make(tmp_path, "b")
    assert other.size == 0
    assert find(other, "text of a", list("abc")) == []


def test_a_rebuild_leaves_nothing_of_what_was_erased_on_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "chroma"
    index = make(folder)
    index.sync(BANK, passages("kept", "erased-version"))
    index.rebuild({BANK: passages("kept")})
    assert find(index, "text of erased-version", ["kept", "erased-version"]) == ["kept"]
    assert index.size == 1
    left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"erased-version" not in left
    assert b"kept" in left


def test_no_text_is_stored_in_the_index(tmp_path: Path) -> None:
    index = make(tmp_path)
    index.sync(BANK, {"v": Passage("e", "a secret sentence")})
    assert b"a secret sentence" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(("k", "allowed"), [(0, ["a"]), (3, []), (3, ["unknown"])])
def test_a_query_for_nothing_finds_nothing(tmp_path: Path, k: int, allowed: list[str]) -> None:
    index = make(tmp_path)
    index.sync(BANK, passages("a"))
    assert find(index, "text of a", allowed, k=k) == []


def test_a_server_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="WORKBENCH_CHROMA_URL"):
        KnowledgeIndex(tmp_path, embed=embed, embedder_hash="sha256:" + "a" * 64, chroma_url="chroma")
