"""Timestamps (RFC 3161): an authority outside certifies when a checkpoint existed.

The authority certifies the hash of a note's text, without signature lines: cosignatures that are
added later change nothing, and nothing but the hash ever leaves the node.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.x509 import Certificate
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

_RESOLUTION = timedelta(seconds=1)
"""Times are read in whole seconds: what follows the second is cut off."""


class TimestampError(ValueError):
    """This is no timestamp of the text by an authority that is trusted."""


class TimestampAuthority(Protocol):
    """A connection to an authority (RFC 3161, section 3)."""

    def answer(self, request: bytes) -> bytes:
        """Return the authority's TimeStampResp to a TimeStampReq, both in DER.

        Raises ``ConnectionError`` if the authority does not answer.
        """


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An authority's word that a text existed at a moment."""

    token: bytes
    """The authority's whole answer (TimeStampResp), which other programs verify too."""
    moment: datetime


@dataclass(frozen=True, slots=True)
class StoredTimestamp:
    """A timestamp as it is stored, with the published checkpoint that it is of."""

    size: int
    authority: str
    note: str
    token: bytes
    moment: datetime


def obtain(authority: TimestampAuthority, text: str, roots: Sequence[Certificate]) -> Timestamp:
    """Have a note's text timestamped now, and verify the answer (RFC 3161, section 2.2).

    Raises ``ConnectionError`` if the authority does not answer. Raises ``TimestampError`` if the
    answer is not granted, is of another text or of an earlier request, or does not lead to one of
    the ``roots``.
    """
    request = (
        TimestampRequestBuilder()
        .data(text.encode())
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)  # so that the answer alone verifies later
        .build()
    )
    token = authority.answer(request.as_bytes())
    return Timestamp(token, _verified(token, text, roots, request.nonce))


def check(token: bytes, text: str, roots: Sequence[Certificate]) -> datetime:
    """Return the moment that a stored answer certifies for a note's text.

    The function needs nothing but its arguments. The certificates, roots included, must have been
    valid at that moment: one that expired later takes nothing back. Raises ``TimestampError`` if
    the answer does not verify.
    """
    return _verified(token, text, roots, None)


def is_before(moment: datetime, recorded_at: datetime) -> bool:
    """Return whether a text with an event of ``recorded_at`` cannot have existed at ``moment``."""
    return moment + _RESOLUTION <= recorded_at


def _verified(token: bytes, text: str, roots: Sequence[Certificate], nonce: int | None) -> datetime:
    try:
        response = decode_timestamp_response(token)
        verifier = VerifierBuilder(roots=list(roots), nonce=nonce).build()
        verifier.verify_message(response, text.encode())
        return response.tst_info.gen_time
    except VerificationError as error:
        what = str(error).partition(": ")[0]  # what follows is OpenSSL's, and long
        raise TimestampError(f"the timestamp does not verify ({what})") from error
    except Exception as error:  # certificates that cannot be read raise what they like
        raise TimestampError("this is no answer of a timestamp authority") from error
