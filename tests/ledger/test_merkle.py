"""Merkle trees against the definition, the published vectors, and another implementation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_consistency, verify_inclusion

from ledger.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    TileHash,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
)

# The leaves and roots that implementations of RFC 6962 test each other with.
LEAVES = [bytes.fromhex(h) for h in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@dataclass
class Grown:
    """A tree grown leaf by leaf, with what a store would keep of it."""

    leaves: list[bytes] = field(default_factory=list)
    above: dict[tuple[int, int], bytes] = field(default_factory=dict)
    frontier: Frontier = field(default_factory=Frontier)

    def extend(self, leaves: Sequence[bytes]) -> None:
        self.frontier, completed = self.frontier.extend(leaves)
        self.leaves += leaves
        for made in completed:
            assert isinstance(made, TileHash)
            assert (made.level, made.index) not in self.above
            self.above[made.level, made.index] = made.hash

    def read(self, level: int, start: int, count: int) -> list[bytes]:
        if level == 0:
            return self.leaves[start : start + count]
        return [self.above[level, i] for i in range(start, start + count)]

    @property
    def tree(self) -> Tree:
        return Tree(len(self.leaves), self.read)


def grown(number: int) -> Grown:
    made = Grown()
    made.extend([leaf_hash(str(n).encode()) for n in range(number)])
    return made


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(defined_root(leaves[:k]), defined_root(leaves[k:]))


@pytest.mark.parametrize(("size", "root"), ROOTS.items())
def test_known_roots(size: int, root: str) -> None:
    frontier, _ = Frontier().extend([leaf_hash(leaf) for leaf in LEAVES[:size]])
    assert frontier.root().hex() == root
    assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 1000])
def test_roots_are_as_defined_whatever_the_batches(size: int) -> None:
    at_once = grown(size)
    one_by_one = Grown()
    for leaf in at_once.leaves:
        one_by_one.extend([leaf])
    assert one_by_one == at_once
    assert at_once.frontier.root() == defined_root(at_once.leaves)
    assert at_once.tree.root() == at_once.frontier.root()
    for smaller in {size // 3, size // 2, size - 1}:
        assert at_once.tree.root(smaller) == defined_root(at_once.leaves[:smaller])
    assert at_once.tree.frontier() == at_once.frontier


def test_a_tree_of_three_levels_of_tiles() -> None:
    """The example of the specification of tiles: 70,000 leaves."""
    tree = grown(70_000)
    assert sum(level == 1 for level, _ in tree.above) == 273
    assert sum(level == 2 for level, _ in tree.above) == 1
    for index in (0, 65_535, 65_536, 69_887, 69_999):
        path = tree.tree.inclusion(index, 70_000)
        check_inclusion(tree.leaves[index], index, 70_000, path, tree.frontier.root())


@pytest.mark.parametrize(("size", "levels"), [(255, [0]), (256, [1]), (70_000, [2, 1, 0])])
def test_a_root_takes_one_read_of_each_level(size: int, levels: list[int]) -> None:
    """A node computes roots all the time; each read is a question to its database."""
    tree, read = grown(size), []

    def counted(level: int, start: int, count: int) -> Sequence[bytes]:
        read.append(level)
        return tree.read(level, start, count)

    assert Tree(size, counted).root() == tree.frontier.root()
    assert read == levels


SIZES = st.integers(1, 600)
BIG = grown(600)


@settings(max_examples=300, deadline=None)
@given(size=SIZES, data=st.data())
def test_inclusion_proofs_hold_and_no_others_do(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = BIG.tree.inclusion(index, size)
    root = BIG.tree.root(size)
    leaf = BIG.leaves[index]
    check_inclusion(leaf, index, size, path, root)
    other = data.draw(st.integers(0, size).filter(lambda n: n != index))
    wrong = [
        (leaf_hash(b"another"), index, size, path, root),
        (leaf, other, size, path, root),
        (leaf, index, size, [*path, root], root),
        (leaf, index, size, path, EMPTY_ROOT),
    ]
    if path:
        turned = data.draw(st.integers(0, len(path) - 1))
        wrong.append((leaf, index, size, path[:-1], root))
        flipped = [leaf if n == turned else h for n, h in enumerate(path)]
        wrong.append((leaf, index, size, flipped, root))
    for case in wrong:
        with pytest.raises(ProofError):
            check_inclusion(*case)


@settings(max_examples=300, deadline=None)
@given(new=SIZES, data=st.data())
def test_consistency_proofs_hold_and_no_others_do(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    proof = BIG.tree.consistency(old, new)
    roots = BIG.tree.root(old), BIG.tree.root(new)
    check_consistency(old, new, proof, *roots)
    fork = leaf_hash(b"a fork")
    wrong: list[tuple[int, int, list[bytes], bytes, bytes]] = [
        (old, new, [*proof, fork], *roots),
        (old, new, proof, fork, roots[1]),
        (new + 1, new, proof, *roots),
    ]
    if old:
        wrong.append((old, new, proof, roots[0], fork))
    if proof:
        wrong.append((old, new, proof[:-1], *roots))
        turned = data.draw(st.integers(0, len(proof) - 1))
        wrong.append((old, new, [fork if n == turned else h for n, h in enumerate(proof)], *roots))
    for case in wrong:
        with pytest.raises(ProofError):
            check_consistency(*case)


def test_another_implementation_makes_the_same_trees_and_proofs() -> None:
    theirs = InmemoryTree(algorithm="sha256")
    ours = Grown()
    for n in range(300):
        entry = str(n).encode()
        theirs.append_entry(entry)
        ours.extend([leaf_hash(entry)])
        assert theirs.get_root() == ours.frontier.root()
    for size in (1, 2, 3, 7, 64, 200, 255, 256, 257, 300):
        root = ours.tree.root(size)
        for index in {0, size // 2, size - 1}:
            proof = theirs.prove_inclusion(index + 1, size)
            verify_inclusion(ours.leaves[index], root, proof)
            # Theirs begins with the leaf itself.
            assert list(map(bytes.fromhex, proof.serialize()["path"]))[1:] == (
                ours.tree.inclusion(index, size)
            )
        proof = theirs.prove_consistency(size, 300)
        verify_consistency(root, ours.frontier.root(), proof)


def test_frontiers_are_checked() -> None:
    with pytest.raises(ValueError, match="frontier"):
        Frontier.from_bytes(3, b"\x00" * 32)
    with pytest.raises(ProofError):
        BIG.tree.root(601)
    with pytest.raises(ProofError):
        BIG.tree.inclusion(5, 5)
    with pytest.raises(ProofError):
        BIG.tree.consistency(6, 5)
