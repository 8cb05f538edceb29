"""Amendments in tests: texts that differ from the one in force, and the acts that adopt them."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.registration import (
    AmendmentAccepted,
    AmendmentDeclined,
    AmendmentProposed,
)
from tests.support.agencies import PAST


def amended(base: Protocol, **changes: Any) -> Protocol:
    """Return the next version of ``base``, with some parts changed."""
    changed = text_of(base) | {"version": base.version + 1} | changes
    return Protocol.model_validate(changed)


def with_agency(base: Protocol, agency: Mapping[str, str]) -> Protocol:
    """Return the next version of ``base``, with one more agency."""
    return amended(base, agencies=[*text_of(base)["agencies"], agency])


def with_deadline(base: Protocol, action: str, days: int) -> Protocol:
    """Return the next version of ``base``, with another deadline of an expected action."""
    expected = [
        one | {"within_days": days} if one["action"] == action else one
        for one in text_of(base)["expected"]
    ]
    return amended(base, expected=expected)


def proposal(
    text: Protocol, day: date | None = None, *, digest: str | None = None
) -> AmendmentProposed:
    """Return the act that proposes a text."""
    told = text_of(text)
    return AmendmentProposed(
        acted_at=PAST,
        protocol=told,
        digest=digest or text_digest(told),
        reason="For the test.",
        earliest_day=day,
    )


def acceptance(proposed: UUID, text: Protocol) -> AmendmentAccepted:
    """Return the act that accepts a proposed text."""
    return AmendmentAccepted(acted_at=PAST, proposal=proposed, digest=text_digest(text_of(text)))


def declining(proposed: UUID, text: Protocol) -> AmendmentDeclined:
    """Return the act that declines a proposed text."""
    return AmendmentDeclined(acted_at=PAST, proposal=proposed, digest=text_digest(text_of(text)))
