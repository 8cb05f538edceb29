"""RFC 6962 Merkle trees over SHA-256: growing one, proving from one, and checking proofs.

A tree is kept as its *frontier* (the roots of the perfect subtrees that make it up, the
largest first) and, for every 256 hashes that are complete at one level, their root at the
level above. C2SP ``tlog-tiles`` serves these hashes. All else is computed from them when needed.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

HASH_SIZE = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
EMPTY_ROOT = hashlib.sha256().digest()

ReadHashes = Callable[[int, int, int], Sequence[bytes]]
"""Gives ``count`` hashes from ``start`` on at a tile level: leaves at 0, full tiles' above."""


class ProofError(ValueError):
    """A proof does not hold, or cannot be made."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class TileHash:
    """The root of a full tile: hash ``index`` of tile level ``level`` (1 or above)."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: enough to grow the tree and to compute its root."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    @classmethod
    def from_bytes(cls, size: int, content: bytes) -> "Frontier":
        """Read the bytes that :meth:`to_bytes` wrote.

        Raises ``ValueError`` if they do not fit the size.
        """
        if size < 0 or len(content) != HASH_SIZE * size.bit_count():
            raise ValueError(f"this is no frontier of a tree of {size} leaves")
        return cls(size, tuple(_split(content)))

    def to_bytes(self) -> bytes:
        return b"".join(self.peaks)

    def extend(self, leaves: Iterable[bytes]) -> tuple["Frontier", list[TileHash]]:
        """Return the frontier with ``leaves`` appended, and the tile hashes that they completed.

        ``leaves`` are leaf hashes. The function computes two hashes a leaf at most, on average.
        """
        size, peaks, completed = self.size, list(self.peaks), []
        for leaf in leaves:
            made, index, height = leaf, size, 0
            while index & 1:
                made = node_hash(peaks.pop(), made)
                index >>= 1
                height += 1
                if height % TILE_HEIGHT == 0:
                    completed.append(TileHash(height // TILE_HEIGHT, index, made))
            peaks.append(made)
            size += 1
        return Frontier(size, tuple(peaks)), completed

    def root(self) -> bytes:
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree whose hashes can be read; makes roots and proofs of any size up to its own."""

    size: int
    read: ReadHashes

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first ``size`` leaves.

        Raises ``ProofError`` if the tree has fewer leaves.
        """
        size = self._known(self.size if size is None else size)
        return self._range(0, size) if size else EMPTY_ROOT

    def frontier(self, size: int | None = None) -> Frontier:
        """Return the frontier of the first ``size`` leaves.

        Raises ``ProofError`` if the tree has fewer leaves.
        """
        size = self._known(self.size if size is None else size)
        return Frontier(size, tuple(self._peaks(0, size)))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the path from leaf ``index`` to the root of ``size`` (RFC 6962, section 2.1.1)."""
        if not 0 <= index < self._known(size):
            raise ProofError(f"leaf {index} is not in a tree of {size}")
        start, end = 0, size
        path: list[bytes] = []
        while end - start > 1:
            middle = start + _largest_power_below(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of ``new`` leaves continues the tree of ``old`` leaves.

        The proof is the one of RFC 6962, section 2.1.2.
        """
        if not 0 <= old <= self._known(new):
            raise ProofError(f"a tree of {new} does not continue one of {old}")
        if old in (0, new):
            return []
        start, end, whole = 0, new, True
        proof: list[bytes] = []
        while old - start < end - start:
            middle = start + _largest_power_below(end - start)
            if old <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._range(start, end))
        return proof[::-1]

    def _known(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise ProofError(f"there are {self.size} leaves, not {size}")
        return size

    def _range(self, start: int, end: int) -> bytes:
        return _fold(self._peaks(start, end))

    def _peaks(self, start: int, end: int) -> list[bytes]:
        """Return the roots of the perfect subtrees from ``start`` to ``end``, the largest first.

        The subtrees of one tile level are side by side: one read gets the hashes of all of them.
        """
        peaks: list[bytes] = []
        while start < end:
            level = ((end - start).bit_length() - 1) // TILE_HEIGHT
            unit = level * TILE_HEIGHT
            first, count = start >> unit, (end - start) >> unit
            hashes = list(self.read(level, first, count))
            if len(hashes) != count:
                raise ProofError(f"hashes are missing at level {level} from {first}")
            peaks += _perfect_roots(hashes)
            start += count << unit
        return peaks


def _perfect_roots(hashes: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the roots of the perfect subtrees over ``hashes``, the largest first."""
    start = 0
    while start < len(hashes):
        count = 1 << ((len(hashes) - start).bit_length() - 1)
        made = list(hashes[start : start + count])
        while len(made) > 1:
            made = [node_hash(*pair) for pair in zip(made[::2], made[1::2], strict=True)]
        yield made[0]
        start += count


class Beginning:
    """The events of a copy, and further ones that are being verified and are not stored yet."""

    def __init__(self, tree: Tree, stored: Frontier) -> None:
        """Set up a tree without further events; ``stored`` is the frontier of its first events."""
        self._tree = tree
        self._stored = stored
        self._leaves: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Take in the leaf hash of the next event."""
        self._leaves.append(leaf)

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events; ``None`` if there are fewer."""
        further = size - self._stored.size
        if further <= 0:
            return self._tree.root(size)
        if further > len(self._leaves):
            return None
        return self._stored.extend(self._leaves[:further])[0].root()


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that ``path`` leads from ``leaf`` to ``root`` (RFC 9162, section 2.1.3.2).

    Raises ``ProofError`` if it does not.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    node, last, made = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError("the path is too long")
        if node & 1 or node == last:
            made = node_hash(sibling, made)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            made = node_hash(made, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the path is too short")
    if made != root:
        raise ProofError("the path leads to another root")


def check_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the newer tree continues the older one (RFC 9162, section 2.1.4.2).

    Raises ``ProofError`` if it does not.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} does not continue one of {old}")
    if old in (0, new):
        if proof:
            raise ProofError("there is nothing to prove, and a proof")
        if old_root != (EMPTY_ROOT if old == 0 else new_root):
            raise ProofError("the trees have one size and two roots")
        return
    seed = [old_root] if _is_power_of_two(old) else []
    older, newer = _walk(old, new, [*seed, *proof])
    if older != old_root:
        raise ProofError("the proof does not begin at the older root")
    if newer != new_root:
        raise ProofError("the proof leads to another root")


def proven_older_root(old: int, new: int, proof: Sequence[bytes], new_root: bytes) -> bytes | None:
    """Return the root that the first ``old`` leaves of the newer tree certainly have.

    The hashes of a consistency proof that lead to ``new_root`` are nodes of that tree, and the
    older root is computed from the same hashes. The result is ``None`` if the proof does not lead
    to ``new_root``, and if ``old`` is a power of two: such a proof does not contain the older root.
    """
    if not 0 < old < new or _is_power_of_two(old):
        return None
    try:
        older, newer = _walk(old, new, proof)
    except ProofError:
        return None
    return older if newer == new_root else None


def _walk(old: int, new: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the older and the newer root to which a consistency proof leads."""
    if not hashes:
        raise ProofError("the proof is too short")
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    older = newer = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if node & 1 or node == last:
            older = node_hash(sibling, older)
            newer = node_hash(sibling, newer)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            newer = node_hash(newer, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the proof is too short")
    return older, newer


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def _fold(peaks: Sequence[bytes]) -> bytes:
    made = peaks[-1]
    for peak in reversed(peaks[:-1]):
        made = node_hash(peak, made)
    return made


def _largest_power_below(number: int) -> int:
    return 1 << ((number - 1).bit_length() - 1)


def _split(content: bytes) -> list[bytes]:
    return [content[i : i + HASH_SIZE] for i in range(0, len(content), HASH_SIZE)]
