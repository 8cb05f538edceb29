"""Trees that a test makes of leaf hashes alone."""

from collections.abc import Sequence

from ledger.log.merkle import Tree


def continued(leaves: Sequence[bytes], more: Sequence[bytes]) -> Tree:
    """A tree of these leaf hashes and of more, fewer than 256 in all."""
    known = [*leaves, *more]
    return Tree(len(known), lambda _, start, count: known[start : start + count])
