"""Fingerprints that two people compare by telephone."""

_DIGITS = 40
_GROUP = 5


def spoken(digest: bytes) -> str:
    """Write a SHA-256 digest as eight groups of five decimal digits.

    40 digits are 132 bits: nobody finds another text that has the same ones.
    """
    digits = f"{int.from_bytes(digest, 'big') % 10**_DIGITS:0{_DIGITS}}"
    return " ".join(digits[at : at + _GROUP] for at in range(0, _DIGITS, _GROUP))
