"""The Merkle tree over the ledger's events.

Leaves are SHA-256(0x00 ‖ canonical event bytes), inner nodes SHA-256(0x01 ‖ left ‖ right).
A tree of n leaves splits at the largest power of two below n, so a tree only ever grows on its right edge.

Source: RFC 6962 section 2.1 (hashes and proofs), RFC 9162 sections 2.1.3.2 and 2.1.4.2 (checking proofs).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962: the hash of the empty string)."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf, 32 bytes. The 0x00 prefix keeps a leaf from ever being taken for a node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node over its two children, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class GrowingTree:
    """The root of a growing tree in O(log n) memory.

    Keeps only the roots of the perfect subtrees on the right edge, largest first; as many as `size` has binary ones.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._edge: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        node, ones = leaf, self.size
        while ones & 1:
            node = node_hash(self._edge.pop(), node)
            ones >>= 1
        self._edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far, 32 bytes."""
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1]
        for node in reversed(self._edge[:-1]):
            root = node_hash(node, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return GrowingTree(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The sibling hashes from leaf `index` (from 0) up to the root over `leaves`, lowest first.

    Raises:
        IndexError: the tree has no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} is not in a tree of {len(leaves)}")
    proof: list[bytes] = []
    low, high = 0, len(leaves)
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(root_of(leaves[middle:high]))
            high = middle
        else:
            proof.append(root_of(leaves[low:middle]))
            low = middle
    proof.reverse()
    return proof


def inclusion_holds(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that `leaf` is leaf `index` of the tree of `size` leaves with this `root`."""
    if not 0 <= index < size:
        return False
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and node == root


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The hashes that show the tree over `leaves` continues its own first `old_size` leaves.

    Empty when the two trees are the same.

    Raises:
        ValueError: `old_size` is not between 1 and the number of leaves.
    """
    if not 1 <= old_size <= len(leaves):
        raise ValueError(f"a tree of {len(leaves)} cannot continue one of {old_size}")
    return _consistency(leaves, old_size, complete=True)


def _consistency(leaves: Sequence[bytes], old_size: int, *, complete: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if complete else [root_of(leaves)]
    middle = _split(len(leaves))
    if old_size <= middle:
        return [*_consistency(leaves[:middle], old_size, complete=complete), root_of(leaves[middle:])]
    return [*_consistency(leaves[middle:], old_size - middle, complete=False), root_of(leaves[:middle])]


def consistency_holds(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the new tree begins with exactly the leaves of the old one."""
    if not 1 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _split(size: int) -> int:
    """The largest power of two below `size` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)
