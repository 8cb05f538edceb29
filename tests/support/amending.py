"""Amendments in tests: texts that differ from the one in force, and the acts that adopt them."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.protocol import LATEST_EDITION, Protocol
from ledger.vocabulary.registration import (
    AmendmentAccepted,
    AmendmentDeclined,
    AmendmentProposed,
    NamedCheckpoint,
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


def acceptance(
    proposed: UUID, text: Protocol, checkpoint: NamedCheckpoint | None
) -> AmendmentAccepted:
    """Return the act that accepts a proposed text in the history of a checkpoint."""
    return AmendmentAccepted(
        acted_at=PAST,
        proposal=proposed,
        digest=text_digest(text_of(text)),
        checkpoint=checkpoint,
    )


def declining(proposed: UUID, text: Protocol) -> AmendmentDeclined:
    """Return the act that declines a proposed text."""
    return AmendmentDeclined(acted_at=PAST, proposal=proposed, digest=text_digest(text_of(text)))


def random_amendment(data: st.DataObject, base: Protocol) -> Protocol:
    """Draw a next version of ``base``: deadlines, statuses, roles, agencies, periods, edition."""
    told = text_of(base)
    match data.draw(st.sampled_from(("deadline", "status", "role", "agency", "days", "edition"))):
        case "deadline":
            place = data.draw(st.integers(0, len(told["expected"]) - 1))
            days = data.draw(st.integers(0, 60))
            step = told["expected"][place] | {"within_days": days}
            step |= {"applies_to_open": data.draw(st.booleans())}
            return amended(base, expected=_with(told["expected"], place, step))
        case "status":
            kind = data.draw(st.sampled_from(("risk_assessed", "service_started", "sheltered")))
            rule = told["actions"][kind] | {"sets_status": data.draw(st.sampled_from(_STATUSES))}
            return amended(base, actions=told["actions"] | {kind: rule})
        case "role":
            kind = data.draw(st.sampled_from(sorted(told["actions"])))
            rule = told["actions"][kind]
            roles = sorted({*rule["roles"], "coordinator"} - {"border_police"})
            if rule.get("by_another_party"):
                return amended(base, title=f"{base.title[:100]} {base.version + 1}")
            return amended(base, actions=told["actions"] | {kind: rule | {"roles": roles}})
        case "agency":
            new = {"id": f"me-new-{base.version}", "name": "New", "party": "ME", "role": "shelter"}
            return with_agency(base, new)
        case "days":
            rules = [one | {"days": one["days"] + 1} for one in told["retention"]]
            return amended(base, retention=rules)
        case _:
            return amended(base, edition=LATEST_EDITION, title=f"Version {base.version + 1}")


_STATUSES = ("Active", "FollowUp")


def _with(items: list[Any], place: int, item: Any) -> list[Any]:
    return [*items[:place], item, *items[place + 1 :]]
