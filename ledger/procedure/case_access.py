"""The agencies that see a case: every agency of its countries, or those that have to know of it.

The protocol says which (:class:`CaseAccess`). With ``named``, an agency sees a case of its country
once it acted in the case, a recorded action named it, or the lead agency or its country's
coordinator admitted it. Coordinators, oversight bodies and nodes are not bound by it.

This is a reading of the procedure, not a text that the parties signed.
"""

from collections.abc import Iterable
from enum import StrEnum

from ledger.events.act import Act
from ledger.vocabulary import NOT_UNDERSTOOD
from ledger.vocabulary.coordination import AgencyAdmissionEnded, AgencyAdmitted

AGENCY_FIELDS = ("addressee", "to_agency", "responsible")
"""The ``ledger`` fields of actions that name agencies."""


class CaseAccess(StrEnum):
    """The agencies of a country that see the country's cases."""

    COUNTRY = "country"
    """Every agency of the country."""
    NAMED = "named"
    """The agencies that acted in the case, were named in it, or were admitted to it."""


def agencies_with_access(acts: Iterable[Act]) -> frozenset[str]:
    """Return the agencies that acts of a case let see it, where the protocol asks for a reason.

    ``acts`` are all acts of the case, in order. The last of naming, acting and ending counts. An
    annulled act counts too: what the agency saw it has seen, and an admission is ended by an act.
    """
    found: set[str] = set()
    for act in acts:
        if act.kind == NOT_UNDERSTOOD:
            continue
        found.add(act.agency)
        for name in AGENCY_FIELDS:
            given = act.fields.get(name) or ()
            found.update((given,) if isinstance(given, str) else given)
        if act.kind == AgencyAdmitted.kind:
            found.add(act.fields["agency"])
        elif act.kind == AgencyAdmissionEnded.kind:
            found.discard(act.fields["agency"])
    return frozenset(found)
