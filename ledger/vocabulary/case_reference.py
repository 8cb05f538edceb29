"""The short reference of a case: what people say on the telephone and write on paper.

It is derived from the case's id, so that every country has the same one, and has a check character.
The letters I, O and U and the digits 0 and 1 are not in it: they are misread and misheard.

Among a million cases, one pair or so has the same reference. So a program names a case by its id,
and whoever looks for a reference is shown every case that has it.
"""

import hashlib
from typing import Final
from uuid import UUID

ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTVWXYZ"
"""31 characters: a prime number, so that the check character finds every single wrong character
and every two that were exchanged."""
_MODULUS: Final = len(ALPHABET)
_DERIVED: Final = 8
_GROUP: Final = 3
_SEPARATORS: Final = str.maketrans("", "", "- \u00a0\u2010\u2011\u2013\u2014.")


def case_reference(case_id: UUID) -> str:
    """Return the reference of a case, such as ``K7Q-F3M-9XR``: eight characters and the check.

    The eight are the first 40 bits of the SHA-256 of the id's 16 bytes as a number to the base 31,
    the highest digit first and without what is above the eighth.
    """
    number = int.from_bytes(hashlib.sha256(case_id.bytes).digest()[:5], "big")
    digits = [number // _MODULUS**place % _MODULUS for place in reversed(range(_DERIVED))]
    characters = "".join(ALPHABET[digit] for digit in [*digits, _check(digits)])
    return "-".join(characters[i : i + _GROUP] for i in range(0, len(characters), _GROUP))


def read_reference(text: str) -> str:
    """Return a reference as :func:`case_reference` writes it, however somebody typed it.

    Letters may be small, and groups apart or together. Raises ``ValueError`` with a message for
    whoever typed it.
    """
    typed = text.strip().translate(_SEPARATORS).upper()
    if len(typed) != _DERIVED + 1:
        raise ValueError(
            f"a case's reference has {_DERIVED + 1} characters, such as K7Q-F3M-9XR: {text!r}"
        )
    wrong = sorted({character for character in typed if character not in ALPHABET})
    if wrong:
        raise ValueError(f"no case's reference has the character {' or '.join(wrong)}: {text!r}")
    digits = [ALPHABET.index(character) for character in typed]
    if _check(digits[:-1]) != digits[-1]:
        raise ValueError(f"a character of this reference is wrong; compare it again: {text!r}")
    return "-".join(typed[i : i + _GROUP] for i in range(0, len(typed), _GROUP))


def _check(digits: list[int]) -> int:
    """Return the sum of the digits, with the weights 2 to 9 from the first to the last."""
    return sum((place + 2) * digit for place, digit in enumerate(digits)) % _MODULUS
