"""The signed decision can name every rule by which the ledger refuses."""

from uuid import uuid4

import pytest

from ledger.log import signed_decision
from ledger.log.signed_decision import Refused, SignedDecision
from ledger.procedure.protocol import shipped_protocol
from ledger.system import clock
from tests.support.logs import signer

FORBIDDING = sorted({f for r in shipped_protocol().actions.values() for f in r.forbidden_while})


@pytest.mark.parametrize("fact", FORBIDDING)
def test_a_refusal_names_the_fact_of_the_protocol_that_forbids(fact: str) -> None:
    refused = Refused(
        iss="ledger.example",
        action=uuid4(),
        digest=signed_decision.action_digest("signed~"),
        case=uuid4(),
        acted_on=1,
        rule=f"not-while-{fact}",
        size=1,
        decided_at=clock.now(),
    )
    assert SignedDecision.parse(signed_decision.sign(refused, signer())).statement == refused
