"""The signed decision can name every rule by which the ledger refuses."""

from uuid import uuid4

import pytest

from ledger import clock
from ledger.protocol import shipped_protocol
from ledger.transparency import decision
from ledger.transparency.decision import Decision, Refused
from tests.support.logs import signer

FORBIDDING = sorted({f for r in shipped_protocol().actions.values() for f in r.forbidden_while})


@pytest.mark.parametrize("fact", FORBIDDING)
def test_a_refusal_names_the_fact_of_the_protocol_that_forbids(fact: str) -> None:
    refused = Refused(
        iss="ledger.example",
        action=uuid4(),
        digest=decision.action_digest("signed~"),
        case=uuid4(),
        acted_on=1,
        rule=f"not-while-{fact}",
        size=1,
        decided_at=clock.now(),
    )
    assert Decision.parse(decision.sign(refused, signer())).statement == refused
