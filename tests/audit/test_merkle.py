"""RFC 6962 hashes and proofs: right ones hold, wrong ones do not."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.audit import merkle


def leaves_of(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


def root_by_definition(leaves: list[bytes]) -> bytes:
    """MTH as section 2.1 of RFC 6962 writes it down."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + root_by_definition(leaves[:split]) + root_by_definition(leaves[split:])).digest()


@given(st.integers(0, 300))
def test_the_growing_root_is_the_root_of_the_definition(size: int) -> None:
    assert merkle.root_of(leaves_of(size)) == root_by_definition(leaves_of(size))


def test_the_published_example_tree_has_the_published_root() -> None:
    # The eight leaves that certificate-transparency implementations test with, and their published root.
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in inputs]
    assert merkle.root_of(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@st.composite
def a_leaf_in_a_tree(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, 200))
    return size, draw(st.integers(0, size - 1))


@given(a_leaf_in_a_tree())
def test_every_leaf_can_be_proven(case: tuple[int, int]) -> None:
    size, index = case
    leaves = leaves_of(size)
    proof = merkle.inclusion_proof(leaves, index)
    assert merkle.inclusion_holds(leaves[index], index, size, proof, merkle.root_of(leaves))


@given(a_leaf_in_a_tree(), st.data())
def test_a_changed_leaf_place_size_proof_or_root_proves_nothing(case: tuple[int, int], data: st.DataObject) -> None:
    size, index = case
    leaves = leaves_of(size)
    proof, root = merkle.inclusion_proof(leaves, index), merkle.root_of(leaves)
    other = merkle.leaf_hash(b"never in the tree")
    assert not merkle.inclusion_holds(other, index, size, proof, root)
    assert not merkle.inclusion_holds(leaves[index], index, size, proof, other)
    assert not merkle.inclusion_holds(leaves[index], index, size, [*proof, other], root)
    assert not merkle.inclusion_holds(leaves[index], size, size, proof, root)
    if size > 1:
        wrong_place = data.draw(st.integers(0, size - 1).filter(lambda place: place != index))
        assert not merkle.inclusion_holds(leaves[index], wrong_place, size, proof, root)
        changed = data.draw(st.integers(0, len(proof) - 1))
        bent = [*proof[:changed], other, *proof[changed + 1 :]]
        assert not merkle.inclusion_holds(leaves[index], index, size, bent, root)
        assert not merkle.inclusion_holds(leaves[index], index, size, proof[:-1], root)


@st.composite
def two_sizes(draw: st.DrawFn) -> tuple[int, int]:
    new = draw(st.integers(1, 200))
    return draw(st.integers(1, new)), new


@given(two_sizes())
def test_a_grown_tree_can_be_shown_to_continue_the_old_one(case: tuple[int, int]) -> None:
    old, new = case
    leaves = leaves_of(new)
    proof = merkle.consistency_proof(leaves, old)
    assert merkle.consistency_holds(old, new, merkle.root_of(leaves[:old]), merkle.root_of(leaves), proof)


@given(two_sizes(), st.data())
def test_a_rewritten_history_cannot_be_shown_to_continue_the_old_one(case: tuple[int, int], data: st.DataObject) -> None:
    old, new = case
    leaves = leaves_of(new)
    old_root = merkle.root_of(leaves[:old])
    rewritten = list(leaves)
    rewritten[data.draw(st.integers(0, old - 1))] = merkle.leaf_hash(b"rewritten")
    proof = merkle.consistency_proof(rewritten, old)
    assert not merkle.consistency_holds(old, new, old_root, merkle.root_of(rewritten), proof)


def test_a_proof_for_a_leaf_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError):
        merkle.inclusion_proof(leaves_of(3), 3)
    with pytest.raises(ValueError, match="cannot continue"):
        merkle.consistency_proof(leaves_of(3), 4)
