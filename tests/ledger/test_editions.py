"""A ledger is judged by the edition of the rules, and the actions, that its protocol names."""

import pytest

from ledger.procedure.protocol import COORDINATOR, LATEST_EDITION, Protocol, shipped_protocol
from ledger.procedure.registry import decide, evolve
from ledger.signing.signed_action import parse, read
from ledger.vocabulary.registration import ProtocolAdopted
from tests.support.agencies import PAST, Agencies


def test_a_ledger_adopted_before_an_action_was_added_is_read_and_does_not_allow_it(
    agencies: Agencies,
) -> None:
    content = agencies.protocol.model_dump(mode="json", exclude_none=True)
    del content["edition"], content["actions"]["legal_hold_placed"]
    coordinators = [a.id for a in agencies.protocol.agencies if a.role == COORDINATOR]
    adoption = ProtocolAdopted(
        acted_at=PAST, protocol=content, keys=tuple(map(agencies.grant, coordinators))
    )
    action = read(parse(str(agencies.sign(coordinators[0], adoption, None))))
    decide(None, action, PAST)
    registry = evolve(None, action, PAST, 1)
    assert registry.directory.edition == 1
    assert "legal_hold_placed" not in registry.directory.actions


def test_a_protocol_of_a_newer_edition_asks_for_an_update() -> None:
    content = shipped_protocol().model_dump(mode="json", exclude_none=True)
    with pytest.raises(ValueError, match="update it"):
        Protocol.model_validate({**content, "edition": LATEST_EDITION + 1})
