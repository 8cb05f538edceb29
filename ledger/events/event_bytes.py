"""The exact bytes of an event: the time of recording and the signed action, sealed once.

These bytes are stored, hashed (RFC 6962 leaf) and served as they are; nothing
re-serialises them.
"""

from datetime import datetime
from functools import lru_cache

from pydantic_core import from_json

from ledger.vocabulary.types import format_utc

MAX_BYTES = 65_535
"""The largest length that an entry bundle's prefix can have (C2SP tlog-tiles)."""


def seal(sd_jwt: str, recorded_at: datetime) -> bytes:
    """Return the bytes of an event recorded at ``recorded_at``, which are JSON.

    An SD-JWT consists of the letters of base64url, ``.`` and ``~``, which JSON does not escape.
    """
    return f'{{"recorded_at":"{format_utc(recorded_at)}","sd_jwt":"{sd_jwt}"}}'.encode("ascii")


@lru_cache(maxsize=4)
def around(recorded_at: datetime) -> tuple[bytes, bytes]:
    """Return the bytes that :func:`seal` puts before and after the signed text.

    The signed text needs no escape in JSON. Events with the same time of recording share these
    bytes.
    """
    sealed = seal("", recorded_at)
    return sealed[:-2], sealed[-2:]


def unseal(entry: bytes) -> tuple[str, datetime]:
    """Return the signed action and the time of recording.

    Raises ``ValueError`` for bytes that :func:`seal` does not make.
    """
    try:
        content = from_json(entry)
        sd_jwt, recorded_at = content["sd_jwt"], datetime.fromisoformat(content["recorded_at"])
        if seal(sd_jwt, recorded_at) == entry:
            return sd_jwt, recorded_at
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError("these are not the bytes of an event") from error
    raise ValueError("these bytes are not written as those of an event")
