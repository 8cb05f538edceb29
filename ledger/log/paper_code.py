"""The code by which a printed paper names the event that it stands on.

The code says nothing of what is printed: a reader compares that with the form as it was sent.
"""

import base64

_BYTES = 10
_GROUP = 4


def paper_code(leaf: bytes) -> str:
    """Return the code of an event, from its leaf hash: 16 letters and digits in groups of four.

    The first 80 bits of the hash, in base 32 (RFC 4648).
    """
    letters = base64.b32encode(leaf[:_BYTES]).decode("ascii")
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def is_code_of(code: str, leaf: bytes) -> bool:
    """Return whether a code that was typed is the code of an event."""
    typed = "".join(one for one in code.upper() if one.isalnum())
    return typed == paper_code(leaf).replace("-", "")
