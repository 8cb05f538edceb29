"""A public key is registered only if it is a canonical point of Ed25519's main subgroup.

The reference is the curve's own arithmetic (RFC 8032, section 5.1) in Python's integers.
"""

import random
from typing import TypeAlias

import pytest

from ledger.signing import keys
from ledger.signing.keys import binds_signer

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point: TypeAlias = tuple[int, int]
NEUTRAL: Point = (0, 1)


def decoded(encoded: bytes) -> Point | None:
    """Decode by section 5.1.3."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if len(encoded) != 32 or y >= P:
        return None
    squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if x * x % P != squared:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != squared or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else P - x), y


def encoded(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def added(one: Point, other: Point) -> Point:
    """Add by the equation of the curve."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def multiplied(scalar: int, point: Point) -> Point:
    result = NEUTRAL
    for bit in bin(scalar)[2:]:
        result = added(result, result)
        if bit == "1":
            result = added(result, point)
    return result


def is_sound(one: bytes) -> bool:
    point = decoded(one)
    return point is not None and point != NEUTRAL and multiplied(L, point) == NEUTRAL


BASE = decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
assert BASE is not None


def small_order() -> list[Point]:
    """Return the eight points of small order: the multiples of one of order eight."""
    rng = random.Random(1)
    while True:
        point = decoded(rng.randbytes(32))
        if point is None:
            continue
        torsion = multiplied(L, point)
        if multiplied(4, torsion) != NEUTRAL:
            return [multiplied(k, torsion) for k in range(8)]


SMALL = small_order()


def test_points_of_small_order_are_refused_in_every_encoding() -> None:
    assert len(set(SMALL)) == 8
    for x, y in SMALL:
        for number in (y, y + P):
            if number < 2**255:
                for sign in (0, 1):
                    one = (number | sign << 255).to_bytes(32, "little")
                    assert not is_sound(one)
                    assert not binds_signer(one), (x, y)


def test_a_point_of_the_main_subgroup_with_a_small_part_is_refused() -> None:
    rng = random.Random(2)
    for torsion in SMALL:
        one = encoded(added(multiplied(rng.randrange(1, L), BASE), torsion))
        assert is_sound(one) is binds_signer(one) is (torsion == NEUTRAL)


def test_a_second_encoding_is_refused() -> None:
    """Only 19 values of y have a second encoding in 255 bits."""
    for y in range(19):
        for sign in (0, 1):
            second = (y + P | sign << 255).to_bytes(32, "little")
            first = (y | sign << 255).to_bytes(32, "little")
            assert is_sound(second) is binds_signer(second) is False
            assert is_sound(first) is binds_signer(first)


def test_random_bytes_are_judged_by_the_curve() -> None:
    rng = random.Random(6)
    answers = set()
    for _ in range(24):
        one = rng.randbytes(32)
        on_curve = decoded(one) is not None
        assert binds_signer(one) is is_sound(one)
        answers.add((on_curve, binds_signer(one)))
    assert answers == {(False, False), (True, False), (True, True)}


def test_generated_keys_bind() -> None:
    for _ in range(5):
        raw = keys.generate().public_key.public_bytes_raw()
        assert is_sound(raw)
        assert binds_signer(raw)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_another_length_is_refused(length: int) -> None:
    assert not binds_signer(bytes(length))
