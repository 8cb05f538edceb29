"""A long text of the protocol is deflated where it is signed, and whole wherever it is read."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from ledger.events.event_bytes import MAX_BYTES
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import load_protocol, shipped_protocol
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.packed_text import packed, unpacked
from ledger.vocabulary.registration import AmendmentProposed
from tests.support.actions import START
from tests.support.agencies import Agencies

KIND = "amendment_proposed"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "corridors").glob("*/protocol.toml"))


def deflated(content: bytes) -> str:
    deflating = zlib.compressobj(9, zlib.DEFLATED, -15)
    made = deflating.compress(content) + deflating.flush()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def test_a_long_text_is_packed_and_read_whole() -> None:
    text = text_of(shipped_protocol())
    act = packed(KIND, {"protocol": text, "reason": "new forms"})
    assert act["protocol"].keys() == {"deflated"}
    assert unpacked(KIND, act) == {"protocol": text, "reason": "new forms"}
    assert packed("case_opened", {"protocol": text}) == {"protocol": text}
    assert packed(KIND, {"protocol": {"id": "short"}}) == {"protocol": {"id": "short"}}


@pytest.mark.parametrize("file", [None, *EXAMPLES], ids=lambda file: file and file.parent.name)
def test_every_shipped_text_can_be_signed_with_a_margin_of_a_third(file: Path | None) -> None:
    protocol = shipped_protocol() if file is None else load_protocol(file)
    agencies = Agencies(protocol)
    adoption = agencies.adoption()
    assert len(str(adoption)) < MAX_BYTES * 2 // 3
    signed = signed_action.read(signed_action.parse(str(adoption)))
    assert signed.fields["protocol"] == text_of(protocol)
    assert signed_action.read_recorded(adoption.without_disclosures()) == signed


@pytest.mark.parametrize(
    "faulty",
    [
        {"deflated": 7},
        {"deflated": "***"},
        {"deflated": deflated(b"[]")},
        {"deflated": deflated(b'{"a": 1, "a": 2}')},
        {"deflated": deflated(b'{"a": NaN}')},
        {"deflated": deflated(b"\xff")},
        {"deflated": deflated(b" " * 2_000_000 + b"{}")},
        {"deflated": deflated(b"{}")[:-4]},
        {"deflated": base64.urlsafe_b64encode(zlib.compress(b"{}")).decode().rstrip("=")},
    ],
)
def test_a_faulty_packed_text_is_refused_and_is_no_event_that_stops_readers(
    faulty: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"packed text|JSON|utf-8"):
        unpacked(KIND, {"protocol": faulty})
    agencies = Agencies()
    action = AmendmentProposed(
        acted_at=START, protocol=faulty, digest="0" * 64, reason="a text that is none"
    )
    signed = agencies.sign("xk-nac", action, None)
    with pytest.raises(Refusal) as refused:
        signed_action.read(signed_action.parse(str(signed)))
    assert refused.value.rule in ("model", "not-canonical")
    assert signed_action.read_recorded(signed.without_disclosures()).kind == "not_understood"


def test_the_text_of_before_is_read_as_it_is() -> None:
    text = json.loads(json.dumps(text_of(shipped_protocol())))
    assert unpacked(KIND, {"protocol": text})["protocol"] is text
