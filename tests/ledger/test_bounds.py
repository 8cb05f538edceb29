"""Each bound from both sides: the largest that is read, and one more that is refused."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ledger.log.note import MAX_BYTES as NOTE_BYTES
from ledger.log.note import MAX_SIGNATURES, Note, NoteError, NoteSignature
from ledger.signing import sd_jwt
from ledger.signing.sd_jwt import MAX_BYTES, SdJwtError
from ledger.vocabulary.coordination import InformationRequested
from ledger.vocabulary.picklists import InformationTopic, Purpose
from tests.support.agencies import Agencies

SIGNATURE = NoteSignature("example.org/log", b"\1\2\3\4", bytes(64))


def action_of(length: int, agencies: Agencies) -> str:
    """Return a signed action with a disclosure that makes it so many bytes long."""
    asked = InformationRequested(
        acted_at=datetime(2026, 1, 1, tzinfo=UTC),
        addressee="me-nac",
        topics=(InformationTopic.RISK,),
        purpose=Purpose.PROTECTION,
    )
    signed = str(agencies.sign("xk-nac", asked, uuid4()))
    for small in range(8, 12):  # an unpadded base64 text has no length of 4n + 1
        begun = f"{signed}{disclosure_of(small + 20)}~"
        room = length - len(begun) - 1
        if room % 4 != 1:
            return f"{begun}{disclosure_of(room * 3 // 4)}~"
    raise AssertionError("no length fits")


def disclosure_of(size: int) -> str:
    """Return an encoded disclosure whose JSON has so many bytes."""
    content = json.dumps(["salt", "question", ""])
    content = content[:-2] + "x" * (size - len(content)) + content[-2:]
    return urlsafe_b64encode(content.encode()).decode().rstrip("=")


def note_of(signatures: int, *, length: int = 0) -> str:
    """Return a note with so many signatures, of at least so many bytes."""
    signed = Note("example.org/log\n", (SIGNATURE,) * signatures)
    missing = max(0, length - len(str(signed).encode()))
    return str(Note(f"example.org/log\n{'x' * (missing - 1)}\n" if missing else signed.text,
                    signed.signatures))  # fmt: skip


def test_an_action_has_at_most_so_many_bytes(agencies: Agencies) -> None:
    largest = action_of(MAX_BYTES, agencies)
    assert len(sd_jwt.parse(largest).disclosures) > 0
    with pytest.raises(SdJwtError, match="longer than 262144 bytes"):
        sd_jwt.parse(largest[:-1] + "A~")


def test_a_note_has_at_most_so_many_signatures() -> None:
    assert len(Note.parse(note_of(MAX_SIGNATURES)).signatures) == MAX_SIGNATURES
    with pytest.raises(NoteError, match="1 to 64 signatures"):
        Note.parse(note_of(MAX_SIGNATURES + 1))
    with pytest.raises(NoteError, match="an empty line, and signature lines"):
        Note.parse(note_of(0))


def test_a_note_has_at_most_so_many_bytes() -> None:
    largest = note_of(1, length=NOTE_BYTES)
    assert len(largest.encode()) == NOTE_BYTES
    assert Note.parse(largest.encode()).text.endswith("x\n")
    with pytest.raises(NoteError, match="at most 65536 bytes"):
        Note.parse(note_of(1, length=NOTE_BYTES + 1).encode())
