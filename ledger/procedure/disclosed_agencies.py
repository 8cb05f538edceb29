"""Checks of agencies that an action names at ``case`` level, where the ledger node cannot see them.

The node of the agency's country checks its disclosures. It applies these checks before it keeps
the disclosures and passes the signed action on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.procedure.protocol import Protocol
from ledger.refusals import Ground, Refusal
from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction, signed_in_clear
from ledger.vocabulary.return_and_inclusion import HandoverRecorded

_FIELDS = ("provider", "receiving_agency", "referred_to", "agencies")


def named_agencies(action: SignedAction, disclosures: Sequence[Disclosure]) -> Mapping[str, Any]:
    """Return the ``case`` fields of ``action`` that name agencies, with their values."""
    disclosed = {one.name: one.value for one in disclosures}
    values: Mapping[str, Any] = {**signed_in_clear(action), **disclosed}
    return {field: values[field] for field in _FIELDS if values.get(field) is not None}


def check_agencies(action: SignedAction, named: Mapping[str, Any], protocol: Protocol) -> None:
    """Check the agencies that ``action`` names, by :func:`named_agencies`.

    Raises ``Refusal`` (``unknown-agency``) for an agency that the protocol does not have,
    (``retired-agency``) for one that is retired, (``referred-agency``) for one that is not of the
    country that the person is referred to, and
    (``receiving-agency``) for a receiving agency that is not of the country of destination.
    """
    for field, value in named.items():
        for agency in (value,) if isinstance(value, str) else value:
            known = protocol.agencies_by_id.get(agency)
            if known is None:
                raise Refusal(
                    Ground.INVALID,
                    "unknown-agency",
                    "This is no agency of the protocol.",
                    f"act.{field}",
                )
            if known.retired_at is not None:
                raise Refusal(
                    Ground.INVALID,
                    "retired-agency",
                    f"{agency} is retired; name another agency.",
                    f"act.{field}",
                )
    referred_to = named.get("referred_to")
    country = action.fields.get("country")
    if referred_to is not None and protocol.agencies_by_id[referred_to].party != country:
        raise Refusal(
            Ground.INVALID,
            "referred-agency",
            "The agency is not of the country that the person is referred to.",
            "act.referred_to",
        )
    receiving = named.get("receiving_agency")
    if receiving is None or action.kind == HandoverRecorded.kind:
        return  # a handover names no country; the record's receiver signs it
    own = protocol.agencies_by_id[action.agency].party
    if protocol.agencies_by_id[receiving].party != action.fields.get("destination", own):
        raise Refusal(
            Ground.INVALID,
            "receiving-agency",
            "The receiving agency is not of the country of destination.",
            "act.receiving_agency",
        )
