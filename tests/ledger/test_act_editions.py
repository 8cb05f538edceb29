"""An act on the protocol is recorded only where the text in force has the edition of its kind."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ledger.procedure.act_editions import EDITION_OF_ACT
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import LATEST_EDITION, Protocol, shipped_protocol
from ledger.signing import sd_jwt
from ledger.vocabulary import REGISTRY_ACTIONS, Action
from ledger.vocabulary.registration import AgencyRegistered
from tests.support.agencies import PAST, Agencies
from tests.support.amending import amended
from tests.support.joining import leaving
from tests.support.parties import ME, XK, Parties, auditor_script
from tests.support.recorded import MemoryLedger

KEPT = Path(__file__).parent / "recorded_events"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_act_editions")


@pytest.fixture(scope="module")
def earlier() -> MemoryLedger:
    """A ledger whose text has edition 1 of the rules."""
    told = text_of(shipped_protocol()) | {"edition": 1}
    ledger = MemoryLedger(Agencies(Protocol.model_validate(told)))
    ledger.begin()
    return ledger


def act_of(kind: str) -> Action:
    """Return an act of a kind that was recorded once, with invented fields of its card."""
    (kept,) = KEPT.glob(f"{kind}.1.json")
    entry = json.loads(json.loads(kept.read_text())["entry"])
    signed = sd_jwt.parse(entry["sd_jwt"])
    fields = {name: value for name, value in signed.payload["act"].items() if name != "_sd"}
    if kind == "contact_card_given":
        fields["full_name"] = "A. B."
    return REGISTRY_ACTIONS[kind].model_validate(fields)


def test_each_kind_of_act_says_its_edition() -> None:
    assert EDITION_OF_ACT.keys() == REGISTRY_ACTIONS.keys()
    assert set(EDITION_OF_ACT.values()) <= {*range(1, LATEST_EDITION + 1)}


def test_a_kind_of_a_later_edition_is_refused_and_found(
    script: ModuleType, earlier: MemoryLedger
) -> None:
    for kind in (one for one, edition in EDITION_OF_ACT.items() if edition > 1):
        parties = Parties(script, earlier)
        act = act_of(kind)
        assert parties.refused(XK, act) == "edition", kind
        assert parties.smuggle(XK, act) == ["the rules refuse it (edition)"], kind


def test_it_is_accepted_once_a_text_of_that_edition_is_in_force(
    script: ModuleType, earlier: MemoryLedger
) -> None:
    parties = Parties(script, earlier)
    opened = AgencyRegistered(
        acted_at=PAST, agency="me-shelter-two", role="shelter", name="Shelter"
    )
    assert parties.refused(ME, opened) == "edition"
    assert not parties.read().is_alignment_due(parties.ledger.now)
    parties.adopt(amended(parties.text, edition=2))
    parties.act(ME, opened)
    parties.act(ME, leaving("ME", PAST.replace(year=2027).date()))
